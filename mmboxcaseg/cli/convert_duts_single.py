"""Keep the images of DUTS-TR whose mask is one object, as in the paper's DUTS-Single (Sec. 4)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mmboxcaseg.errors import shown


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        'duts',
        type=Path,
        help='DUTS-TR, with DUTS-TR-Image and DUTS-TR-Mask, or a folder with images and masks, '
        'or with Imgs that has both, masks as PNG files',
    )
    parser.add_argument(
        'out', type=Path, help='folder to write: images/, masks/, single.txt, salient_N.txt'
    )
    parser.add_argument(
        '--list',
        dest='list_file',
        type=Path,
        help='take the images of this file, a name a line, instead of looking at the masks',
    )
    parser.add_argument(
        '--level',
        type=int,
        default=127,
        help='pixels of a mask above it are object (default: %(default)s, as in training); masks '
        'that training would read otherwise are written anew as 0 and 255',
    )
    parser.add_argument(
        '--max-rest',
        type=float,
        default=0.03,
        help='a connected part of the mask larger than this share of its largest one is a second '
        'object (default: %(default)s)',
    )
    parser.add_argument(
        '--min-area',
        type=float,
        default=0.03,
        help='smallest share of the image that the object covers (default: %(default)s)',
    )
    parser.add_argument(
        '--subsets',
        type=int,
        nargs='*',
        default=(100, 500, 1000, 2500),
        metavar='N',
        help='draw so many of the kept images into salient_N.txt, a smaller N from those of a '
        'larger one (default: %(default)s, Table 3)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the subsets')


def main(args: Namespace) -> None:
    """Convert."""
    from mmboxcaseg.converters.duts_single import convert_duts_single

    print(*map(shown, convert_duts_single(**vars(args))), sep='\n')
