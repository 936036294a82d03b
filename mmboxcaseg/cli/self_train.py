"""Train in rounds: proxy masks of each round teach the next one.

What is done is kept: called again, this goes on where it was.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import add_rounds_options, rounds_settings

GOES_ON = 'the same command goes on where it was'


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        'configs',
        nargs='+',
        metavar='CONFIG',
        help='configs of the rounds; the last one is that of all further ones, and the masks that '
        'the first one needs are drawn by the network that comes with the package',
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
    add_rounds_options(parser, 'val_dataloader=None, where there are no true masks to score with')


def main(args: Namespace) -> None:
    """Train, score, draw."""
    from mmboxcaseg.apis.self_training import self_train

    self_train(**rounds_settings(args))
