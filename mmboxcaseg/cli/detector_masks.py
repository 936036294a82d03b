"""Draw a raw mask into every box of a COCO file by the mask head of a trained Mask R-CNN."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import (
    add_config_options,
    add_device_option,
    add_image_options,
    add_img_root,
    given_reader,
)


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('config', help='config of a Mask R-CNN')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument(
        '--ann', type=Path, required=True, help='COCO file with boxes; its masks are not read'
    )
    add_img_root(parser, 'folder, zip or tar of the images')
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        help='raw masks to write, a COCO results list for mmboxcaseg refine',
    )
    add_device_option(parser)
    add_image_options(parser)
    add_config_options(parser, 'model.test_cfg.rcnn.mask_thr_binary=0.4')


def main(args: Namespace) -> None:
    """Draw."""
    from mmboxcaseg.apis.detector_masks import make_detector_masks
    from mmboxcaseg.engine.config import load_config, parse_options

    config = load_config(args.config, parse_options(args.cfg_options))
    paths = args.checkpoint, args.ann, args.img_root, args.out
    count = make_detector_masks(config, *paths, device=args.device, reader=given_reader(args))
    print(f'{args.out}: {count} masks')
