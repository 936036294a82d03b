"""Compare raw proxy masks with true masks: merge, drop, and what tells good masks, as tables.

Masks are ranked by their box agreement and by their quality, which is the score of a raw mask.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('truth', type=Path, help='COCO file with the true masks')
    parser.add_argument(
        'raw',
        type=Path,
        help='raw masks, of mmboxcaseg generate --raw-out, or a COCO file of proxy masks',
    )
    parser.add_argument(
        '--thresholds',
        type=float,
        nargs='+',
        metavar='T',
        help='keep masks whose box agreement is above T; a row each (four from 0.75 to 0.95)',
    )


def main(args: Namespace) -> None:
    """Print the tables."""
    from mmboxcaseg.coco import load_coco, load_masks
    from mmboxcaseg.coco.checks import check_bboxes
    from mmboxcaseg.errors import check_share, shown
    from mmboxcaseg.evaluation.proxy_quality import proxy_tables, score_proxies
    from mmboxcaseg.proxy import AGREEMENTS

    thresholds = args.thresholds or AGREEMENTS
    for threshold in thresholds:
        check_share('--thresholds', threshold)
    truth = load_coco(args.truth)
    check_bboxes(truth)
    scores = score_proxies(truth, load_masks(args.raw, truth), args.raw)
    print(*map(shown, proxy_tables(scores, truth, thresholds)), sep='\n')
