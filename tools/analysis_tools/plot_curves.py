"""Draw the loss terms and the validation metrics of trainings."""

from __future__ import annotations

import argparse
import fnmatch
from dataclasses import replace
from pathlib import Path

from mmboxcaseg.errors import run_tool
from mmboxcaseg.fileio import check_output
from mmboxcaseg.visualization.curves import plot_curves, read_curves

SUFFIXES = ('.png', '.jpg', '.pdf', '.svg')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dirs', type=Path, nargs='+', help='of tools/train.py')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('curves.png'),
        help=f'picture to write ({", ".join(SUFFIXES)}; default: %(default)s)',
    )
    parser.add_argument(
        '--metrics', nargs='+', default=['*'], help='which to draw, shell patterns on their names'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_output(args.out, suffixes=SUFFIXES)
    runs = {}
    for work_dir in args.work_dirs:
        curves = read_curves(work_dir)
        chosen = {
            name: points
            for name, points in curves.metrics.items()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in args.metrics)
        }
        runs[str(work_dir)] = replace(curves, metrics=chosen)
    plot_curves(runs, args.out)
    print(f'wrote {args.out}')


if __name__ == '__main__':
    run_tool(main)
