"""Draw pairs of DUTS and shrink them: a set like duts_mini."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        'duts',
        type=Path,
        help='DUTS-TR, or what convert duts-single made of it: images with one object alone',
    )
    parser.add_argument('out', type=Path, help='folder to write: images/, masks/')
    parser.add_argument(
        '--count', type=int, default=2000, help='how many pairs (default: %(default)s)'
    )
    parser.add_argument(
        '--longest',
        type=int,
        default=320,
        help='longest side of an image in pixels (default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the choice')


def main(args: Namespace) -> None:
    """Draw and shrink."""
    from mmboxcaseg.converters.mini import convert_duts_mini

    print(*convert_duts_mini(**vars(args)), sep='\n')
