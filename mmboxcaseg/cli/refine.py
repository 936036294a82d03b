"""Merge raw masks of boxes, from anywhere, and measure how well they agree with the boxes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import add_cleaning_options


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('boxes', type=Path, help='COCO file with boxes; its masks are not read')
    parser.add_argument(
        'raw',
        type=Path,
        help='raw masks, a COCO results list; entries without ann_id are matched by image and box',
    )
    parser.add_argument(
        'out', type=Path, help='COCO file to write: the boxes with segmentation and box_agreement'
    )
    parser.add_argument(
        '--no-merge',
        dest='merge',
        action='store_false',
        help='leave the masks as they are (Table 7 without merge) and measure their agreement; '
        'load them with ProxyCocoDataset, which keeps them so',
    )
    parser.add_argument(
        '--mask-bbox',
        action='store_true',
        help="write each mask's own tight box too, as mask_bbox, such as to correct loose boxes by",
    )
    parser.add_argument(
        '--keep-masks',
        action='store_true',
        help='annotations that have a true mask keep it, and it wins its pixels in the merge',
    )
    parser.add_argument(
        '--inclusive-boxes',
        action='store_true',
        help="measure agreement as the authors' release does: a box holds its last pixels, which "
        'makes it one pixel wider and higher; load them with ProxyCocoDataset, which goes by it',
    )
    add_cleaning_options(parser)


def main(args: Namespace) -> None:
    """Refine."""
    from mmboxcaseg.coco import refine_proxy_masks

    summary, missing = refine_proxy_masks(**vars(args))
    print(f'{args.out}: {summary}')
    if missing:
        print(f'{missing} boxes have no raw mask: their masks are empty, their agreement is 0')
