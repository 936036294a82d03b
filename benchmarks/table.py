"""What the benchmarks have in common: rows of one table, and a command line that prints them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from statistics import median

import cv2
import torch
from timing import Comparison, duration


@dataclass
class Row:
    """A row of the table; what it has nothing to say about is empty.

    Attributes:
        step: What is done.
        plain: What the plain procedure takes.
        ours: What this package takes.
        ratio: How many times less that is.
        asked: The ratio, or another figure, to reach.
        limit: What no implementation can leave out, and what that takes.
    """

    step: str
    plain: str = ''
    ours: str = ''
    ratio: str = ''
    asked: str = ''
    limit: str = ''

    def markdown(self) -> str:
        """The row as Markdown."""
        return f'| {" | ".join(astuple(self))} |'


#: What stands around the part of a document that is written.
MARKS = '<!-- make bench writes from here -->\n', '<!-- to here -->'

#: The head of a table of rows.
HEADER = '\n'.join(
    f'| {" | ".join(cells)} |'
    for cells in zip(*((field.name, '---') for field in fields(Row)), strict=True)
)


def timed_row(
    step: str, unit: str, comparison: Comparison, asked: str = '', limit: str = ''
) -> Row:
    """Make a row of two times: the least of each side and, in brackets, the median.

    Args:
        step: What is done.
        unit: What the times are of.
        comparison: The times.
        asked: See :class:`Row`.
        limit: See :class:`Row`.

    Returns:
        The row.
    """
    plain, ours = (
        f'{duration(min(times))} ({duration(median(times))})'
        for times in (comparison.plain, comparison.ours)
    )
    return Row(f'{step}, per {unit}', plain, ours, f'{comparison.ratio:.1f}', asked, limit)


def split(text: str) -> tuple[str, str]:
    """What stands before and behind the part that is written, with the marks."""
    head, begin, rest = text.partition(MARKS[0])
    _, end, tail = rest.partition(MARKS[1])
    if not begin or not end:
        raise SystemExit(f'error: the file to write into lacks the marks {MARKS}')
    return head + begin, end + tail


def share(text: str) -> float:
    """Read the part of the full sizes to run, for argparse."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f'must be above 0 and at most 1, not {text}')
    return value


def scaled(number: int, share: float, least: int = 1) -> int:
    """A share of a full size."""
    return max(least, round(number * share))


def run_script(rows: Callable[[argparse.Namespace], Iterable[Row]]) -> None:
    """Be a benchmark's command: print its rows one by one, with one thread.

    Args:
        rows: The benchmark; is given ``data``, the folder of the data, and ``share``, how large a
            part of the full size to run.
    """
    parser = argparse.ArgumentParser(
        description=sys.modules['__main__'].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--data', type=Path, default=Path('data'), help='folder of coco_mini and duts_mini'
    )
    parser.add_argument('--share', type=share, default=1, help='part of the full size to run')
    parser.add_argument('--json', type=Path, help='file to write the rows to')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(HEADER, flush=True)
    done = []
    for row in rows(args):
        print(row.markdown(), flush=True)
        done.append(asdict(row))
    if args.json:
        args.json.write_text(json.dumps(done))
