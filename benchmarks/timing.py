"""CPU time of two ways to do one thing, side by side, and work in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, set_start_method
from typing import Any


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


def least_seconds(function: Callable[[], Any], items: int, repeats: int = 5) -> float:
    """The least CPU seconds an item of several calls."""
    return min(cpu_seconds(function) for _ in range(repeats)) / items


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


def duration(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    for scale, name in ((1, 's'), (1e3, 'ms')):
        if seconds * scale >= 1:
            return f'{seconds * scale:.3g} {name}'
    return f'{seconds * 1e6:.3g} us'


def share_of(name: str, seconds: float, whole: float) -> str:
    """Say how long a part takes, and which share of the whole it is."""
    return f'{name}: {duration(seconds)}, {seconds / whole:.0%} of ours'


def in_child(function: Callable, *args: Any) -> Any:
    """Call a function in a process of its own, whose memory is nobody else's."""
    with own_process() as process:
        return process.submit(function, *args).result()


def own_process() -> ProcessPoolExecutor:
    """Start a process as a command does: nothing of this one is in its memory."""
    return ProcessPoolExecutor(1, get_context('spawn'), initializer=_fork_children)


def _fork_children() -> None:
    # As a command does; a spawned process would spawn its children, too.
    set_start_method('fork', force=True)
