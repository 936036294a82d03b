"""Compare raw proxy masks with true masks: with and without merge and drop, as a table."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmboxcaseg.errors import InputError, run_tool
from mmboxcaseg.evaluation import compare_drops, score_proxies
from mmboxcaseg.proxy.coco import load_coco, load_results, match_results, wants_mask


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('truth', type=Path, help='COCO file with the true masks')
    parser.add_argument(
        'raw', type=Path, help='raw masks, of tools/generate_proxy_masks.py --raw-out'
    )
    parser.add_argument(
        '--thresholds', type=float, nargs='+', default=[0.75, 0.85, 0.9, 0.95], metavar='T'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    truth = load_coco(args.truth)
    for annotation in filter(wants_mask, truth['annotations']):
        if not annotation.get('segmentation'):
            raise InputError(f'annotation {annotation["id"]} of {args.truth} has no segmentation')
    raw = match_results(truth, load_results(args.raw), args.raw)
    print('| masks | drop below | kept | mean IoU of the kept |')
    print('|---|---|---|---|')
    for row in compare_drops(score_proxies(truth, raw), args.thresholds):
        threshold = '-' if row.min_agreement is None else f'{row.min_agreement:.2f}'
        print(f'| {row.masks} | {threshold} | {row.kept:.1%} | {row.mean_iou:.3f} |')


if __name__ == '__main__':
    run_tool(main)
