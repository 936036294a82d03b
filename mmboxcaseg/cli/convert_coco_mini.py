"""Draw images of a COCO set and shrink them, with their boxes and masks: a set like coco_mini."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('boxes', type=Path, help='COCO file, with or without masks')
    parser.add_argument('--images', type=Path, required=True, help='folder of the images')
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        help='folder to write: SPLIT/, annotations/instances_SPLIT.json',
    )
    parser.add_argument(
        '--split',
        choices=('train', 'val'),
        default='train',
        help='which part of the small set it becomes (default: %(default)s)',
    )
    parser.add_argument(
        '--count', type=int, default=180, help='how many images (default: %(default)s)'
    )
    parser.add_argument(
        '--longest',
        type=int,
        default=512,
        help='longest side of an image in pixels (default: %(default)s)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the choice')


def main(args: Namespace) -> None:
    """Draw and shrink."""
    from mmboxcaseg.converters.mini import convert_coco_mini

    print(*convert_coco_mini(**vars(args)), sep='\n')
