"""Give every box of a COCO file a proxy mask: predict, merge, measure agreement and quality.

An interrupted run goes on where it was when the same command is given again.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import (
    add_amp_options,
    add_config_options,
    add_device_option,
    add_launcher_option,
    add_network,
    add_tta_option,
)


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    add_network(parser)
    parser.add_argument(
        '--ann', type=Path, required=True, help='COCO file with boxes; its masks are not read'
    )
    parser.add_argument('--img-root', type=Path, required=True, help='folder of the images')
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        help='COCO file to write: the boxes with segmentation, box_agreement and quality',
    )
    parser.add_argument(
        '--raw-out',
        type=Path,
        help='COCO results file to write with the masks before merging, for mmboxcaseg refine',
    )
    add_device_option(parser)
    parser.add_argument('--batch-size', type=int, default=32, help='boxes predicted at once')
    parser.add_argument(
        '--slack',
        type=float,
        help="how far a mask may leave its box, in parts of the box's width and height, at most "
        "the margin of the patches (the model's test_cfg.slack, or 0); each mask's own tight box "
        'is then its mask_bbox',
    )
    parser.add_argument(
        '--keep-masks',
        action='store_true',
        help='annotations that have a true mask keep it, and it wins its pixels; only the others '
        'get one',
    )
    add_tta_option(parser)
    add_amp_options(parser)
    parser.add_argument(
        '--workers',
        type=int,
        default=2,
        help='threads that crop boxes for the network and make masks of its predictions, beside '
        'those that run it; more if the network waits',
    )
    add_config_options(parser, 'model.test_cfg.threshold=best')
    add_launcher_option(parser, 'pytorch')


def main(args: Namespace) -> None:
    """Generate."""
    from mmboxcaseg.apis.proxy_generation import generate_proxy_masks
    from mmboxcaseg.engine.config import load_config, parse_options
    from mmboxcaseg.engine.device import choose_amp, default_device
    from mmboxcaseg.engine.distributed import is_first_process
    from mmboxcaseg.pretrained import or_shipped

    config, checkpoint = or_shipped(args.config, args.checkpoint)
    device = args.device or default_device()
    summary = generate_proxy_masks(
        args.ann,
        args.img_root,
        args.out,
        config=load_config(config, parse_options(args.cfg_options)),
        checkpoint=checkpoint,
        raw_out=args.raw_out,
        tta=args.tta,
        amp=choose_amp(args.amp, args.force_amp, device),
        batch_size=args.batch_size,
        slack=args.slack,
        keep_masks=args.keep_masks,
        workers=args.workers,
        device=device,
        launcher=args.launcher,
    )
    if is_first_process():
        print(f'{args.out}: {summary}')
