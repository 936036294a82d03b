"""Proxy masks for the boxes of a large set: a network that waits for nothing but its own turn."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mmboxcaseg.coco.annotations import Annotation, Image, annotation_bboxes
from mmboxcaseg.coco.groups import ImageGroups
from mmboxcaseg.coco.proxies import refine_annotations
from mmboxcaseg.coco.results import mask_result
from mmboxcaseg.coco.shards import ShardFolder
from mmboxcaseg.datasets.transforms import LoadPatchImage
from mmboxcaseg.engine.distributed import end_with_parent
from mmboxcaseg.proxy import expected_iou, probability_rles

from .inference import BoxCasegPredictor

# Images that are ahead of the network, and as many behind it, for each worker.
_AHEAD = 4

# Patches that a thread of a CPU takes through the network at once; more do not stay in its cache.
_PIECE = 2


class ProxyGenerator:
    """Predict, merge and rate the masks of shard after shard.

    Workers decode images and crop patches ahead of the network, others turn its probability maps
    into masks behind it; this process runs the network and writes the shards. Queues are bounded.

    Batches go across images, but not across shards: which patches share a batch, and with it the
    last bit of what the network computes, depends on nothing but the set and the batch size.
    On a CPU the number of threads that share a convolution has the same effect: there a batch is
    cut into pieces, and each has one thread.

    Args:
        groups: The boxes.
        img_root: Folder of the images.
        predictor: The network.
        workers: Processes that decode, and as many that post-process; with 0 all is done here.
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
        self.img_root = img_root
        self.predictor = predictor
        self.workers = workers
        self.threads = threads
        self.network_s = 0.0

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
        # Processes are forked before the network has started threads of its own.
        patches = iter(self._load(images))
        with _pool(self.workers) as pool, _single_threads(self.threads) as threads:
            maps = chain.from_iterable(
                self._predict(folder.images(shard), patches, threads) for shard in shards
            )
            tasks = (
                (self.groups.image(i), self.groups.annotations(i), m, self.predictor.threshold)
                for i, m in zip(images, maps, strict=True)
            )
            results = _map_ahead(pool, finish_image, tasks, _AHEAD * self.workers)
            for shard in shards:
                proxies: list[dict] = []
                raw: list[dict] = []
                for index in folder.images(shard):
                    image_proxies, image_raw = next(results)
                    proxies += image_proxies
                    raw += image_raw
                    yield int(self.groups.num_boxes[index])
                folder.write(shard, proxies, raw)

    def _load(self, images: list[int]) -> DataLoader:
        return DataLoader(
            _ImagePatches(self.groups, images, self.img_root, self.predictor.crop_patches),
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=_AHEAD if self.workers else None,
            worker_init_fn=_start_worker,
        )

    def _predict(
        self, images: range, patches: Iterator, threads: Executor | None
    ) -> Iterator[list[np.ndarray]]:
        """Yield the maps of each image of a shard; batches go across its images."""
        rows = chain.from_iterable(
            zip(*(array.numpy() for array in item), strict=True)
            for item in islice(patches, len(images))
        )
        batches = iter(lambda: list(islice(rows, self.predictor.batch_size)), [])
        maps = chain.from_iterable(
            self._predict_batch(*map(np.stack, zip(*batch, strict=True)), threads)
            for batch in batches
        )
        for index in images:
            yield list(islice(maps, int(self.groups.num_boxes[index])))

    def _predict_batch(
        self, patches: np.ndarray, bboxes: np.ndarray, threads: Executor | None
    ) -> Iterable[np.ndarray]:
        start = time.perf_counter()
        if threads is None:
            maps = self.predictor.predict_patches(patches, bboxes)
        else:
            cuts = range(_PIECE, len(patches), _PIECE)
            pieces = np.split(patches, cuts), np.split(bboxes, cuts)
            maps = np.concatenate(list(threads.map(self.predictor.predict_patches, *pieces)))
        self.network_s += time.perf_counter() - start
        return maps


def finish_image(
    image: Image, annotations: list[Annotation], maps: list[np.ndarray], threshold: float | str
) -> tuple[list[dict], list[dict]]:
    """Turn the probability maps of one image into proxy masks.

    Args:
        image: Of a COCO file.
        annotations: Its annotations.
        maps: The (h, w) float32 map of each object.
        threshold: See :func:`threshold_probability`.

    Returns:
        The annotations with their proxy masks, and COCO results with the masks before merging;
        ``quality`` and ``score`` are :func:`expected_iou` of the maps.
    """
    objects = [annotation for annotation in annotations if annotation.is_object]
    rles = probability_rles(maps, annotation_bboxes(objects), image.shape, threshold)
    quality = expected_iou(np.stack(maps), threshold).tolist() if maps else []
    results = list(map(mask_result, objects, rles, quality))
    raw = {result['ann_id']: result['segmentation'] for result in results}
    scores = {result['ann_id']: result['score'] for result in results}
    return refine_annotations(image, annotations, raw, scores=scores), results


class _ImagePatches(Dataset):
    """The patches of all boxes of an image and the boxes in them; the image is decoded once."""

    def __init__(
        self,
        groups: ImageGroups,
        images: list[int],
        img_root: str | Path,
        crop: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    ) -> None:
        self._groups = groups
        self._images = np.array(images)
        self._img_root = Path(img_root)
        self._crop = crop
        self._load = LoadPatchImage()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        index = int(self._images[number])
        objects = [a for a in self._groups.annotations(index) if a.is_object]
        if not objects:
            return np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.float32)
        image = self._groups.image(index)
        size = dict(height=image.height, width=image.width)
        path = str(self._img_root / image.file_name)
        pixels = self._load(dict(img_path=path) | size)['img']
        return self._crop(pixels, annotation_bboxes(objects))


@contextmanager
def _pool(workers: int) -> Iterator[Executor | None]:
    if not workers:
        yield None
        return
    with ProcessPoolExecutor(workers, initializer=_start_worker) as pool:
        pool.submit(int).result()  # starts the processes
        yield pool


@contextmanager
def _single_threads(threads: int) -> Iterator[Executor | None]:
    """Threads that run torch's operations alone, whatever the number of threads elsewhere."""
    if not threads:
        yield None
        return
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool


def _map_ahead(
    pool: Executor | None, function: Callable, tasks: Iterable[tuple], ahead: int
) -> Iterator[Any]:
    """Yield the results in the tasks' order; so many tasks are under way at most."""
    if pool is None:
        yield from (function(*task) for task in tasks)
        return
    pending: deque = deque()
    for task in tasks:
        pending.append(pool.submit(function, *task))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _start_worker(_: int = 0) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its parent, in silence
    cv2.setNumThreads(0)
