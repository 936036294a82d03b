"""Rate the proxy masks of a last round by all rounds: their quality becomes the geometric mean.

A network that learned from its own masks is surer of them than it should be; those of the rounds
before it were less so. The masks are those of the last file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmboxcaseg.coco.proxies import MASK_TOOL, combine_rounds
from mmboxcaseg.errors import InputError, run_tool
from mmboxcaseg.fileio import check_output


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument(
        'rounds',
        type=Path,
        nargs='+',
        metavar='PROXY.json',
        help=f'what {MASK_TOOL} made of the same boxes in each round, the last round last',
    )
    parser.add_argument('--out', type=Path, required=True, help='COCO file to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if len(args.rounds) < 2:
        raise InputError('give the proxy masks of at least two rounds')
    check_output(args.out, args.rounds)
    rated = combine_rounds(args.rounds, args.out)
    print(f'{args.out}: {rated} masks, rated by {len(args.rounds)} rounds')


if __name__ == '__main__':
    run_tool(main)
