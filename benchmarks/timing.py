"""Time two ways to do one thing side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

#: Head of the table that :func:`row` gives rows of.
HEADER = '| step | plain | ours | ratio | limit, if named |\n| --- | --- | --- | --- | --- |'


@dataclass
class Comparison:
    """Process CPU seconds an item: of each repeat, the plain procedure's and ours."""

    plain: list[float]
    ours: list[float]

    @property
    def plain_s(self) -> float:
        """The least of the plain procedure: what else runs on the machine only adds to it."""
        return min(self.plain)

    @property
    def ours_s(self) -> float:
        """The least of ours."""
        return min(self.ours)

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.plain_s / self.ours_s


def cpu_seconds(function: Callable[[], Any]) -> float:
    """CPU seconds, of all threads of this process, that a call takes."""
    start = time.process_time()
    function()
    return time.process_time() - start


def compare(
    plain: Callable[[], Any], ours: Callable[[], Any], items: int, repeats: int = 5
) -> Comparison:
    """Time the plain procedure and ours in turn, so that a busy machine slows both alike.

    Args:
        plain: Does the work on all items.
        ours: Does the same.
        items: How many there are.
        repeats: How often each is timed.

    Returns:
        The times of an item.
    """
    plain_times, our_times = [], []
    for _ in range(repeats):
        plain_times.append(cpu_seconds(plain) / items)
        our_times.append(cpu_seconds(ours) / items)
    return Comparison(plain_times, our_times)


def row(name: str, comparison: Comparison, unit: str, limit: str = '') -> str:
    """Write a row of the table: the least time of each side and, in brackets, the median.

    Args:
        name: The step.
        comparison: Its times.
        unit: What an item is.
        limit: What no implementation can do without, and how long that takes.

    Returns:
        A row of Markdown.
    """
    plain, ours = (
        f'{duration(min(times))} ({duration(median(times))})'
        for times in (comparison.plain, comparison.ours)
    )
    return f'| {name}, a {unit} | {plain} | {ours} | {comparison.ratio:.1f} | {limit} |'


def duration(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    for scale, name in ((1, 's'), (1e3, 'ms')):
        if seconds * scale >= 1:
            return f'{seconds * scale:.3g} {name}'
    return f'{seconds * 1e6:.3g} us'
