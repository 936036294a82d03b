"""Score a checkpoint with the metrics of its config."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .options import add_run_options, add_tta_option, run_settings


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    add_run_options(parser, 'test_dataloader.batch_size=8')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', metavar='METRICS.json', help='write the metrics to this file too')
    add_tta_option(parser)
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument(
        '--show-dir', help="paint the predictions into this folder, made in the run's own folder"
    )
    parser.add_argument('--wait-time', type=float, default=2, help='seconds for --show')


def main(args: Namespace) -> None:
    """Score."""
    from mmboxcaseg.apis.training import test

    test(**run_settings(args))
