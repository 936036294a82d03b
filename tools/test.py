"""Score a checkpoint with the metrics of its config."""

from __future__ import annotations

import argparse

from mmengine.config import Config, ConfigDict

from mmboxcaseg.engine.checkpoint import allow_checkpoint_types
from mmboxcaseg.engine.checks import check_checkpoint, check_data
from mmboxcaseg.engine.config import (
    ConfigOptions,
    box_pipeline,
    build_runner,
    innermost,
    load_config,
    set_work_dir,
)
from mmboxcaseg.engine.distributed import is_first_process, start_process
from mmboxcaseg.errors import InputError, run_tool
from mmboxcaseg.proxy.coco import check_output, write_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='where the log goes (work_dirs/ and the config name)')
    parser.add_argument('--out', metavar='METRICS.json', help='write the metrics to this file too')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation by the config's tta_model and tta_pipeline",
    )
    parser.add_argument('--amp', action='store_true', help='run the network in half precision')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--show-dir', help='paint the predictions into this folder')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds for --show')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='override settings of the config, such as test_dataloader.batch_size=8',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    return parser.parse_args()


def configure(args: argparse.Namespace) -> Config:
    config = load_config(args.config, args.cfg_options)
    config.launcher = args.launcher
    set_work_dir(config, args.work_dir, args.config)
    config.load_from = args.checkpoint
    config.resume = False
    if not config.get('test_dataloader'):
        raise InputError(f'{args.config} has no test_dataloader, so there is nothing to score')
    if args.tta:
        box_pipeline(config, tta=True)
    if args.amp:
        config.test_cfg = dict(config.get('test_cfg') or {}, fp16=True)
    if args.show or args.show_dir:
        hook = config.get('default_hooks', {}).get('visualization')
        if hook is None:
            raise InputError(
                f'--show and --show-dir: {args.config} has no default_hooks.visualization'
            )
        hook.update(draw=True, show=args.show, wait_time=args.wait_time)
        hook.test_out_dir = args.show_dir
    return config


def augment(config: Config) -> None:
    """Put the model and the test pipeline into those of the test-time augmentation."""
    config.model = ConfigDict(**config.tta_model, module=config.model)
    innermost(config.test_dataloader.dataset).pipeline = box_pipeline(config, tta=True)


def main() -> None:
    args = parse_args()
    config = configure(args)
    allow_checkpoint_types()
    if is_first_process():
        if args.out:
            check_output(args.out, inputs=[args.config, args.checkpoint])
        # The model first: what an old config says of it is told in one sentence, and at once.
        check_checkpoint(config, args.checkpoint)
        check_data(config, ('test',))
    if args.tta:
        augment(config)
    start_process(config)
    metrics = build_runner(config, 'test').test()
    if args.out and is_first_process():
        write_json({name: float(value) for name, value in metrics.items()}, args.out)


if __name__ == '__main__':
    run_tool(main)
