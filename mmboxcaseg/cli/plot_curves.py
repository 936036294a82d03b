"""Draw the loss terms and the validation metrics of trainings."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

SUFFIXES = ('.png', '.jpg', '.pdf', '.svg')


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('work_dirs', type=Path, nargs='+', help='of mmboxcaseg train')
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('curves.png'),
        help=f'picture to write ({", ".join(SUFFIXES)}; default: %(default)s)',
    )
    parser.add_argument(
        '--metrics', nargs='+', default=['*'], help='which to draw, shell patterns on their names'
    )


def main(args: Namespace) -> None:
    """Draw."""
    from dataclasses import replace
    from fnmatch import fnmatchcase

    from mmboxcaseg.fileio import check_output
    from mmboxcaseg.visualization.curves import plot_curves, read_curves

    check_output(args.out, suffixes=SUFFIXES)
    runs = {}
    for work_dir in args.work_dirs:
        curves = read_curves(work_dir)
        chosen = {
            name: points
            for name, points in curves.metrics.items()
            if any(fnmatchcase(name, pattern) for pattern in args.metrics)
        }
        runs[str(work_dir)] = replace(curves, metrics=chosen)
    plot_curves(runs, args.out)
    print(f'wrote {args.out}')
