"""Rate the proxy masks of a last round by all rounds: their quality becomes the geometric mean.

A network that learned from its own masks is surer of them than it should be; those of the rounds
before it were less so. The masks are those of the last file.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        'rounds',
        type=Path,
        nargs='+',
        metavar='PROXY.json',
        help='what mmboxcaseg generate made of the same boxes in each round, the last round last',
    )
    parser.add_argument('--out', type=Path, required=True, help='COCO file to write')


def main(args: Namespace) -> None:
    """Rate."""
    from mmboxcaseg.coco.proxies import combine_rounds
    from mmboxcaseg.errors import InputError
    from mmboxcaseg.fileio import check_output

    if len(args.rounds) < 2:
        raise InputError('give the proxy masks of at least two rounds')
    check_output(args.out, args.rounds)
    rated = combine_rounds(args.rounds, args.out)
    print(f'{args.out}: {rated} masks, rated by {len(args.rounds)} rounds')
