"""Train a model from a config: BoxCaseg, or a Mask R-CNN on proxy masks."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .options import add_amp_options, add_config_options, add_launcher_option


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
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
    add_amp_options(parser)
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate from the config's auto_scale_lr.base_batch_size",
    )
    add_config_options(parser, 'optim_wrapper.optimizer.lr=1e-3')
    add_launcher_option(parser, 'pytorch', 'slurm', 'mpi')


def main(args: Namespace) -> None:
    """Train."""
    from mmengine.device import get_device

    from mmboxcaseg.apis.training import train
    from mmboxcaseg.engine.config import load_config, parse_options, set_work_dir
    from mmboxcaseg.engine.device import choose_amp

    config = load_config(args.config, parse_options(args.cfg_options))
    set_work_dir(config, args.work_dir, args.config)
    train(
        config,
        resume=args.resume,
        amp=choose_amp(args.amp, args.force_amp, get_device()),
        auto_scale_lr=args.auto_scale_lr,
        launcher=args.launcher,
    )
