"""Run the whole pipeline on a small synthetic set: no data, no network and no GPU needed."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from mmdet.apis import inference_detector, init_detector
from mmdet.structures import DetDataSample

from mmboxcaseg.engine.checkpoint import allow_checkpoint_types
from mmboxcaseg.errors import InputError, run_tool
from mmboxcaseg.evaluation import mask_iou
from mmboxcaseg.proxy import decode_rle, pixel_bboxes
from mmboxcaseg.proxy.coco import (
    annotation_bboxes,
    annotations_by_image,
    load_coco,
    load_results,
)
from mmboxcaseg.visualization.curves import Curves, plot_curves, read_curves
from mmboxcaseg.visualization.draw import distinct_colours, draw_bbox, draw_mask, make_sheet

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / 'configs' / 'demo'
BOXCASEG, PROXY, SUPERVISED = 'boxcaseg_toy', 'proxy_mask_rcnn_toy', 'mask_rcnn_toy_supervised'
# By how much mean IoU proxy masks must beat filled boxes for the demo to pass.
MIN_GAIN = 0.1
AGREEMENTS = (0.75, 0.85, 0.95)
KEPT, DROPPED, BOX = (80, 220, 80), (80, 80, 255), (255, 255, 255)
MIN_SCORE = 0.5
NUM_PICTURES = 4
NUM_CORES = len(os.sched_getaffinity(0))


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
    # The configs read it.
    os.environ['TOY_ROOT'] = str(data.resolve())
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
    draw_pictures(work_dir, data)
    quality = score_proxies(data, work_dir / 'raw.json')
    minutes = (time.monotonic() - start) / 60
    report = write_report(quality, curves, minutes)
    (work_dir / 'results.md').write_text(report)
    print(f'\n{report}\n{work_dir}/: results.md, pictures.jpg, curves.png')

    gain = quality['merged'].mean() - quality['box'].mean()
    if gain < MIN_GAIN:
        raise SystemExit(
            f'FAILED: proxy masks beat filled boxes by {gain:.3f} mean IoU, less than {MIN_GAIN}'
        )


def make_room(work_dir: Path) -> None:
    """Remove an earlier demo; refuse to touch anything else."""
    logs = work_dir / 'logs'
    if work_dir.exists() and any(work_dir.iterdir()) and not logs.is_dir():
        raise InputError(f'{work_dir} holds something else than a demo: give another --work-dir')
    shutil.rmtree(work_dir, ignore_errors=True)
    logs.mkdir(parents=True)


def make_data(args: argparse.Namespace, data: Path) -> list[str]:
    count = args.num_images
    return [
        *(str(TOOLS / 'make_toy_dataset.py'), str(data), f'--seed={args.seed}'),
        *(f'--num-train={count}', f'--num-salient={count}', f'--num-val={max(count // 5, 1)}'),
    ]


def train(name: str, work_dir: Path, options: list[str]) -> list[str]:
    config = str(CONFIGS / f'{name}.py')
    return [str(TOOLS / 'train.py'), config, '--work-dir', str(work_dir / name), *options]


def generate(work_dir: Path, data: Path) -> list[str]:
    return [
        *(str(TOOLS / 'generate_proxy_masks.py'), str(CONFIGS / f'{BOXCASEG}.py')),
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
    threads = str(max(NUM_CORES // len(commands), 1))
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
        watch(jobs)
    finally:
        for _, process, _ in jobs:
            process.terminate()
            process.wait()
    for name, process, log in jobs:
        if process.returncode:
            tail = ''.join(log.read_text(errors='replace').splitlines(keepends=True)[-20:])
            raise SystemExit(f'{tail}\nFAILED: {name} ended with {process.returncode}, see {log}')


def watch(jobs: list[tuple[str, subprocess.Popen, Path]]) -> None:
    """Show the remaining times until all have ended or one has failed."""
    interactive = sys.stdout.isatty()
    start = shown = time.monotonic()
    while any(process.poll() is None for _, process, _ in jobs):
        if any(process.poll() for _, process, _ in jobs):
            break
        time.sleep(0.5)
        now = time.monotonic()
        if now - shown > (1 if interactive else 60):
            shown = now
            left = ', '.join(f'{name} {remaining_time(log)}' for name, _, log in jobs)
            end = '' if interactive else '\n'
            print(f'\r   {now - start:.0f} s, to go: {left}   '[interactive ^ 1 :], end=end, flush=True)
    if interactive:
        print(end='\r\033[K')
    print(f'   {time.monotonic() - start:.0f} s', flush=True)


def remaining_time(log: Path) -> str:
    """The last remaining time that mmengine or tqdm wrote."""
    with log.open('rb') as file:
        file.seek(max(log.stat().st_size - 4096, 0))
        found = re.findall(r'eta: ([\d:]+)|<([\d:]+)', file.read().decode(errors='replace'))
    return ''.join(found[-1]) if found else '?'


def score_proxies(data: Path, raw_file: Path) -> dict[str, np.ndarray]:
    """Compare masks of all boxes with the true ones.

    Returns:
        (N,) float64 each: ``box``, ``raw`` and ``merged``, the IoU of the filled box and of the
        mask before and after the merge; ``agreement``, the box agreement.
    """
    coco = load_coco(data / 'annotations' / 'instances_train.json')
    shapes = {image['id']: (image['height'], image['width']) for image in coco['images']}
    proxies = load_coco(data / 'annotations' / 'proxy_train.json')['annotations']
    proxies = {annotation['id']: annotation for annotation in proxies}
    raw = {entry['ann_id']: entry['segmentation'] for entry in load_results(raw_file)}
    scores = []
    for annotation in coco['annotations']:
        id_, shape = annotation['id'], shapes[annotation['image_id']]
        true = decode_rle(annotation['segmentation'], shape)
        masks = (
            filled_box(annotation, shape),
            decode_rle(raw[id_], shape),
            decode_rle(proxies[id_]['segmentation'], shape),
        )
        scores.append([mask_iou(mask, true) for mask in masks] + [proxies[id_]['box_agreement']])
    return dict(zip(('box', 'raw', 'merged', 'agreement'), np.array(scores).T, strict=True))


def filled_box(annotation: dict, shape: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    x1, y1, x2, y2 = pixel_bboxes(annotation_bboxes([annotation]), shape)[0]
    mask[y1:y2, x1:x2] = True
    return mask


def write_report(
    quality: dict[str, np.ndarray], curves: dict[str, Curves], minutes: float
) -> str:
    """Write the tables of ``results.md``."""
    merged, agreement = quality['merged'], quality['agreement']
    lines = [
        '# Demo',
        '',
        f'`tools/demo.py`, {minutes:.1f} minutes on {NUM_CORES} cores.',
        '',
        'Masks of the training boxes against the true ones:',
        '',
        '| masks | boxes | mean IoU |',
        '|---|---|---|',
        f'| filled box | 100% | {quality["box"].mean():.3f} |',
        f'| BoxCaseg, raw | 100% | {quality["raw"].mean():.3f} |',
        f'| merged | 100% | {merged.mean():.3f} |',
    ]
    for threshold in AGREEMENTS:
        kept = agreement > threshold
        mean = f'{merged[kept].mean():.3f}' if kept.any() else '-'
        lines.append(f'| agreement above {threshold} | {kept.mean():.0%} | {mean} |')
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
    """Draw what went in and what came out, a row an image, on one page."""
    annotations = data / 'annotations'
    boxes = load_coco(annotations / 'instances_train.json')
    proxies = annotations_by_image(load_coco(annotations / 'proxy_train.json'))
    min_agreement = float(read_config_value(work_dir / PROXY, 'min_agreement'))
    train_rows = [
        draw_training_row(data / 'train', image, true, proxies[image['id']], min_agreement)
        for image, true in first_images(boxes)
    ]
    allow_checkpoint_types()
    models = [
        init_detector(
            str(CONFIGS / f'{name}.py'), checkpoint(work_dir / name), palette='none', device='cpu'
        )
        for name in (PROXY, SUPERVISED)
    ]
    val_rows = [
        draw_val_row(data / 'val', image, true, models)
        for image, true in first_images(load_coco(annotations / 'instances_val.json'))
    ]
    tiles, captions = [], []
    for row in (*train_rows, *val_rows):
        captions += row
        tiles += row.values()
    cv2.imwrite(str(work_dir / 'pictures.jpg'), make_sheet(tiles, captions, columns=3))


def first_images(coco: dict) -> list[tuple[dict, list[dict]]]:
    groups = annotations_by_image(coco)
    return [(image, groups[image['id']]) for image in coco['images'][:NUM_PICTURES]]
