"""Take masks that people corrected as true masks, which win their pixels.

All others stay as they are. What comes out goes on: to a training of a Mask R-CNN, or to adapt with
--keep-masks.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import add_image_options, image_reader


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('masks', type=Path, help='COCO file of proxy masks, as review got it')
    parser.add_argument(
        'corrected',
        type=Path,
        help='what came back, in any format with masks that mmboxcaseg masks reads: every mask in '
        'it counts as right',
    )
    parser.add_argument(
        '--images', type=Path, required=True, help='folder, zip or tar of the images'
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='COCO file to write, with all annotations of MASKS'
    )
    add_image_options(parser)


def main(args: Namespace) -> None:
    """Merge."""
    from mmboxcaseg.apis.reviewing import merge_corrected

    reader = image_reader(args)
    print('\n'.join(merge_corrected(**vars(args), reader=reader)))
