"""Turn a checkpoint of the authors' release into one of this package."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mmboxcaseg import config_path


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('src', type=Path, help="the release's checkpoint")
    parser.add_argument('dst', type=Path, help='checkpoint to write, a .pth file')
    parser.add_argument(
        '--config',
        default=config_path('boxcaseg/hrnet_w48_voc_released.py'),
        help='config of the BoxCaseg that takes the weights, if it has other widths than '
        'configs/boxcaseg/hrnet_w48_voc_released.py',
    )


def main(args: Namespace) -> None:
    """Convert."""
    from mmboxcaseg.converters.released import convert_checkpoint

    count = convert_checkpoint(**vars(args))
    print(f'{args.dst}: {count} weights for {args.config}')
