"""Rate the proxy masks of a last round by all rounds: their quality becomes the geometric mean.

A network that learned from its own masks is surer of them than it should be; those of the rounds
before it were less so. The masks are those of the last file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mmboxcaseg.errors import InputError, check_share, run_tool
from mmboxcaseg.proxy import combined_quality
from mmboxcaseg.proxy.coco import check_output, load_coco, write_json

_TOOL = 'tools/generate_proxy_masks.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument(
        'rounds',
        type=Path,
        nargs='+',
        metavar='PROXY.json',
        help=f'what {_TOOL} made of the same boxes in each round, the last round last',
    )
    parser.add_argument('--out', type=Path, required=True, help='COCO file to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if len(args.rounds) < 2:
        raise InputError('give the proxy masks of at least two rounds')
    check_output(args.out, args.rounds)
    *earlier, last = (load_coco(path) for path in args.rounds)
    rated = [proxy for proxy in last['annotations'] if 'quality' in proxy]
    columns = [
        qualities_of(coco, rated, path)
        for coco, path in zip([*earlier, last], args.rounds, strict=True)
    ]
    for proxy, quality in zip(rated, combined_quality(np.array(columns)).tolist(), strict=True):
        proxy['quality'] = quality
    write_json(last, args.out)
    print(f'{args.out}: {len(rated)} masks, rated by {len(args.rounds)} rounds')


def qualities_of(coco: dict, proxies: list[dict], path: Path) -> list[float]:
    """Find the quality that a round's file gives to the boxes of the last one."""
    by_id = {annotation['id']: annotation for annotation in coco['annotations']}
    qualities = []
    for proxy in proxies:
        own = by_id.get(proxy['id'])
        if own is None or any(own[key] != proxy[key] for key in ('image_id', 'bbox')):
            raise InputError(
                f'annotation {proxy["id"]} is not in {path}, or has another image or box there: '
                'give files that were made of the same boxes'
            )
        if 'quality' not in own:
            raise InputError(
                f'annotation {proxy["id"]} of {path} has no quality: make proxy masks with {_TOOL}'
            )
        check_share(f'quality of annotation {proxy["id"]} of {path}', own['quality'])
        qualities.append(own['quality'])
    return qualities


if __name__ == '__main__':
    run_tool(main)
