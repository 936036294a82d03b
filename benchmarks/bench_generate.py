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
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import psutil

from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.proxy import bbox_iou, encode_rle, pixel_bboxes

ROOT = Path(__file__).parents[1]
TOOL = ROOT / 'tools' / 'generate_proxy_masks.py'
NETWORK = ROOT / 'configs' / 'boxcaseg' / 'hrnet_w18s_coco-mini.py'
IMAGES, INSTANCES = 118_287, 860_001  # COCO train2017
WIDTH, HEIGHT, PATCH = 160, 120, 64


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--data', type=Path, default=Path('data'))
    parser.add_argument('--images', type=int, default=IMAGES, help='of the large set')
    parser.add_argument('--child', nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.child:
        kind, folder = args.child
        dict(plain=run_plain, ours=run_ours)[kind](Path(folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        small = make_set(Path(folder, 'small'), args.images // 100)
        run('plain', small)
        run('ours', small)
        assert (small / 'plain.json').read_bytes() == (small / 'ours.json').read_bytes()
        tenth = make_set(Path(folder, 'tenth'), args.images // 10)
        plain, ours = run('plain', tenth), run('ours', tenth)
        full = run('ours', make_set(Path(folder, 'full'), args.images))
    print('| step | plain | ours | ratio | limit, if named |\n|---|---|---|---|---|')
    print(
        '| proxy generation without its network, a tenth of COCO | '
        f'{plain.cpu_ms:.1f} ms of CPU an image | {ours.cpu_ms:.1f} ms | '
        f'{plain.cpu_ms / ours.cpu_ms:.1f} | |'
    )
    print(f'| - its peak memory | {plain.peak_mb:.0f} MB | {ours.peak_mb:.0f} MB | | |')
    print(f'| - by the clock | {plain.wall_s:.0f} s | {ours.wall_s:.0f} s | | |')
    print(f'| the same of all {args.images:,} images | | {full.cpu_ms:.1f} ms | | |')
    print(f'| - its peak memory | | {full.peak_mb:.0f} MB | | 2000 MB |')
    print(f'| - by the clock | | {full.wall_s:.0f} s | | |')
    print(
        f'| share of its time in a small network on a CPU | | {network_share(args.data)} | | 90% |'
    )


@dataclass
class Usage:
    """What a run took: CPU time an image, seconds by the clock, peak memory of all processes."""

    cpu_ms: float
    wall_s: float
    peak_mb: float


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


def run(kind: str, folder: Path) -> Usage:
    """Run one side in a process of its own and watch the memory of it and its children."""
    images = (folder / 'boxes.json').read_text().count('"file_name"')
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, '--child', kind, str(folder)])
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, memory_mb(process.pid))
        time.sleep(1)
    assert process.returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Usage(1000 * cpu / images, time.perf_counter() - start, peak)


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

    def __init__(self, model: None, batch_size: int) -> None:
        super().__init__(model, PATCH, batch_size)
        y, x = np.mgrid[-1 : 1 : PATCH * 1j, -1 : 1 : PATCH * 1j].astype(np.float32)
        self._maps = np.exp(-2 * np.stack([x**2 + y**2] * batch_size))

    def predict_patches(self, patches: np.ndarray) -> np.ndarray:
        return self._maps[: len(patches)]


def run_ours(folder: Path) -> None:
    import mmboxcaseg.apis

    mmboxcaseg.apis.init_model = lambda *args: None
    mmboxcaseg.apis.BoxCasegPredictor = StandIn
    (folder / 'none.pth').touch()
    sys.argv = [str(TOOL), str(NETWORK), str(folder / 'none.pth'), *arguments(folder)]
    sys.argv += ['--ann', str(folder / 'boxes.json'), '--out', str(folder / 'ours.json')]
    runpy.run_path(str(TOOL), run_name='__main__')


def arguments(img_root: Path) -> list[str]:
    return ['--img-root', str(img_root), '--device', 'cpu', '--workers', '2']


def run_plain(folder: Path) -> None:
    """All in lists; every instance decodes its image and has an array of its image's size."""
    predictor = StandIn(None, 32)
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
        for prob in predictor.predict_patches(np.stack(batch))
    )
    proxies = {}
    for image in coco['images']:
        annotations = groups[image['id']]
        boxes = np.array([corners(a) for a in annotations]).reshape(-1, 4)
        masks = [paste(next(maps), box) for box in boxes]
        taken = np.zeros((HEIGHT, WIDTH), dtype=bool)
        sides = (boxes[:, 2:].astype(np.float32) - boxes[:, :2].astype(np.float32)).astype(float)
        for index in np.argsort(sides.prod(axis=1), kind='stable'):
            masks[index] &= ~taken
            taken |= masks[index]
        for annotation, mask, box in zip(annotations, masks, boxes, strict=True):
            y, x = np.nonzero(mask)
            tight = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0] * 4
            fields = dict(
                segmentation=encode_rle(mask),
                box_agreement=float(bbox_iou(tight, pixel_bboxes(box, mask.shape)[0])),
            )
            area = annotation['bbox'][2] * annotation['bbox'][3]
            proxies[annotation['id']] = dict(iscrowd=0, area=area) | annotation | fields
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


def network_share(data: Path) -> str:
    """Run the tool with a small network, its weights at random, on real photographs."""
    import torch

    coco = data / 'coco_mini'
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, 'random.pth')
        torch.save(dict(state_dict=init_model(NETWORK).state_dict()), checkpoint)
        command = [sys.executable, TOOL, NETWORK, checkpoint, *arguments(coco / 'train')]
        command += ['--ann', coco / 'annotations' / 'instances_train.json']
        command += ['--out', Path(folder, 'proxy.json')]
        output = subprocess.run(
            list(map(str, command)), env=os.environ, check=True, capture_output=True, text=True
        ).stdout
    return output.split('time in the network: ')[1].split()[0]


if __name__ == '__main__':
    main()
