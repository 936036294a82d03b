"""Masks for the boxes of many images, while the network never waits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice, tee
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from mmdet.structures import DetDataSample

from mmboxcaseg.proxy import BoxMask

if TYPE_CHECKING:
    from .inference import BoxCasegPredictor

Task = TypeVar('Task')
Result = TypeVar('Result')

# Images that are read ahead, for each worker.
_AHEAD = 4

# Patches that a thread of a CPU takes through the network at once; more do not stay in its cache.
_PIECE = 2


@dataclass
class _Image:
    """An image on its way to the network."""

    group: Hashable
    task: Any
    pixels: np.ndarray | None  # until its patches are cut out
    bboxes: np.ndarray
    taken: np.ndarray | None = None


class MaskStream:
    """Predict the masks of image after image.

    Workers read images ahead of the network. The network has threads of its own; while they predict
    a batch, the caller's thread crops the boxes of the next one and turns the maps of the last one
    into masks. All that is Python for the most part is in this one thread: several would gain
    nothing, and change places again and again, which takes longer than the work.

    Batches go across images, but not across groups of them: which patches share a batch, and with
    it the last bit of what the network computes, depends on nothing but the group and the batch
    size. On a CPU the number of threads that share a convolution has the same effect: there a batch
    is cut into pieces, and each has one thread.

    Args:
        predictor: The network.
        workers: Threads that read images; with 0 the caller's does, and on a GPU runs the network.
        threads: Pieces of a batch that are predicted at the same time, see :func:`cpu_threads`;
            with 0 the batch stays whole.

    Attributes:
        network_s: Seconds that the network has taken so far.
    """

    def __init__(self, predictor: BoxCasegPredictor, workers: int = 0, threads: int = 0) -> None:
        self.predictor = predictor
        self.workers = workers
        self.threads = threads
        self.network_s = 0.0

    def run(
        self,
        tasks: Iterable[tuple[Hashable, Task]],
        load: Callable[[Task], tuple[np.ndarray, ...]],
        finish: Callable[[Task, list[tuple[BoxMask, float]]], Result],
        exclusive: bool = True,
    ) -> Iterator[Result]:
        """Predict.

        Args:
            tasks: The group that each image is in, and what stands for it; groups follow each
                other.
            load: Gives the image of a task, (H, W, 3) uint8 BGR, its boxes, (N, 4) xyxy, and, if
                other objects have some, the pixels that are ``taken``, (H, W) bool. It runs in a
                worker.
            finish: Given the task, and each box's mask and how good it probably is.
            exclusive: See :meth:`BoxCasegPredictor.masks_of`.

        Yields:
            What ``finish`` made of each task, in the tasks' order.

        Raises:
            InputError: If a box is not four finite numbers, is empty or lies outside its image.
        """
        threads_before = torch.get_num_threads()
        # Convolutions must not share threads, or their last bits would depend on how many. A single
        # thread is the caller's: to hand pieces over would cost time.
        alone = dict(initializer=torch.set_num_threads, initargs=(1,)) if self.threads else {}
        others = min(self.workers, 1) if not self.threads else self.threads * (self.threads > 1)
        try:
            if self.threads:
                torch.set_num_threads(1)
            with _pool(self.workers) as readers, _pool(others, **alone) as network:
                images = _map_ahead(readers, partial(_read, load), tasks, _AHEAD * self.workers)
                for image, samples in self._samples(images, network):
                    rated = self.predictor.masks_of(samples, exclusive, image.taken)
                    yield finish(image.task, rated)
        finally:
            # What a thread sets, torch takes for those that start later too.
            torch.set_num_threads(threads_before)

    def _samples(
        self, images: Iterator[_Image], network: Executor | None
    ) -> Iterator[tuple[_Image, Iterator[DetDataSample]]]:
        """Yield each image with the predicted samples of its boxes, which must be taken."""
        ahead, images = tee(images)
        samples = self._predict(self._batches(ahead), network)
        for image in images:
            yield image, islice(samples, len(image.bboxes))

    def _batches(self, images: Iterator[_Image]) -> Iterator[list[dict]]:
        for _, group in groupby(images, attrgetter('group')):
            patches = chain.from_iterable(map(self._pack, group))
            yield from iter(partial(_take, patches, self.predictor.batch_size), [])

    def _pack(self, image: _Image) -> Iterator[dict]:
        """Run the pipeline on one box after the other; the image is not needed any more then."""
        yield from self.predictor.pack(image.pixels, image.bboxes)
        image.pixels = None

    def _predict(
        self, batches: Iterator[list[dict]], network: Executor | None
    ) -> Iterator[DetDataSample]:
        """Yield the samples of a batch when the next one is on its way."""
        size = _PIECE if self.threads else self.predictor.batch_size
        under_way: deque = deque()
        for batch in chain(batches, [[]]):
            pieces = [batch[start : start + size] for start in range(0, len(batch), size)]
            under_way.append((network.map if network else map)(self._predict_piece, pieces))
            if len(under_way) > 1:
                for samples, seconds in under_way.popleft():
                    self.network_s += seconds / max(self.threads, 1)
                    yield from samples

    def _predict_piece(self, packed: list[dict]) -> tuple[list[DetDataSample], float]:
        start = time.perf_counter()
        samples = self.predictor.predict_packed(packed)
        return samples, time.perf_counter() - start


def cpu_threads(device: str | torch.device) -> int:
    """How many pieces of a batch to predict at the same time.

    Args:
        device: Where the network runs.

    Returns:
        As many as torch has threads on a CPU; 0 on a GPU, which takes the batch as a whole.

    Example:
        >>> cpu_threads('cuda:1')
        0
    """
    return torch.get_num_threads() if torch.device(device).type == 'cpu' else 0


def _read(load: Callable[[Task], tuple[np.ndarray, ...]], grouped: tuple[Hashable, Task]) -> _Image:
    group, task = grouped
    return _Image(group, task, *load(task))


def _take(values: Iterator[Any], count: int) -> list[Any]:
    return list(islice(values, count))


@contextmanager
def _pool(threads: int, **settings: Any) -> Iterator[Executor | None]:
    if not threads:
        yield None
        return
    with ThreadPoolExecutor(threads, **settings) as pool:
        yield pool


def _map_ahead(
    pool: Executor | None, function: Callable, tasks: Iterable, ahead: int
) -> Iterator[Any]:
    """Yield the results in the tasks' order; so many tasks are under way at most."""
    if pool is None:
        yield from map(function, tasks)
        return
    pending: deque = deque()
    for task in tasks:
        pending.append(pool.submit(function, task))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
