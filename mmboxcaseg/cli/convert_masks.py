"""Write masks in another format: polygons, YOLO-seg, PNG maps, LabelMe, Label Studio or RF-DETR."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import add_mask_format_option


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('masks', type=Path, help='COCO file of masks, of masks or generate')
    parser.add_argument(
        '--images', type=Path, required=True, help='folder, zip or tar of the images'
    )
    add_mask_format_option(parser, '--to', required=True)
    parser.add_argument(
        '--out', type=Path, required=True, help='folder to write, which must not be there'
    )
    parser.add_argument(
        '--min-quality',
        type=float,
        default=0.75,
        help='formats to train on (yolo-seg, voc-png, cityscapes-png, rf-detr) have the masks of a '
        'quality above it alone, the others have all (0.75)',
    )


def main(args: Namespace) -> None:
    """Convert."""
    from mmboxcaseg.formats import convert_masks

    print(convert_masks(**vars(args)))
