"""Proxy masks for the boxes of a large set: a network that waits for nothing but its own turn."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from mmdet.structures import DetDataSample

from mmboxcaseg.coco.annotations import annotation_bboxes
from mmboxcaseg.coco.groups import ImageGroups
from mmboxcaseg.coco.proxies import refine_annotations
from mmboxcaseg.coco.results import mask_result
from mmboxcaseg.coco.shards import ShardFolder
from mmboxcaseg.datasets.transforms import LoadPatchImage
from mmboxcaseg.proxy import mask_rles

from .inference import BoxCasegPredictor

# Images that are ahead of the network, and as many behind it, for each worker.
_AHEAD = 4

# Patches that a thread of a CPU takes through the network at once; more do not stay in its cache.
_PIECE = 2


class ProxyGenerator:
    """Predict, merge and rate the masks of shard after shard.

    Workers decode images and run the pipeline ahead of the network, and turn its maps into masks
    behind it; this thread runs the network and writes the shards. Queues are bounded. Workers are
    threads: what takes long releases Python's lock, and samples, which are many small tensors,
    cost more to send to another process than to make.

    Batches go across images, but not across shards: which patches share a batch, and with it the
    last bit of what the network computes, depends on nothing but the set and the batch size.
    On a CPU the number of threads that share a convolution has the same effect: there a batch is
    cut into pieces, and each has one thread.

    Args:
        groups: The boxes.
        img_root: Folder of the images.
        predictor: The network.
        workers: Threads that work ahead of the network and behind it; with 0 all is done here.
        threads: Pieces of a batch that are predicted at the same time, of a network on a CPU; with
            0, for a GPU, the batch stays whole.

    Attributes:
        network_s: Seconds that the network has taken so far.
    """

    def __init__(
        self,
        groups: ImageGroups,
        img_root: str | Path,
        predictor: BoxCasegPredictor,
        workers: int = 0,
        threads: int = 0,
    ) -> None:
        self.groups = groups
        self.img_root = Path(img_root)
        self.predictor = predictor
        self.workers = workers
        self.threads = threads
        self.network_s = 0.0
        self._pipeline_lock = Lock()

    def run(self, folder: ShardFolder, shards: list[int]) -> Iterator[int]:
        """Write shards.

        Args:
            folder: Where to.
            shards: Their numbers.

        Yields:
            For every image, the number of its boxes that got a mask.

        Raises:
            InputError: If an image is broken or of another size than the file says.
        """
        images = [index for shard in shards for index in folder.images(shard)]
        # Convolutions must not share threads, or their last bits would depend on how many.
        alone = dict(initializer=torch.set_num_threads, initargs=(1,))
        with _pool(self.workers) as pool, _pool(self.threads, **alone) as threads:
            packed = _map_ahead(pool, self._pack, images, _AHEAD * self.workers)
            samples = chain.from_iterable(
                self._predict(folder.images(shard), packed, threads) for shard in shards
            )
            results = _map_ahead(
                pool, self._finish, zip(images, samples, strict=True), _AHEAD * self.workers
            )
            for shard in shards:
                proxies: list[dict] = []
                raw: list[dict] = []
                for index in folder.images(shard):
                    image_proxies, image_raw = next(results)
                    proxies += image_proxies
                    raw += image_raw
                    yield int(self.groups.num_boxes[index])
                folder.write(shard, proxies, raw)

    def _pack(self, index: int) -> list[dict]:
        """What the pipeline gives of all boxes of an image, which is decoded once."""
        objects = [a for a in self.groups.annotations(index) if a.is_object]
        if not objects:
            return []
        image = self.groups.image(index)
        size = dict(height=image.height, width=image.width)
        path = str(self.img_root / image.file_name)
        pixels = LoadPatchImage()(dict(img_path=path) | size)['img']
        # Transforms are made for one thread: mmcv's random ones mix up who asks for what.
        with self._pipeline_lock:
            return self.predictor.pack(pixels, annotation_bboxes(objects))

    def _predict(
        self, images: range, packed: Iterator[list[dict]], threads: Executor | None
    ) -> Iterator[list[DetDataSample]]:
        """Yield the samples of each image of a shard; batches go across its images."""
        boxes = chain.from_iterable(islice(packed, len(images)))
        batches = iter(lambda: list(islice(boxes, self.predictor.batch_size)), [])
        samples = chain.from_iterable(self._predict_batch(batch, threads) for batch in batches)
        for index in images:
            yield list(islice(samples, int(self.groups.num_boxes[index])))

    def _predict_batch(
        self, packed: list[dict], threads: Executor | None
    ) -> Iterable[DetDataSample]:
        start = time.perf_counter()
        if threads is None:
            samples = self.predictor.predict_packed(packed)
        else:
            pieces = [packed[i : i + _PIECE] for i in range(0, len(packed), _PIECE)]
            samples = list(chain.from_iterable(threads.map(self.predictor.predict_packed, pieces)))
        self.network_s += time.perf_counter() - start
        return samples

    def _finish(self, task: tuple[int, list[DetDataSample]]) -> tuple[list[dict], list[dict]]:
        """Turn the maps of one image into proxy masks.

        Returns:
            The annotations with their proxy masks, and COCO results with the masks before merging;
            ``quality`` and ``score`` are :func:`expected_iou` of the maps.
        """
        index, samples = task
        image, annotations = self.groups.image(index), self.groups.annotations(index)
        rated = [self.predictor.mask_of(sample) for sample in samples]
        shapes = [image.shape] * len(rated)
        rles = mask_rles([mask for mask, _ in rated], shapes)
        objects = (annotation for annotation in annotations if annotation.is_object)
        results = [
            mask_result(annotation, rle, quality)
            for annotation, rle, (_, quality) in zip(objects, rles, rated, strict=True)
        ]
        raw = {result['ann_id']: result['segmentation'] for result in results}
        scores = {result['ann_id']: result['score'] for result in results}
        return refine_annotations(image, annotations, raw, scores=scores), results


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
