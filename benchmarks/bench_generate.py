"""Proxy generation without its network: memory and time at COCO's size and at a tenth of it.

Runs tools/generate_proxy_masks.py with a stand-in for the network that costs nothing, on a set that
is one small JPEG over and over, beside the plain procedure, which holds everything until the end.
Then the tool with a small network, for the share of its time that the network takes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import psutil
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import PixelData
from table import Row, run_script, scaled
from timing import duration, own_process

from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.proxy import bbox_iou, encode_rle, pixel_bboxes

ROOT = Path(__file__).parents[1]
TOOL = ROOT / 'tools' / 'generate_proxy_masks.py'
NETWORK = ROOT / 'configs' / 'boxcaseg' / 'hrnet_w18s_coco-mini.py'
IMAGES, INSTANCES = 118_287, 860_001  # COCO train2017
WIDTH, HEIGHT, PATCH = 160, 120, 64
PIPELINE = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='mmboxcaseg.BoxPatch', size=PATCH),
    dict(type='mmboxcaseg.PackPatchInputs'),
]
BLOB = np.exp(
    -2 * (np.mgrid[-1 : 1 : PATCH * 1j, -1 : 1 : PATCH * 1j].astype(np.float32) ** 2).sum(0)
)


def rows(args: argparse.Namespace) -> Iterator[Row]:
    images = scaled(IMAGES, args.share, 100)
    with tempfile.TemporaryDirectory() as folder:
        small = make_set(Path(folder, 'small'), images // 100)
        run(run_plain, small)
        run(run_ours, small)
        assert (small / 'plain.json').read_bytes() == (small / 'ours.json').read_bytes()
        tenth = make_set(Path(folder, 'tenth'), images // 10)
        yield from usage_rows(images // 10, run(run_ours, tenth), run(run_plain, tenth))
        full = make_set(Path(folder, 'full'), images)
        yield from usage_rows(images, run(run_ours, full))
    yield Row(
        'share of its time in a small network on a CPU',
        ours=network_share(args.data, args.share),
        asked='90 %',
    )


@dataclass
class Usage:
    """What a run took: CPU seconds, seconds by the clock, peak memory of all its processes."""

    cpu_s: float
    wall_s: float
    peak_mb: float


def usage_rows(images: int, ours: Usage, plain: Usage | None = None) -> Iterator[Row]:
    """The rows of a set; the plain procedure may have been left out."""
    step = f'proxy generation without its network, {images:,} images, per image'
    sides = [usage for usage in (plain, ours) if usage]
    cells = [
        [''] * (2 - len(sides)) + cell
        for cell in (
            [duration(usage.cpu_s / images) for usage in sides],
            [f'{usage.peak_mb:.0f} MB' for usage in sides],
            [f'{usage.wall_s:.0f} s' for usage in sides],
        )
    ]
    ratio = f'{plain.cpu_s / ours.cpu_s:.1f}' if plain else ''
    yield Row(step, *cells[0], ratio)
    yield Row('- its peak memory', *cells[1], asked='< 2000 MB')
    yield Row('- by the clock', *cells[2])


def make_set(folder: Path, images: int) -> Path:
    """Write a set in COCO's layout: as many boxes an image, in no order, with polygons."""
    rng = np.random.default_rng(0)
    instances = round(INSTANCES * images / IMAGES)
    folder.mkdir()
    noise = rng.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / 'image.jpg'), cv2.resize(noise, (WIDTH, HEIGHT)))
    owners = rng.integers(images, size=instances)
    corners = np.sort(rng.random((instances, 2, 2)), axis=1) * (WIDTH, HEIGHT)
    corners[:, 1] += 2
    boxes = np.concatenate([corners[:, 0], corners[:, 1] - corners[:, 0]], axis=1).round(2)
    polygon = (rng.random(60) * HEIGHT).round(2).tolist()
    with open(folder / 'boxes.json', 'w') as file:
        file.write('{"info": {}, "images": [')
        for index in range(images):
            entry = dict(id=index, file_name='image.jpg', width=WIDTH, height=HEIGHT)
            file.write(', ' * bool(index) + json.dumps(entry))
        file.write('], "categories": [{"id": 1, "name": "thing"}], "annotations": [')
        for index, (owner, box) in enumerate(zip(owners.tolist(), boxes.tolist(), strict=True)):
            entry = dict(segmentation=[polygon], image_id=owner, bbox=box, category_id=1, id=index)
            file.write(', ' * bool(index) + json.dumps(entry))
        file.write(']}')
    return folder


def run(function: Callable[[Path], None], folder: Path) -> Usage:
    """Run one side in a process of its own and watch the memory of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with own_process() as process:
        pid = process.submit(os.getpid).result()
        start = time.perf_counter()
        future = process.submit(function, folder)
        peak = 0.0
        while not future.done():
            peak = max(peak, memory_mb(pid))
            wait([future], timeout=1)
        wall = time.perf_counter() - start
        future.result()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Usage(cpu, wall, peak)


def memory_mb(pid: int) -> float:
    """Memory of a process and its children; what they share is counted once."""
    total = 0
    # The process may have just ended.
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            total += process.memory_full_info().pss
    return total / 1e6


class StandIn(BoxCasegPredictor):
    """Draws blobs instead of running a network."""

    def predict_packed(self, packed: list[dict]) -> list[DetDataSample]:
        samples = [one['data_samples'] for one in packed]
        for sample in samples:
            sample.pred_maps = PixelData(fused=torch.from_numpy(BLOB)[None])
            sample.set_metainfo(dict(threshold=0.5))
        return samples


def run_ours(folder: Path) -> None:
    from mmboxcaseg.apis import proxy_generation

    def stand_in(config: Config, *_: object) -> SimpleNamespace:
        model = SimpleNamespace(cfg=config, output_map='fused', slack=0.0, exclusive=False)
        model.folded = lambda: model
        return model

    proxy_generation.init_model = stand_in
    proxy_generation.BoxCasegPredictor = StandIn
    # The tool makes sure of the checkpoint before it starts.
    torch.save(dict(state_dict=init_model(NETWORK).state_dict()), folder / 'none.pth')
    config = folder / 'small.py'
    config.write_text(
        f'_base_ = {str(NETWORK)!r}\ntest_dataloader = dict(dataset=dict(pipeline={PIPELINE}))\n'
    )
    sys.argv = [str(TOOL), str(config), str(folder / 'none.pth'), *arguments(folder)]
    sys.argv += ['--ann', str(folder / 'boxes.json'), '--out', str(folder / 'ours.json')]
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as errors:
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
        except SystemExit as error:
            if error.code:
                raise RuntimeError(errors.getvalue()) from None


def arguments(img_root: Path) -> list[str]:
    return ['--images', str(img_root), '--device', 'cpu', '--workers', '2']


def run_plain(folder: Path) -> None:
    """All in lists; every instance decodes its image and has an array of its image's size."""
    coco = json.loads((folder / 'boxes.json').read_text())
    groups: dict[int, list] = {image['id']: [] for image in coco['images']}
    for annotation in coco['annotations']:
        groups[annotation['image_id']].append(annotation)
    patches = (
        crop(folder / image['file_name'], annotation)
        for image in coco['images']
        for annotation in groups[image['id']]
    )
    maps = (
        prob
        for batch in iter(lambda: list(islice(patches, 32)), [])
        for prob in [BLOB] * len(np.stack(batch))
    )
    proxies = {}
    for image in coco['images']:
        annotations = groups[image['id']]
        boxes = np.array([corners(a) for a in annotations]).reshape(-1, 4)
        probs = [next(maps) for _ in boxes]
        masks = [paste(prob, box) for prob, box in zip(probs, boxes, strict=True)]
        taken = np.zeros((HEIGHT, WIDTH), dtype=bool)
        sides = (boxes[:, 2:].astype(np.float32) - boxes[:, :2].astype(np.float32)).astype(float)
        for index in np.argsort(sides.prod(axis=1), kind='stable'):
            masks[index] &= ~taken
            taken |= masks[index]
        for annotation, mask, box, prob in zip(annotations, masks, boxes, probs, strict=True):
            y, x = np.nonzero(mask)
            tight = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0] * 4
            fields = dict(
                segmentation=encode_rle(mask),
                box_agreement=float(bbox_iou(tight, pixel_bboxes(box, mask.shape)[0])),
            )
            fields['quality'] = quality(prob)
            area = int(mask.sum()) or annotation['bbox'][2] * annotation['bbox'][3]
            del annotation['segmentation']
            proxies[annotation['id']] = dict(annotation, iscrowd=0, area=area, **fields)
    coco['annotations'] = [proxies[a['id']] for a in coco['annotations']]
    (folder / 'plain.json').write_text(json.dumps(coco))


def corners(annotation: dict) -> np.ndarray:
    x, y, width, height = annotation['bbox']
    return np.array([x, y, x + width, y + height])


def crop(path: Path, annotation: dict) -> np.ndarray:
    image = cv2.imread(str(path))
    x1, y1, x2, y2 = pixel_bboxes(corners(annotation), image.shape[:2])[0]
    return cv2.resize(image[y1:y2, x1:x2], (PATCH, PATCH))


def paste(prob: np.ndarray, box: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = pixel_bboxes(box, (HEIGHT, WIDTH))[0].tolist()
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    prob = (prob - prob.min()) / (prob.max() - prob.min())
    mask[y1:y2, x1:x2] = cv2.resize(prob, (x2 - x1, y2 - y1)) > 0.5
    return mask


def quality(prob: np.ndarray) -> float:
    mask = (prob - prob.min()) / (prob.max() - prob.min()) > 0.5
    common = prob[mask].sum(dtype=np.float64)
    return float(common / (mask.sum() + prob.sum(dtype=np.float64) - common))


def network_share(data: Path, share: float) -> str:
    """Run the tool with a small network, its weights at random, on real photographs."""
    coco = json.loads((data / 'coco_mini' / 'annotations' / 'instances_train.json').read_text())
    coco['images'] = coco['images'][: scaled(len(coco['images']), share)]
    ids = {image['id'] for image in coco['images']}
    coco['annotations'] = [a for a in coco['annotations'] if a['image_id'] in ids]
    with tempfile.TemporaryDirectory() as folder:
        boxes, checkpoint = Path(folder, 'boxes.json'), Path(folder, 'random.pth')
        boxes.write_text(json.dumps(coco))
        torch.save(dict(state_dict=init_model(NETWORK).state_dict()), checkpoint)
        command = [sys.executable, TOOL, NETWORK, checkpoint, '--ann', boxes]
        command += [*arguments(data / 'coco_mini' / 'train'), '--out', Path(folder, 'proxy.json')]
        output = subprocess.run(
            list(map(str, command)), check=True, capture_output=True, text=True
        ).stdout
    return output.split('time in the network: ')[1].split()[0]


if __name__ == '__main__':
    run_script(rows)
