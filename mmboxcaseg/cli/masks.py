"""Give your boxes masks: read boxes of any format, mask them, and set up a Mask R-CNN.

An interrupted run goes on where it was when the same command is given again.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mmboxcaseg.errors import shown

from .options import (
    add_cleaning_options,
    add_mask_format_option,
    add_prediction_options,
    add_skip_option,
    prediction_settings,
)

# Those of mmboxcaseg.formats, which takes too long to import for a help.
_FORMATS = (
    'coco', 'voc', 'csv', 'yolo', 'cvat', 'labelme', 'via', 'open-images', 'label-studio'
)  # fmt: skip

GOES_ON = 'the same command goes on where it was'


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        'boxes',
        type=Path,
        help='COCO file (also of Roboflow, Objects365, LVIS), folder of Pascal VOC XML or LabelMe '
        "JSON files, CSV file, YOLO's data.yaml or label folder, file of CVAT, VIA or Open Images, "
        'or JSON export of Label Studio',
    )
    parser.add_argument(
        '--images', type=Path, required=True, help='folder, zip or tar of the images'
    )
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        help='folder to write: boxes.json, masks.json, and mask_rcnn.py with what it needs',
    )
    parser.add_argument(
        '--format', choices=_FORMATS, help='what BOXES is (recognised by its name and content)'
    )
    parser.add_argument(
        '--voc-origin',
        type=int,
        choices=(0, 1),
        default=0,
        help='what VOC and CSV files call the first pixel: 0, where their numbers are the edges of '
        'boxes, or 1 as in the VOC challenge, where a box holds its last pixel (0)',
    )
    parser.add_argument(
        '--trust-boxes', action='store_true', help='take boxes that look wrong all the same'
    )
    parser.add_argument(
        '--no-keep-masks',
        dest='keep_masks',
        action='store_false',
        help='give annotations that have a true mask another one too',
    )
    parser.add_argument(
        '--min-quality',
        type=float,
        default=0.75,
        help='masks of a quality above it train the Mask R-CNN; masks.json has all (0.75)',
    )
    parser.add_argument(
        '--pretrained',
        type=Path,
        metavar='CHECKPOINT',
        help="mmdet's mask-rcnn_r50_fpn on COCO, for the Mask R-CNN to begin with (a small network "
        'with ImageNet weights)',
    )
    parser.add_argument(
        '--val',
        type=Path,
        metavar='COCO',
        help='COCO file with true masks to validate the Mask R-CNN on, its images in the same '
        'folder (a tenth of the images, with the masks that they get)',
    )
    parser.add_argument(
        '--pictures',
        type=int,
        default=0,
        metavar='N',
        help='draw N masks, half of them the best and half the worst, to masks.jpg (0)',
    )
    add_mask_format_option(parser, '--also', nargs='+', default=())
    parser.add_argument(
        '--config', help='config of a BoxCaseg (the network that comes with the package)'
    )
    parser.add_argument('--checkpoint', help='its checkpoint')
    add_skip_option(parser, 'OUT/skipped.json')
    add_prediction_options(parser)
    add_cleaning_options(parser)


def main(args: Namespace) -> None:
    """Mask."""
    from mmboxcaseg.apis.masking import boxes_to_masks

    print(*map(shown, boxes_to_masks(**prediction_settings(args))), sep='\n')
