"""Go on from the network that comes with the package, with boxes of your own and no masks.

It draws masks into the boxes, is trained on with the good ones, and draws them again. What is done
is kept: called again, this goes on where it was.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import add_rounds_options, rounds_settings

GOES_ON = 'the same command goes on where it was'


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        'boxes',
        type=Path,
        metavar='BOXES',
        help='COCO file with boxes; its masks are not read unless they are kept',
    )
    parser.add_argument(
        '--images', type=Path, required=True, metavar='DIR', help='folder, zip or tar of the images'
    )
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='DIR',
        help='folder for proxy.json, the boxes with their masks, and for the network: the config '
        'network.py and its checkpoint network.pth, which mmboxcaseg generate takes',
    )
    parser.add_argument('--config', help="config of the rounds (the package's own for this)")
    parser.add_argument(
        '--rounds', type=int, default=1, metavar='N', help='how often it is trained on (1)'
    )
    add_rounds_options(parser, 'train_dataloader.dataset.dataset.min_quality=0.6')


def main(args: Namespace) -> None:
    """Draw, train, draw."""
    from mmboxcaseg.apis.self_training import ADAPT_CONFIG, adapt

    args.config = args.config or ADAPT_CONFIG
    adapt(**rounds_settings(args))
    if not args.dry_run:
        print(f'{args.out}: proxy.json has the masks, network.py and network.pth are the network')
