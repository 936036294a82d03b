"""Draw a raw mask into every box of a COCO file without a network: box, ellipse or GrabCut."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import add_image_options, add_img_root, image_reader


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('boxes', type=Path, help='COCO file with boxes; its masks are not read')
    parser.add_argument(
        'out',
        type=Path,
        help='raw masks to write, a COCO results list for mmboxcaseg refine',
    )
    parser.add_argument(
        '--source',
        choices=('box', 'ellipse', 'grabcut'),
        required=True,
        help='what draws the masks',
    )
    add_img_root(parser, 'folder, zip or tar of the images; grabcut needs it', required=False)
    add_image_options(parser)


def main(args: Namespace) -> None:
    """Draw."""
    from mmboxcaseg.apis.baseline_masks import make_baseline_masks

    reader = image_reader(args)
    count = make_baseline_masks(**vars(args), reader=reader)
    print(f'{args.out}: {count} masks')
