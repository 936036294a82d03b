"""Show the masks of a file on one HTML page: figures, plots, pictures, and a table to search.

The page holds all that it needs and works without a network.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import add_image_options, add_img_root, image_reader


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('masks', type=Path, help='COCO file of proxy masks')
    add_img_root(parser, 'folder, zip or tar of its images')
    parser.add_argument('--out', type=Path, required=True, help='page to write (.html)')
    parser.add_argument(
        '--truth', type=Path, help='COCO file with true masks of these boxes or of some of them'
    )
    parser.add_argument(
        '--min-quality',
        type=float,
        default=0.75,
        help='a mask counts as kept if its quality is above this (default: %(default)s) ...',
    )
    parser.add_argument(
        '--min-agreement',
        type=float,
        default=0.0,
        help='... and its box agreement is above this (default: %(default)s)',
    )
    parser.add_argument(
        '--pictures', type=int, default=12, help='in each gallery (default: %(default)s)'
    )
    add_image_options(parser)


def main(args: Namespace) -> None:
    """Write the page."""
    from mmboxcaseg.apis.reporting import make_report

    reader = image_reader(args)
    make_report(**vars(args), reader=reader)
    print(f'wrote {args.out}: open it in a browser')
