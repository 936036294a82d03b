"""tools/refine_proxy_masks.py on a file of COCO's size and on a tenth of it: time and memory."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from drawn import IMG_SHAPE, draw_boxes, draw_probabilities, rles_of
from table import Row, run_script, scaled
from timing import duration

TOOL = Path(__file__).parents[1] / 'tools' / 'refine_proxy_masks.py'
# rusage would count the memory of the process that starts it.
RUN = """
import re, runpy, sys, time
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
print(time.process_time(), *re.findall(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read()))
"""
# Of COCO's training set.
IMAGES, INSTANCES = 118287, 860001


def write_input(folder: Path, num_images: int, num_instances: int) -> None:
    """Draw a COCO file and raw masks for it; the annotations are in no order, as in COCO.

    Args:
        folder: Where ``boxes.json`` and ``raw.json`` are written.
        num_images: Images of 640x480.
        num_instances: All of them together.
    """
    rng = np.random.default_rng(0)
    blobs = draw_probabilities(rng, 64, 80)
    shares = rng.gamma(1, 1, num_images)
    counts = 1 + rng.multinomial(num_instances - num_images, shares / shares.sum())
    height, width = IMG_SHAPE
    annotations, raw = [], []
    for image, count in enumerate(counts.tolist()):
        bboxes = draw_boxes(rng, count)
        rles = rles_of(blobs[rng.integers(0, 64, count)], bboxes)
        for (x1, y1, x2, y2), rle in zip(bboxes.round(2).tolist(), rles, strict=True):
            bbox = [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]
            entry = dict(image_id=image, category_id=image % 80, bbox=bbox, segmentation=rle)
            id_ = len(annotations)
            # The boxes' file has masks too, as COCO's has; they are not read.
            annotations.append(json.dumps(entry | dict(id=id_, area=bbox[2] * bbox[3], iscrowd=0)))
            raw.append(json.dumps(entry | dict(ann_id=id_, score=1.0)))
    images = [
        dict(id=n, file_name=f'{n:012}.jpg', height=height, width=width, license=1)
        for n in range(num_images)
    ]
    categories = [dict(id=n, name=str(n)) for n in range(80)]
    with open(folder / 'boxes.json', 'w') as file:
        head = json.dumps(dict(info={}, images=images, categories=categories))
        file.write(f'{head[:-1]}, "annotations": [')
        for number, index in enumerate(rng.permutation(len(annotations)).tolist()):
            file.write(', ' * bool(number) + annotations[index])
        file.write(']}')
    with open(folder / 'raw.json', 'w') as file:
        for number, text in enumerate(raw):
            file.write((', ' if number else '[') + text)
        file.write(']')


def refine(folder: Path) -> tuple[float, float]:
    """Run the tool on drawn input: its CPU seconds and its peak memory in bytes."""
    files = [folder / name for name in ('boxes.json', 'raw.json', 'out.json')]
    done = subprocess.run([sys.executable, '-c', RUN, TOOL, *files], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds, kilobytes = done.stdout.split()[-2:]
    return float(seconds), float(kilobytes) * 1024


def rows(args: argparse.Namespace) -> Iterator[Row]:
    for part in (100, 10, 1):
        images, instances = (scaled(n, args.share / part, 2) for n in (IMAGES, INSTANCES))
        with TemporaryDirectory() as folder:
            write_input(Path(folder), images, instances)
            size = sum(path.stat().st_size for path in Path(folder).iterdir())
            seconds, memory = refine(Path(folder))
        yield Row(
            f'refine_proxy_masks.py, {images:,} images, {instances:,} instances, '
            f'{size / 1e6:.0f} MB of input',
            ours=f'{seconds:.0f} s, per instance {duration(seconds / instances)}',
        )
        yield Row('- its peak memory', ours=f'{memory / 1e6:.0f} MB', asked='< 2000 MB')


if __name__ == '__main__':
    run_script(rows)
