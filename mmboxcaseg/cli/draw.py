"""Draw a model's best and its worst masks, by their IoU with the true ones."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import add_device_option, add_network, add_tta_option


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    add_network(parser)
    parser.add_argument(
        '--ann', dest='ann_file', type=Path, required=True, help='COCO file with true masks'
    )
    parser.add_argument('--img-root', type=Path, required=True, help='folder of its images')
    parser.add_argument('--out', type=Path, required=True, help='sheet to write (.jpg or .png)')
    parser.add_argument('--count', type=int, default=12, help='masks to draw, half good, half bad')
    parser.add_argument(
        '--min-side', type=int, default=32, help='leave out boxes with a side under so many pixels'
    )
    add_device_option(parser)
    add_tta_option(parser)


def main(args: Namespace) -> None:
    """Draw."""
    from mmboxcaseg.apis.drawing import draw_masks

    draw_masks(**vars(args))
    print(f'wrote {args.out}: orange the predicted mask, green the true one, white the box')
