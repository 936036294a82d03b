"""Train in rounds: proxy masks of each round teach the next one.

What is done is kept: called again, this goes on where it was.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import add_amp_options, add_config_options


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        'configs',
        nargs='+',
        metavar='CONFIG',
        help='configs of the rounds; the last one is that of all further ones',
    )
    parser.add_argument(
        '--rounds', type=int, metavar='N', help='number of rounds (as many as there are configs)'
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/self_train'),
        help='where everything goes (work_dirs/self_train)',
    )
    parser.add_argument(
        '--gpus', type=int, help='processes to train and test with (default: one for each GPU)'
    )
    parser.add_argument('--seed', type=int, help="in place of the configs' randomness.seed")
    add_amp_options(parser)
    add_config_options(parser, 'val_dataloader=None, where there are no true masks to score with')
    parser.add_argument('--dry-run', action='store_true', help='print the commands that are left')


def main(args: Namespace) -> None:
    """Train, score, draw."""
    from mmengine.device import get_device

    from mmboxcaseg.apis.self_training import self_train
    from mmboxcaseg.engine.config import parse_options
    from mmboxcaseg.engine.device import choose_amp

    self_train(
        args.configs,
        rounds=args.rounds,
        work_dir=args.work_dir,
        options=parse_options(args.cfg_options),
        gpus=args.gpus,
        seed=args.seed,
        amp=choose_amp(args.amp, args.force_amp, get_device()),
        dry_run=args.dry_run,
    )
