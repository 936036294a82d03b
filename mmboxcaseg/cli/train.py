"""Train a model from a config: BoxCaseg, or a Mask R-CNN on proxy masks."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .options import add_run_options, run_settings

GOES_ON = '--resume goes on from the last checkpoint'


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    add_run_options(parser, 'optim_wrapper.optimizer.lr=1e-3')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint; without a path, from the latest one in the work dir, '
        'which has to be there',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate from the config's auto_scale_lr.base_batch_size",
    )


def main(args: Namespace) -> None:
    """Train."""
    from mmboxcaseg.apis.training import train

    train(**run_settings(args))
