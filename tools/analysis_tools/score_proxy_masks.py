"""Compare raw proxy masks with true masks: merge, drop, and what tells good masks, as tables.

Masks are ranked by their box agreement and by their quality, which is the score of a raw mask.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mmboxcaseg.coco import Coco, annotations_by_image, load_coco, load_masks
from mmboxcaseg.coco.checks import check_bboxes
from mmboxcaseg.errors import check_share, run_tool
from mmboxcaseg.evaluation import (
    KEPT_SHARES,
    ProxyScores,
    compare_drops,
    compare_rankings,
    score_proxies,
    summarize_ious,
)
from mmboxcaseg.proxy import AGREEMENTS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('truth', type=Path, help='COCO file with the true masks')
    parser.add_argument(
        'raw',
        type=Path,
        help='raw masks, of tools/generate_proxy_masks.py --raw-out, or a COCO file of proxy masks',
    )
    parser.add_argument(
        '--thresholds',
        type=float,
        nargs='+',
        default=AGREEMENTS,
        metavar='T',
        help='keep masks whose box agreement is above T; a row each (default: %(default)s)',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    for threshold in args.thresholds:
        check_share('--thresholds', threshold)
    truth = load_coco(args.truth)
    check_bboxes(truth)
    scores = score_proxies(truth, load_masks(args.raw, truth), args.raw)
    print('| masks | kept if the agreement is above | kept | mean IoU of the kept |')
    print('|---|---|---|---|')
    for row in compare_drops(scores, args.thresholds):
        threshold = '-' if row.min_agreement is None else f'{row.min_agreement:.2f}'
        print(f'| {row.masks} | {threshold} | {row.kept:.1%} | {row.mean_iou:.3f} |')
    print_rankings(scores)
    print_ious(scores, truth)


def print_rankings(scores: dict[str, ProxyScores]) -> None:
    """Print how well each measure ranks the masks, and the mean IoU of the best ones by it."""
    shares = ' | '.join(f'best {share:.0%}' for share in KEPT_SHARES)
    print(f'\n| masks | ranked by | Spearman with the true IoU | mean IoU of the {shares} |')
    print('|---|---|---|' + '---|' * len(KEPT_SHARES))
    for row in compare_rankings(scores):
        means = ' | '.join(f'{mean:.3f}' for mean in row.mean_ious)
        print(f'| {row.masks} | {row.measure} | {row.correlation:.2f} | {means} |')


def print_ious(scores: dict[str, ProxyScores], truth: Coco) -> None:
    """Print the paper's figures of masks inside boxes (Sec. 4), of all boxes."""
    groups = annotations_by_image(truth).values()
    labels = [a.category_id for group in groups for a in group if a.is_object]
    print('\n| masks | mIoU* | IoU@50 | IoU@75 |')
    print('|---|---|---|---|')
    for masks, score in scores.items():
        summary = summarize_ious(score.ious, np.array(labels), (0.5, 0.75))
        print(f'| {masks} | ' + ' | '.join(f'{value:.3f}' for value in summary.values()) + ' |')


if __name__ == '__main__':
    run_tool(main)
