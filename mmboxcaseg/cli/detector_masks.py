"""Draw a raw mask into every box of a COCO file by a trained detector."""

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
    parser.add_argument('config', help='config of a Mask R-CNN, or for bbam any R-CNN')
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
    parser.add_argument(
        '--source',
        choices=('mask-head', 'bbam'),
        default='mask-head',
        help='what draws the masks: the mask head (default), or what the detector needs of an '
        'image to find each object (BBAM), which takes seconds a box; its settings are '
        'model.test_cfg.bbam',
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
    options = dict(source=args.source, device=args.device, reader=given_reader(args))
    count = make_detector_masks(config, *paths, **options)
    print(f'{args.out}: {count} masks')
