"""Hand the masks of the lowest quality to people to correct, the lowest first."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

# Those of mmboxcaseg.apis.reviewing, which takes too long to import for a help.
_FORMATS = ('coco', 'label-studio', 'labelme')


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('masks', type=Path, help='COCO file of proxy masks')
    parser.add_argument(
        '--images', type=Path, required=True, help='folder, zip or tar of its images'
    )
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        help='folder to write: review.json, a COCO file of these masks, and the format of --to',
    )
    parser.add_argument(
        '--to',
        choices=_FORMATS,
        default='coco',
        help='coco, which CVAT imports too; label-studio, brush predictions with the quality as '
        'score; or labelme, which X-AnyLabeling opens too (coco)',
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument('--count', type=int, metavar='N', help='how many masks (50)')
    which.add_argument('--share', type=float, help='which share of the masks, such as 0.1')
    which.add_argument(
        '--below', type=float, metavar='QUALITY', help='all masks of a quality below this'
    )


def main(args: Namespace) -> None:
    """Hand out."""
    from mmboxcaseg.apis.reviewing import review_masks

    print('\n'.join(review_masks(**vars(args))))
