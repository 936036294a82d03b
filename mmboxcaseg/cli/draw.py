"""Draw the best and the worst masks: a network's by their IoU with true ones, a file's by quality.

A file of proxy masks needs neither a network nor true masks.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import (
    add_device_option,
    add_image_options,
    add_img_root,
    add_network,
    add_tta_option,
    image_reader,
)


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    add_network(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        '--ann',
        dest='ann_file',
        type=Path,
        help='COCO file with true masks, for whose boxes the network makes masks',
    )
    source.add_argument(
        '--masks', type=Path, help='COCO file of proxy masks, drawn as they are: no network'
    )
    add_img_root(parser, 'folder, zip or tar of its images')
    parser.add_argument('--out', type=Path, required=True, help='sheet to write (.jpg or .png)')
    parser.add_argument('--count', type=int, default=12, help='masks to draw, half good, half bad')
    parser.add_argument(
        '--min-side', type=int, default=32, help='leave out boxes with a side under so many pixels'
    )
    add_device_option(parser)
    add_tta_option(parser)
    add_image_options(parser)


def main(args: Namespace) -> None:
    """Draw."""
    from mmboxcaseg.apis.drawing import draw_masks, draw_proxies
    from mmboxcaseg.errors import InputError

    options = vars(args)
    reader = image_reader(args)
    masks = options.pop('masks')
    if masks is None:
        draw_masks(**options, reader=reader)
        print(f'wrote {args.out}: orange the predicted mask, green the true one, white the box')
        return
    if args.config or args.device or args.tta:
        raise InputError('CONFIG, CHECKPOINT, --device and --tta are for --ann: --masks needs none')
    sizes = dict(count=args.count, min_side=args.min_side)
    draw_proxies(masks, args.img_root, args.out, **sizes, reader=reader)
    print(f'wrote {args.out}: orange the mask, white the box; the best ones first')
