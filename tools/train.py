"""Train a model from a config: BoxCaseg, or a Mask R-CNN on proxy masks."""

from __future__ import annotations

import argparse

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import find_latest_checkpoint

from mmboxcaseg.engine.checkpoint import allow_checkpoint_types
from mmboxcaseg.engine.checks import (
    check_checkpoint,
    check_data,
    check_pretrained,
    check_sampler,
)
from mmboxcaseg.engine.config import ConfigOptions, build_runner, load_config, set_work_dir
from mmboxcaseg.engine.distributed import is_first_process, start_process
from mmboxcaseg.errors import InputError, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='where logs and checkpoints go (work_dirs/ and the name of the config)'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint; without a path, from the latest one in the work dir, '
        'which has to be there',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='train in mixed precision: float16 on a GPU, bfloat16 on the CPU',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate from the config's auto_scale_lr.base_batch_size",
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='override settings of the config, such as optim_wrapper.optimizer.lr=1e-3',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    return parser.parse_args()


def configure(args: argparse.Namespace) -> Config:
    config = load_config(args.config, args.cfg_options)
    config.launcher = args.launcher
    set_work_dir(config, args.work_dir, args.config)
    if args.amp:
        if get_device() == 'cpu':
            config.optim_wrapper.type = 'mmboxcaseg.AutocastOptimWrapper'
        else:
            config.optim_wrapper.type = 'AmpOptimWrapper'
            config.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if args.auto_scale_lr:
        if 'base_batch_size' not in config.get('auto_scale_lr', {}):
            raise InputError(f'--auto-scale-lr: {args.config} has no auto_scale_lr.base_batch_size')
        config.auto_scale_lr.enable = True
    if args.resume:
        config.resume = True
        config.load_from = None if args.resume == 'auto' else args.resume
    return config


def check(config: Config) -> None:
    """Find what is wrong before anything takes long."""
    check_sampler(config)
    check_pretrained(config.model)
    path = config.get('load_from')
    if config.get('resume'):
        path = path or find_latest_checkpoint(config.work_dir)
        if not path:
            raise InputError(
                f'there is nothing to resume in {config.work_dir}: its file last_checkpoint is '
                'missing or empty; train without --resume, or give it a checkpoint'
            )
        check_checkpoint(config, path, resume=True)
    else:
        check_checkpoint(config, path, whole=False)
    # After the model: what an old config says of it is told in one sentence.
    check_data(config, ('train', 'val'))


def main() -> None:
    args = parse_args()
    config = configure(args)
    allow_checkpoint_types()
    if is_first_process():
        check(config)
    start_process(config)
    build_runner(config, 'train').train()


if __name__ == '__main__':
    run_tool(main)
