"""Boxes of COCO's number in the data loader: time to read them, memory of workers, overlaps.

The plain procedure keeps the samples as Python objects, as ``pycocotools`` does: each worker
writes reference counts into the memory that it shares with its parent, which is then its own. It
finds overlapping boxes pair by pair.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from mmengine.logging import MMLogger
from timing import compare, cpu_seconds, duration, row
from torch.utils.data import DataLoader

from mmboxcaseg.datasets import BoxInstanceDataset
from mmboxcaseg.proxy.coco import paused_gc

NUM_IMAGES, NUM_BOXES = 118_287, 860_001
NUM_CLASSES = 80
WORKERS = (0, 2, 4)
MIN_IOU = 0.5


def write_coco(folder: Path, num_images: int, num_boxes: int) -> Path:
    """Write boxes of COCO's number and spread, without masks; every image is the same file."""
    rng = np.random.default_rng(0)
    images = np.sort(rng.integers(0, num_images, num_boxes)).tolist()
    size = np.exp(rng.normal(3.9, 1.1, (num_boxes, 2))).clip(4, [640, 480])
    start = rng.random((num_boxes, 2)) * ([640, 480] - size)
    bboxes = np.concatenate([start, size], 1).round(2).tolist()
    (folder / 'image.jpg').touch()
    coco = dict(
        images=[
            dict(id=i, file_name='image.jpg', width=640, height=480) for i in range(num_images)
        ],
        categories=[dict(id=i, name=f'class {i}') for i in range(NUM_CLASSES)],
        annotations=[
            dict(
                id=i,
                image_id=image,
                category_id=i % NUM_CLASSES,
                bbox=bbox,
                area=bbox[2] * bbox[3],
                iscrowd=0,
            )
            for i, (image, bbox) in enumerate(zip(images, bboxes, strict=True))
        ],
    )
    path = folder / 'instances.json'
    path.write_text(json.dumps(coco))
    return path


def plain_overlapping(samples: list[dict], min_iou: float) -> np.ndarray:
    by_image = defaultdict(list)
    for index, sample in enumerate(samples):
        by_image[sample['img_id']].append((index, sample['bbox']))
    overlapping = np.zeros(len(samples), dtype=bool)
    for boxes in by_image.values():
        for (i, (ax1, ay1, ax2, ay2)), (j, (bx1, by1, bx2, by2)) in combinations(boxes, 2):
            width = min(ax2, bx2) - max(ax1, bx1)
            height = min(ay2, by2) - max(ay1, by1)
            if width > 0 and height > 0:
                overlap = width * height
                areas = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1)
                if overlap / (areas - overlap) > min_iou:
                    overlapping[i] = overlapping[j] = True
    return overlapping


def pss_mib(pid: int) -> float:
    """Memory of a process; what several share is divided among them."""
    for line in Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines():
        if line.startswith('Pss:'):
            return int(line.split()[1]) / 1024
    raise ValueError(f'process {pid} tells no PSS')


def total_pss_mib(dataset: BoxInstanceDataset, workers: int) -> float:
    """Memory of the process and its workers after an epoch."""
    order = np.random.default_rng(0).permutation(len(dataset)).tolist()
    loader = DataLoader(
        dataset,
        batch_size=64,
        sampler=order,
        num_workers=workers,
        collate_fn=len,
        persistent_workers=workers > 0,
    )
    for _ in loader:
        pass
    gc.collect()
    return sum(map(pss_mib, [os.getpid(), *(p.pid for p in multiprocessing.active_children())]))


def in_child(function: Callable, *args: Any) -> Any:
    """Call a function in a process of its own, whose memory is nobody else's."""
    receive, send = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context('spawn')
    process = context.Process(target=_send, args=(send, function, *args))
    process.start()
    result = receive.recv()
    process.join()
    return result


def _send(connection: Any, function: Callable, *args: Any) -> None:
    MMLogger.get_instance('mmengine').setLevel(logging.ERROR)
    connection.send(function(*args))


def epoch_memory(path: Path, serialize: bool) -> list[float]:
    """Total memory of an epoch for each number of workers."""
    dataset = build(path, serialize)
    return [total_pss_mib(dataset, workers) for workers in WORKERS]


def build(path: Path, serialize: bool = True) -> BoxInstanceDataset:
    prefix = dict(img=str(path.parent))
    return BoxInstanceDataset(str(path), prefix, pipeline=[], serialize_data=serialize)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--share', type=float, default=1, help='part of the images and boxes')
    share = parser.parse_args().share
    MMLogger.get_instance('mmengine').setLevel(logging.ERROR)
    with TemporaryDirectory() as folder:
        path = write_coco(Path(folder), int(NUM_IMAGES * share), int(NUM_BOXES * share))
        for serialize, name in ((False, 'plain'), (True, 'ours')):
            start = time.perf_counter()
            memory = ', '.join(f'{mib:.0f} MiB' for mib in in_child(epoch_memory, path, serialize))
            print(
                f'{name}: {memory} after an epoch with {WORKERS} workers, '
                f'{time.perf_counter() - start:.0f} s',
                flush=True,
            )
        with paused_gc():
            parsing = cpu_seconds(lambda: json.loads(path.read_text()))
        reading = cpu_seconds(lambda: build(path))
        mib = path.stat().st_size / 2**20
        print(
            f'read {mib:.0f} MiB: {duration(reading)}, of which the JSON {duration(parsing)}',
            flush=True,
        )
        dataset = build(path)
        samples = [dataset.get_data_info(index) for index in range(len(dataset))]
        assert np.array_equal(plain_overlapping(samples, MIN_IOU), dataset.overlapping(MIN_IOU))
        comparison = compare(
            lambda: plain_overlapping(
                [dataset.get_data_info(index) for index in range(len(dataset))], MIN_IOU
            ),
            lambda: dataset.overlapping(MIN_IOU),
            1,
            repeats=2,
        )
        print(row('boxes that overlap', comparison, f'set of {len(dataset):,} boxes'))


if __name__ == '__main__':
    main()
