"""Masks for the boxes of many images, while the network never waits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain, groupby, islice, tee
from operator import itemgetter
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from mmdet.structures import DetDataSample

from mmboxcaseg.proxy import BoxMask

if TYPE_CHECKING:
    from .inference import BoxCasegPredictor

Task = TypeVar('Task')
Result = TypeVar('Result')

# Images that are ahead of the network, and as many behind it, for each worker; fewer where they
# have more boxes than so many together, which take 0.2 MB each.
_AHEAD = 4
_BOXES_AHEAD = 256

# Patches that a thread of a CPU takes through the network at once; more do not stay in its cache.
_PIECE = 2


class _Packed(NamedTuple):
    """An image on its way to the network."""

    group: Hashable
    task: Any
    boxes: list[dict]


class MaskStream:
    """Predict the masks of image after image.

    Workers decode images and run the pipeline ahead of the network, and turn its maps into masks
    behind it; the caller's thread runs the network. Queues are bounded. Workers are threads: what
    takes long releases Python's lock, and samples, which are many small tensors, cost more to send
    to another process than to make.

    Batches go across images, but not across groups of them: which patches share a batch, and with
    it the last bit of what the network computes, depends on nothing but the group and the batch
    size. On a CPU the number of threads that share a convolution has the same effect: there a batch
    is cut into pieces, and each has one thread.

    Args:
        predictor: The network.
        workers: Threads that work ahead of the network and behind it; with 0 all is done here.
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
        # Of what is Python for the most part: two workers at once would gain nothing and change
        # places again and again, which costs more than the work.
        self._turn = Lock()

    def run(
        self,
        tasks: Iterable[tuple[Hashable, int, Task]],
        load: Callable[[Task], tuple[np.ndarray, np.ndarray]],
        finish: Callable[[Task, list[tuple[BoxMask, float]]], Result],
    ) -> Iterator[Result]:
        """Predict.

        Args:
            tasks: The group that each image is in, how many boxes it has, and what stands for it;
                groups follow each other.
            load: Gives the image of a task, (H, W, 3) uint8 BGR, and its boxes, (N, 4) xyxy. It
                runs in a worker.
            finish: Given the task, and each box's mask and how good it probably is. It runs in a
                worker.

        Yields:
            What ``finish`` made of each task, in the tasks' order.

        Raises:
            InputError: If a box is not four finite numbers, is empty or lies outside its image.
        """
        threads_before = torch.get_num_threads()
        # Convolutions must not share threads, or their last bits would depend on how many.
        alone = dict(initializer=torch.set_num_threads, initargs=(1,))
        # A single thread is this one: to hand pieces over would cost time.
        others = self.threads if self.threads > 1 else 0
        try:
            if self.threads:
                torch.set_num_threads(1)
            with _pool(self.workers) as pool, _pool(others, **alone) as threads:
                pack, finish = partial(self._pack, load), partial(self._finish, finish)
                packed = _map_ahead(pool, pack, tasks, itemgetter(1), self.workers)
                samples = self._predict(packed, threads)
                yield from _map_ahead(pool, finish, samples, _num_samples, self.workers)
        finally:
            # What a thread sets, torch takes for those that start later too.
            torch.set_num_threads(threads_before)

    def _pack(
        self,
        load: Callable[[Task], tuple[np.ndarray, np.ndarray]],
        grouped: tuple[Hashable, int, Task],
    ) -> _Packed:
        """Run the pipeline on all boxes of an image, which is decoded once."""
        group, _, task = grouped
        image, bboxes = load(task)
        # Besides, mmcv's random transforms mix up which thread asks for what.
        with self._turn:
            boxes = self.predictor.pack(image, bboxes) if len(bboxes) else []
        return _Packed(group, task, boxes)

    def _predict(
        self, packed: Iterator[_Packed], threads: Executor | None
    ) -> Iterator[tuple[Any, list[DetDataSample]]]:
        """Yield each task with its samples; batches go across the images of a group."""
        for _, group in groupby(packed, key=itemgetter(0)):
            ahead, images = tee(group)
            boxes = chain.from_iterable(image.boxes for image in ahead)
            batches = iter(partial(_take, boxes, self.predictor.batch_size), [])
            samples = chain.from_iterable(self._predict_batch(b, threads) for b in batches)
            for image in images:
                yield image.task, _take(samples, len(image.boxes))

    def _predict_batch(
        self, packed: list[dict], threads: Executor | None
    ) -> Iterable[DetDataSample]:
        start = time.perf_counter()
        size = _PIECE if self.threads else len(packed)
        pieces = (packed[i : i + size] for i in range(0, len(packed), size))
        results = (threads.map if threads else map)(self.predictor.predict_packed, pieces)
        samples = list(chain.from_iterable(results))
        self.network_s += time.perf_counter() - start
        return samples

    def _finish(
        self,
        finish: Callable[[Task, list[tuple[BoxMask, float]]], Result],
        predicted: tuple[Task, list[DetDataSample]],
    ) -> Result:
        task, samples = predicted
        with self._turn:
            return finish(task, [self.predictor.mask_of(sample) for sample in samples])


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


def _take(values: Iterator[Any], count: int) -> list[Any]:
    return list(islice(values, count))


def _num_samples(predicted: tuple[Any, list[DetDataSample]]) -> int:
    return len(predicted[1])


@contextmanager
def _pool(threads: int, **settings: Any) -> Iterator[Executor | None]:
    if not threads:
        yield None
        return
    with ThreadPoolExecutor(threads, **settings) as pool:
        yield pool


def _map_ahead(
    pool: Executor | None,
    function: Callable,
    tasks: Iterable,
    size_of: Callable[[Any], int],
    workers: int,
) -> Iterator[Any]:
    """Yield the results in the tasks' order; so many tasks and boxes are under way at most."""
    if pool is None:
        yield from map(function, tasks)
        return
    pending: deque = deque()
    boxes = 0
    for task in tasks:
        size = size_of(task)
        pending.append((pool.submit(function, task), size))
        boxes += size
        # One more is under way at least: the network does not wait for it.
        while len(pending) > _AHEAD * workers or (
            boxes > _BOXES_AHEAD * workers and len(pending) > 1
        ):
            future, size = pending.popleft()
            boxes -= size
            yield future.result()
            del future  # and with it the result
    while pending:
        yield pending.popleft()[0].result()
