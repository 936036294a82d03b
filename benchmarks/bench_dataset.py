"""Boxes of COCO's number in the data loader: time to read them, memory of workers, overlaps.

The plain procedure keeps the samples as Python objects, as ``pycocotools`` does: each worker
writes reference counts into the memory that it shares with its parent, which is then its own. It
finds overlapping boxes pair by pair. A set of few boxes shows what the interpreter and its
libraries take without them.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from mmengine.logging import MMLogger
from table import Row, run_script, scaled, timed_row
from timing import compare, cpu_seconds, duration, in_child, share_of
from torch.utils.data import DataLoader

from mmboxcaseg.datasets import BoxInstanceDataset

NUM_IMAGES, NUM_BOXES = 118_287, 860_001
NUM_CLASSES = 80
FEW_BOXES = 100
WORKERS = (0, 4)
MIN_IOU = 0.5


def write_coco(folder: Path, num_images: int, num_boxes: int) -> Path:
    """Write boxes of COCO's number and spread, without masks; every image is the same file."""
    rng = np.random.default_rng(0)
    images = np.sort(rng.integers(0, num_images, num_boxes)).tolist()
    size = np.exp(rng.normal(3.9, 1.1, (num_boxes, 2))).clip(4, [640, 480])
    start = rng.random((num_boxes, 2)) * ([640, 480] - size)
    bboxes = np.concatenate([start, size], 1).round(2).tolist()
    folder.mkdir()
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


def epoch_memory(path: Path, serialize: bool) -> list[float]:
    """Total memory of an epoch for each number of workers."""
    MMLogger.get_instance('mmengine').setLevel(logging.ERROR)
    dataset = build(path, serialize)
    return [total_pss_mib(dataset, workers) for workers in WORKERS]


def build(path: Path, serialize: bool = True) -> BoxInstanceDataset:
    prefix = dict(img=str(path.parent))
    return BoxInstanceDataset(str(path), prefix, pipeline=[], serialize_data=serialize)


def rows(args: argparse.Namespace) -> Iterator[Row]:
    MMLogger.get_instance('mmengine').setLevel(logging.ERROR)
    num_images, num_boxes = scaled(NUM_IMAGES, args.share, 10), scaled(NUM_BOXES, args.share, 100)
    with TemporaryDirectory() as folder:
        few = write_coco(Path(folder, 'few'), 1, FEW_BOXES)
        path = write_coco(Path(folder, 'all'), num_images, num_boxes)
        yield from memory_rows(few, path, num_boxes)
        parsing = cpu_seconds(lambda: msgspec.json.decode(path.read_bytes()))
        reading = cpu_seconds(lambda: build(path))
        yield Row(
            f'{num_boxes:,} boxes read from {path.stat().st_size / 2**20:.0f} MiB',
            ours=duration(reading),
            limit=share_of('parsing the JSON', parsing, reading),
        )
        dataset = build(path)

    def samples() -> list[dict]:
        return [dataset.get_data_info(index) for index in range(num_boxes)]

    assert np.array_equal(plain_overlapping(samples(), MIN_IOU), dataset.overlapping(MIN_IOU))
    comparison = compare(
        lambda: plain_overlapping(samples(), MIN_IOU),
        lambda: dataset.overlapping(MIN_IOU),
        1,
        repeats=2,
    )
    yield timed_row('boxes that overlap another', f'set of {num_boxes:,} boxes', comparison)


def memory_rows(few: Path, path: Path, num_boxes: int) -> Iterator[Row]:
    """What boxes add to the memory of a process and to that of each of its workers."""
    empty = in_child(epoch_memory, few, True)
    plain, ours = (
        np.subtract(in_child(epoch_memory, path, serialize), empty) for serialize in (False, True)
    )
    worker = [(memory[1] - memory[0]) / WORKERS[1] for memory in (empty, plain, ours)]
    yield Row(
        f'{num_boxes:,} boxes in memory',
        *(f'{memory[0]:.0f} MiB' for memory in (plain, ours)),
        limit=f'with {FEW_BOXES} boxes: {empty[0]:.0f} MiB',
    )
    yield Row(
        f'- more of it for each of {WORKERS[1]} workers',
        *(f'{mib:.0f} MiB' for mib in worker[1:]),
        limit=f'with {FEW_BOXES} boxes: {worker[0]:.0f} MiB',
    )


if __name__ == '__main__':
    run_script(rows)
