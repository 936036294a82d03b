"""A soak of a training's loader and of generation: over many instances nothing may pile up.

Both go over one small JPEG again and again: the loader in ten epochs with workers of their own,
generation once, with the stand-in of bench_generate.py in the place of the network. Memory, open
files, processes and shared memory are looked at between a tenth and two tenths of the way and in
its last tenth. Ends with 1 if memory has grown by more than a tenth, if there are more of the
others, or if anything is left at the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import suppress
from operator import gt
from pathlib import Path
from statistics import median

import psutil
from bench_generate import IMAGES, INSTANCES, PATCH, make_set, memory_mb, run_ours
from timing import own_process
from torch.utils.data import DataLoader

from mmboxcaseg.coco.shards import SHARD_IMAGES
from mmboxcaseg.datasets import BoxInstanceDataset
from mmboxcaseg.engine.hooks import seed_worker
from mmboxcaseg.models.data_preprocessors import collate_patches

EPOCHS = 10
SHARED_MEMORY = Path('/dev/shm')  # noqa: S108 -- looked at, not written
PIPELINE = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='mmboxcaseg.RandomBoxPatch', size=PATCH),
    dict(type='mmboxcaseg.PackPatchInputs'),
]


class Usage:
    """What a process and its children hold, seen several times."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int, int, int]] = []

    def add(self, pid: int) -> None:
        """See a process now."""
        # One of its children may have just ended.
        with suppress(psutil.Error):
            parent = psutil.Process(pid)
            family = [parent, *parent.children(recursive=True)]
            files = sum(process.num_fds() for process in family)
            shared = len(list(SHARED_MEMORY.iterdir()))
            self.seen.append((memory_mb(pid), files, len(family), shared))

    def summary(self) -> tuple[float, int, int, int]:
        """Memory in the median, the most processes, the least of files and shared memory.

        A batch on its way from a worker is an open file and shared memory; there are none between
        two epochs.
        """
        memory, files, processes, shared = zip(*self.seen, strict=True)
        return median(memory), min(files), max(processes), min(shared)


def watch(work: Callable[[Path], None], folder: Path, progress: Callable[[Path], float]) -> bool:
    """Run work in a process of its own; say what it holds, and whether nothing piles up."""
    shared = set(SHARED_MEMORY.iterdir())
    early, late = Usage(), Usage()
    with own_process() as process:
        pid = process.submit(os.getpid).result()
        future = process.submit(work, folder)
        while not future.done():
            share = progress(folder)
            if 0.1 <= share < 0.2:
                early.add(pid)
            elif 0.9 <= share < 1:
                late.add(pid)
            wait([future], timeout=0.1)
        future.result()
        left = len(psutil.Process(pid).children(recursive=True))
    left_shared = len(set(SHARED_MEMORY.iterdir()) - shared)
    (before, *counts), (after, *counts_after) = early.summary(), late.summary()
    for name, values in (('at a tenth', early.summary()), ('at the end', late.summary())):
        print(
            f'{work.__name__}, {name}: {values[0]:.0f} MB, {values[1]} open files, '
            f'{values[2]} processes, {values[3]} entries of shared memory'
        )
    print(f'{work.__name__}, left: {left} processes, {left_shared} entries of shared memory')
    grown = after > 1.1 * before or any(map(gt, counts_after, counts))
    return not (grown or left or left_shared)


def loader(folder: Path) -> None:
    """Draw patches as a training does, epoch after epoch, and write down how far it is."""
    dataset = BoxInstanceDataset(
        str(folder / 'boxes.json'), data_prefix=dict(img=str(folder)), pipeline=PIPELINE
    )
    batches = DataLoader(
        dataset, 32, True, num_workers=2, collate_fn=collate_patches, worker_init_fn=seed_worker
    )
    for epoch in range(EPOCHS):
        for number, _ in enumerate(batches):
            (folder / 'progress').write_text(str((epoch + number / len(batches)) / EPOCHS))


def generation(folder: Path) -> None:
    """Generate as the tool does."""
    run_ours(folder)


def written_share(folder: Path) -> float:
    """How far the loader is."""
    with suppress(OSError, ValueError):
        return float((folder / 'progress').read_text())
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--instances', type=int, default=100_000, help='of each of both')
    images = round(parser.parse_args().instances * IMAGES / INSTANCES)
    num_shards = images / SHARD_IMAGES

    def finished_shards(folder: Path) -> float:
        return len(list(folder.glob('ours.json.shards/*.jsonl'))) / num_shards

    with tempfile.TemporaryDirectory() as root:
        tenth = make_set(Path(root, 'tenth'), images // EPOCHS)
        whole = make_set(Path(root, 'whole'), images)
        kept = [
            watch(loader, tenth, written_share),
            watch(generation, whole, finished_shards),
        ]
    print('nothing piles up' if all(kept) else 'something piles up')
    return not all(kept)


if __name__ == '__main__':
    sys.exit(main())
