"""Give every box of a COCO file a proxy mask: predict, merge, measure agreement and quality.

An interrupted run goes on where it was when the same command is given again.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import (
    add_cleaning_options,
    add_config_options,
    add_img_root,
    add_launcher_option,
    add_network,
    add_prediction_options,
    add_skip_option,
    prediction_settings,
)

GOES_ON = 'the same command goes on where it was'


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    add_network(parser)
    parser.add_argument(
        '--ann',
        dest='ann_file',
        type=Path,
        nargs='+',
        required=True,
        help='COCO file with boxes; its masks are not read unless they are kept. Of several, or a '
        'folder of them, each is masked as if it were alone',
    )
    add_img_root(parser, 'folder, zip or tar of the images')
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        help='COCO file to write: the boxes with segmentation, box_agreement and quality; of '
        'several annotation files the folder to write them to, under their names',
    )
    parser.add_argument(
        '--raw-out',
        type=Path,
        help='COCO results file to write with the masks before merging, for mmboxcaseg refine; '
        'pixels of true masks that are kept may be gone already',
    )
    parser.add_argument(
        '--keep-masks',
        action='store_true',
        help='annotations that have a true mask keep it, and it wins its pixels; only the others '
        'get one',
    )
    parser.add_argument(
        '--trust-boxes', action='store_true', help='take boxes that look wrong all the same'
    )
    add_skip_option(parser, 'OUT.skipped.json')
    add_prediction_options(parser)
    add_cleaning_options(parser)
    add_config_options(parser, 'model.test_cfg.threshold=best')
    parser.add_argument(
        '--shared',
        action='store_true',
        help='share the work with other calls that have this option and the same arguments, such '
        'as those of a slurm array: any may begin late or be lost',
    )
    add_launcher_option(parser, 'pytorch')


def main(args: Namespace) -> None:
    """Generate."""
    from mmboxcaseg.apis.proxy_generation import generate_proxy_masks
    from mmboxcaseg.engine.config import load_config, parse_options
    from mmboxcaseg.engine.distributed import is_first_process
    from mmboxcaseg.pretrained import or_shipped

    config, args.checkpoint = or_shipped(args.config, args.checkpoint)
    options = prediction_settings(args)
    args.config = load_config(config, parse_options(options.pop('cfg_options')))
    summary = generate_proxy_masks(**options)
    if is_first_process():
        is_one = len(args.ann_file) == 1 and not args.ann_file[0].is_dir()
        print(f'{args.out}: {summary}' if is_one else summary)
