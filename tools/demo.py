"""Run the whole pipeline on a small synthetic set: no data, no network and no GPU needed."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import mmboxcaseg  # noqa: F401  # isort: skip -- before mmdet, which needs its ops
import cv2
import numpy as np
from mmdet.apis import inference_detector, init_detector
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmboxcaseg.coco import (
    Annotation,
    Image,
    annotation_bboxes,
    annotations_by_image,
    load_coco,
    load_masks,
    load_proxies,
)
from mmboxcaseg.datasets.toy import TOY_CLASSES
from mmboxcaseg.engine.checkpoint import allow_checkpoint_types
from mmboxcaseg.engine.config import load_config
from mmboxcaseg.errors import InputError, run_tool
from mmboxcaseg.evaluation import ProxyQuality, compare_drops, score_proxies
from mmboxcaseg.proxy import decode_rle
from mmboxcaseg.visualization.curves import Curves, plot_curves, read_curves
from mmboxcaseg.visualization.draw import (
    Colour,
    distinct_colours,
    draw_bbox,
    draw_mask,
    make_sheet,
)

#: Its name, the process and its log file.
Job = tuple[str, subprocess.Popen, Path]

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs' / 'demo'
# Where its configs have their set.
DATA = 'work_dirs/demo/data'
BOXCASEG, PROXY, SUPERVISED = 'boxcaseg_toy', 'proxy_mask_rcnn_toy', 'mask_rcnn_toy_supervised'
# By how much mean IoU proxy masks must beat filled boxes for the demo to pass.
MIN_GAIN = 0.1
KEPT, DROPPED, BOX = (80, 220, 80), (80, 80, 255), (255, 255, 255)
PALETTE = distinct_colours(len(TOY_CLASSES))
MIN_SCORE = 0.3
NUM_PICTURES = 4
NUM_THREADS = int(os.environ.get('OMP_NUM_THREADS') or os.cpu_count())


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/demo'),
        help='where everything goes; an earlier demo there is replaced',
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--num-images', type=int, default=300, help='to train on, of each of the two kinds'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], help='override settings of all three configs'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    start = time.monotonic()
    work_dir, data = args.work_dir, args.work_dir / 'data'
    make_room(work_dir)
    write_configs(work_dir, data.resolve())
    options = ['--cfg-options', f'randomness.seed={args.seed}', *args.cfg_options]

    run_stage('1/5 make the toy set', [make_data(args, data)], work_dir)
    run_stage('2/5 train BoxCaseg', [train(BOXCASEG, work_dir, options)], work_dir)
    run_stage('3/5 generate proxy masks', [generate(work_dir, data)], work_dir)
    run_stage(
        '4/5 train Mask R-CNN on the proxy masks and, beside it, on the true ones',
        [train(name, work_dir, options) for name in (PROXY, SUPERVISED)],
        work_dir,
    )
    print('== 5/5 score and draw', flush=True)
    curves = {name: read_curves(work_dir / name) for name in (BOXCASEG, PROXY, SUPERVISED)}
    plot_curves(curves, work_dir / 'curves.png')
    with (work_dir / 'logs' / 'draw_pictures.log').open('w') as log, redirect_stdout(log):
        with redirect_stderr(log):
            draw_pictures(work_dir, data)
    truth = load_coco(data / 'annotations' / 'instances_train.json')
    quality = compare_drops(score_proxies(truth, load_masks(work_dir / 'raw.json', truth)))
    minutes = (time.monotonic() - start) / 60
    report = write_report(quality, curves, minutes)
    (work_dir / 'results.md').write_text(report)
    print(f'\n{report}\n{work_dir}/: results.md, pictures.jpg, curves.png')

    mean_iou = {row.masks: row.mean_iou for row in quality if row.min_agreement is None}
    gain = mean_iou['merged'] - mean_iou['filled box']
    if gain < MIN_GAIN:
        raise SystemExit(
            f'FAILED: proxy masks beat filled boxes by {gain:.3f} mean IoU, less than {MIN_GAIN}'
        )


def make_room(work_dir: Path) -> None:
    """Remove an earlier demo; refuse to touch anything else."""
    first_log = work_dir / 'logs' / 'make_toy_dataset.log'
    if work_dir.exists() and any(work_dir.iterdir()) and not first_log.is_file():
        raise InputError(f'{work_dir} holds something else than a demo: give another --work-dir')
    shutil.rmtree(work_dir, ignore_errors=True)
    first_log.parent.mkdir(parents=True)
    first_log.touch()


def make_data(args: argparse.Namespace, data: Path) -> list[str]:
    count = args.num_images
    return [
        *(str(TOOLS / 'make_toy_dataset.py'), str(data), f'--seed={args.seed}'),
        *(f'--num-train={count}', f'--num-salient={count}', f'--num-val={max(count // 5, 1)}'),
    ]


def write_configs(work_dir: Path, data: Path) -> None:
    """Write the demo's configs into the work dir, with the set that lies there."""

    def moved(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: moved(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return type(node)(map(moved, node))
        return node.replace(DATA, str(data)) if isinstance(node, str) else node

    for name in (BOXCASEG, PROXY, SUPERVISED):
        config = load_config(CONFIGS / f'{name}.py')
        Config(moved(config.to_dict())).dump(work_dir / f'{name}.py')


def train(name: str, work_dir: Path, options: list[str]) -> list[str]:
    config = str(work_dir / f'{name}.py')
    return [str(TOOLS / 'train.py'), config, '--work-dir', str(work_dir / name), *options]


def generate(work_dir: Path, data: Path) -> list[str]:
    return [
        *(str(TOOLS / 'generate_proxy_masks.py'), str(work_dir / f'{BOXCASEG}.py')),
        checkpoint(work_dir / BOXCASEG),
        *('--ann', str(data / 'annotations' / 'boxes_train.json')),
        *('--img-root', str(data / 'train')),
        *('--out', str(data / 'annotations' / 'proxy_train.json')),
        *('--raw-out', str(work_dir / 'raw.json')),
    ]


def checkpoint(work_dir: Path) -> str:
    return (work_dir / 'last_checkpoint').read_text().strip()


def run_stage(title: str, commands: list[list[str]], work_dir: Path) -> None:
    """Run tools side by side, their output in log files, and show how far they are.

    Raises:
        SystemExit: When one of them fails, with the end of its output.
    """
    print(f'== {title}', flush=True)
    threads = str(max(NUM_THREADS // len(commands), 1))
    env = {**os.environ, 'OMP_NUM_THREADS': threads}
    jobs = []
    for command in commands:
        name = Path(command[1 if 'train.py' in command[0] else 0]).stem
        log = work_dir / 'logs' / f'{name}.log'
        with log.open('wb') as file:
            process = subprocess.Popen(
                [sys.executable, *command], stdout=file, stderr=subprocess.STDOUT, env=env
            )
        jobs.append((name, process, log))
    try:
        failed = watch(jobs)
    finally:
        for _, process, _ in jobs:
            process.terminate()
            process.wait()
    for name, process, log in failed:
        tail = ''.join(log.read_text(errors='replace').splitlines(keepends=True)[-20:])
        raise SystemExit(f'{tail}\nFAILED: {name} ended with {process.returncode}, see {log}')


def watch(jobs: list[Job]) -> list[Job]:
    """Show the remaining times until all have ended or one has failed; return those that have."""
    interactive = sys.stdout.isatty()
    start = shown = time.monotonic()
    while not (failed := [job for job in jobs if job[1].poll()]):
        if all(process.poll() == 0 for _, process, _ in jobs):
            break
        time.sleep(0.5)
        now = time.monotonic()
        if now - shown > (1 if interactive else 60):
            shown = now
            left = ', '.join(f'{name} {remaining_time(log)}' for name, _, log in jobs)
            begin, end = ('\r\033[K', '') if interactive else ('', '\n')
            print(f'{begin}   {now - start:.0f} s, to go: {left}', end=end, flush=True)
    if interactive:
        print(end='\r\033[K')
    print(f'   {time.monotonic() - start:.0f} s', flush=True)
    return failed


def remaining_time(log: Path) -> str:
    """The last remaining time that mmengine or tqdm wrote."""
    with log.open('rb') as file:
        file.seek(max(log.stat().st_size - 4096, 0))
        text = file.read().decode(errors='replace')
    # That of a training, not of the validation within it.
    found = re.findall(r'\(train\).*eta: ([\d:]+)|<(\d+:[\d:]+)', text)
    return ''.join(found[-1]) if found else '?'


def write_report(quality: list[ProxyQuality], curves: dict[str, Curves], minutes: float) -> str:
    """Write the tables of ``results.md``."""
    lines = [
        '# Demo',
        '',
        f'`tools/demo.py`, {minutes:.1f} minutes with {NUM_THREADS} threads.',
        '',
        'Masks of the training boxes against the true ones:',
        '',
        '| masks | agreement above | kept | mean IoU |',
        '|---|---|---|---|',
    ]
    for row in quality:
        above = '-' if row.min_agreement is None else f'{row.min_agreement:.2f}'
        lines.append(f'| {row.masks} | {above} | {row.kept:.0%} | {row.mean_iou:.3f} |')
    lines += [
        '',
        'Mask R-CNN on the val images:',
        '',
        '| trained on | mask AP | AP50 | AP75 |',
        '|---|---|---|---|',
    ]
    for name, masks in ((PROXY, 'boxes and proxy masks'), (SUPERVISED, 'true masks')):
        metrics = curves[name].metrics
        keys = ('coco/segm_mAP', 'coco/segm_mAP_50', 'coco/segm_mAP_75')
        values = ' | '.join(f'{100 * metrics[key][-1, 1]:.1f}' for key in keys)
        lines.append(f'| {masks} | {values} |')
    return '\n'.join(lines) + '\n'


def draw_pictures(work_dir: Path, data: Path) -> None:
    """Draw what went in and what came out, three tiles a row, on one page."""
    tiles = []
    proxies = load_proxies(data / 'annotations' / 'proxy_train.json')
    min_agreement = Config.fromfile(work_dir / f'{PROXY}.py').min_agreement
    for image, true in first_images(data / 'annotations' / 'instances_train.json'):
        img = cv2.imread(str(data / 'train' / image.file_name))
        grey = greyed(img)
        masks = [annotation.segmentation for annotation in true]
        own = [proxies[annotation.id] for annotation in true]
        colours = [KEPT if proxy.box_agreement > min_agreement else DROPPED for proxy in own]
        tiles += [
            (draw_boxes(img, true), 'boxes, all that is given'),
            (
                draw_masks(grey, [proxy.rle for proxy in own], colours),
                'proxy masks: green kept, red dropped',
            ),
            (draw_masks(grey, masks, [KEPT] * len(true)), 'true masks'),
        ]
    allow_checkpoint_types()
    detectors = [
        init_detector(
            str(work_dir / f'{name}.py'), checkpoint(work_dir / name), device='cpu', palette=PALETTE
        )
        for name in (PROXY, SUPERVISED)
    ]
    for image, true in first_images(data / 'annotations' / 'instances_val.json'):
        img = cv2.imread(str(data / 'val' / image.file_name))
        masks = [annotation.segmentation for annotation in true]
        colours = [PALETTE[annotation.category_id - 1] for annotation in true]
        by_proxies, by_truth = (inference_detector(detector, img) for detector in detectors)
        grey = greyed(img)
        tiles += [
            (draw_prediction(grey, by_proxies), 'Mask R-CNN, from proxy masks'),
            (draw_prediction(grey, by_truth), 'Mask R-CNN, from true masks'),
            (draw_masks(grey, masks, colours), 'true masks, coloured by class'),
        ]
    images, captions = zip(*tiles, strict=True)
    cv2.imwrite(str(work_dir / 'pictures.jpg'), make_sheet(images, captions, columns=3))


def first_images(ann_file: Path) -> list[tuple[Image, list[Annotation]]]:
    coco = load_coco(ann_file)
    groups = annotations_by_image(coco)
    return [(image, groups[image.id]) for image in coco.images[:NUM_PICTURES]]


def greyed(img: np.ndarray) -> np.ndarray:
    # The toy images have every colour: only on grey do those of the masks stand out.
    return cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def draw_boxes(img: np.ndarray, annotations: list[Annotation]) -> np.ndarray:
    for bbox in annotation_bboxes(annotations):
        img = draw_bbox(img, bbox, BOX)
    return img


def draw_masks(img: np.ndarray, rles: list[dict], colours: list[Colour]) -> np.ndarray:
    for rle, colour in zip(rles, colours, strict=True):
        img = draw_mask(img, decode_rle(rle, img.shape[:2]), colour)
    return img


def draw_prediction(img: np.ndarray, sample: DetDataSample) -> np.ndarray:
    found = sample.pred_instances
    for instance in found[found.scores >= MIN_SCORE]:
        img = draw_mask(img, instance.masks[0].numpy(), PALETTE[int(instance.labels)])
    return img


if __name__ == '__main__':
    run_tool(main)
