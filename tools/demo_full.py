"""Run the whole pipeline from nothing on a synthetic set: no data, no network, no GPU needed."""

# ruff: noqa: E402

from __future__ import annotations

import argparse
import shutil
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from mmboxcaseg.errors import InputError, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/demo_full'),
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


if __name__ == '__main__':
    parse_args()  # before what takes seconds to import: help comes at once

import cv2
import numpy as np
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmboxcaseg.apis import make_toy_dataset
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
from mmboxcaseg.engine.config import load_config, parse_options
from mmboxcaseg.engine.steps import Step, Training, launch
from mmboxcaseg.evaluation import ProxyQuality, compare_drops, score_proxies
from mmboxcaseg.visualization.curves import Curves, plot_curves, read_curves
from mmboxcaseg.visualization.draw import (
    distinct_colours,
    draw_bbox,
    draw_mask,
    draw_rles,
    greyed,
    make_sheet,
)

# Where its configs have their set.
DATA = 'work_dirs/demo_full/data'
BOXCASEG, PROXY, SUPERVISED = 'boxcaseg_toy', 'proxy_mask_rcnn_toy', 'mask_rcnn_toy_supervised'
# By how much mean IoU proxy masks must beat filled boxes for the demo to pass.
MIN_GAIN = 0.1
KEPT, DROPPED, BOX = (80, 220, 80), (80, 80, 255), (255, 255, 255)
PALETTE = distinct_colours(len(TOY_CLASSES))
MIN_SCORE = 0.3
NUM_PICTURES = 4


def main() -> None:
    args = parse_args()
    start = time.monotonic()
    work_dir, data = args.work_dir, args.work_dir / 'data'
    make_room(work_dir)
    boxcaseg, *detectors = trainings(args, data)
    print('== 1/6 make the toy set', flush=True)
    count = args.num_images
    make_toy_dataset(data, args.seed, count, max(count // 5, 1), count, 128)
    stages = {
        'train BoxCaseg': boxcaseg.train(1),
        'generate proxy masks': generate(boxcaseg, work_dir, data),
        'train Mask R-CNN on the proxy masks': detectors[0].train(1),
        'train Mask R-CNN on the true masks, to compare with': detectors[1].train(1),
    }
    for number, (title, step) in enumerate(stages.items(), start=2):
        print(f'== {number}/6 {title}', flush=True)
        step.run(work_dir / 'logs' / f'{number}.log')
    print('== 6/6 score and draw', flush=True)
    curves = {name: read_curves(work_dir / name) for name in (BOXCASEG, PROXY, SUPERVISED)}
    plot_curves(curves, work_dir / 'curves.png')
    with (work_dir / 'logs' / 'draw_pictures.log').open('w') as log, redirect_stdout(log):
        with redirect_stderr(log):
            draw_pictures(detectors, work_dir, data)
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
    mark = work_dir / 'logs' / 'demo'
    if work_dir.exists() and any(work_dir.iterdir()) and not mark.is_file():
        raise InputError(f'{work_dir} holds something else than a demo: give another --work-dir')
    shutil.rmtree(work_dir, ignore_errors=True)
    mark.parent.mkdir(parents=True)
    mark.touch()


def trainings(args: argparse.Namespace, data: Path) -> list[Training]:
    """Lay down the demo's configs in the work dir, with the set that lies there."""

    def moved(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: moved(value) for key, value in node.items()}
        if isinstance(node, (list, tuple)):
            return type(node)(map(moved, node))
        return node.replace(DATA, str(data.resolve())) if isinstance(node, str) else node

    options = {'randomness.seed': args.seed, **parse_options(args.cfg_options)}
    made = []
    for name in (BOXCASEG, PROXY, SUPERVISED):
        config = load_config(f'demo/{name}.py', options)
        made.append(Training(Config(moved(config.to_dict())), args.work_dir / name))
        made[-1].write_config()
    return made


def generate(boxcaseg: Training, work_dir: Path, data: Path) -> Step:
    out = data / 'annotations' / 'proxy_train.json'
    call = [boxcaseg.config_file, boxcaseg.checkpoint, '--images', data / 'train', '--out', out]
    call += ['--ann', data / 'annotations' / 'boxes_train.json', '--raw-out', work_dir / 'raw.json']
    return Step('proxy masks', launch('generate', call), out)


def write_report(quality: list[ProxyQuality], curves: dict[str, Curves], minutes: float) -> str:
    """Write the tables of ``results.md``."""
    lines = [
        '# Demo',
        '',
        f'`tools/demo_full.py`, {minutes:.1f} minutes with {torch.get_num_threads()} threads.',
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


def draw_pictures(detectors: list[Training], work_dir: Path, data: Path) -> None:
    """Draw what went in and what came out, three tiles a row, on one page."""
    tiles = []
    proxies = load_proxies(data / 'annotations' / 'proxy_train.json')
    min_agreement = Config.fromfile(work_dir / f'{PROXY}.py').min_agreement
    for image, true in first_images(data / 'annotations' / 'instances_train.json'):
        img = cv2.imread(str(data / 'train' / image.file_name))
        masks = [annotation.segmentation for annotation in true]
        own = [proxies[annotation.id] for annotation in true]
        colours = [KEPT if proxy.box_agreement > min_agreement else DROPPED for proxy in own]
        tiles += [
            (draw_boxes(img, true), 'boxes, all that is given'),
            (
                draw_rles(img, [proxy.rle for proxy in own], colours),
                'proxy masks: green kept, red dropped',
            ),
            (draw_rles(img, masks, [KEPT] * len(true)), 'true masks'),
        ]
    allow_checkpoint_types()
    networks = [
        init_detector(str(one.config_file), str(one.checkpoint), device='cpu', palette=PALETTE)
        for one in detectors
    ]
    for image, true in first_images(data / 'annotations' / 'instances_val.json'):
        img = cv2.imread(str(data / 'val' / image.file_name))
        masks = [annotation.segmentation for annotation in true]
        colours = [PALETTE[annotation.category_id - 1] for annotation in true]
        by_proxies, by_truth = (inference_detector(network, img) for network in networks)
        tiles += [
            (draw_prediction(img, by_proxies), 'Mask R-CNN, from proxy masks'),
            (draw_prediction(img, by_truth), 'Mask R-CNN, from true masks'),
            (draw_rles(img, masks, colours), 'true masks, coloured by class'),
        ]
    images, captions = zip(*tiles, strict=True)
    cv2.imwrite(str(work_dir / 'pictures.jpg'), make_sheet(images, captions, columns=3))


def first_images(ann_file: Path) -> list[tuple[Image, list[Annotation]]]:
    coco = load_coco(ann_file)
    groups = annotations_by_image(coco)
    return [(image, groups[image.id]) for image in coco.images[:NUM_PICTURES]]


def draw_boxes(img: np.ndarray, annotations: list[Annotation]) -> np.ndarray:
    for bbox in annotation_bboxes(annotations):
        img = draw_bbox(img, bbox, BOX)
    return img


def draw_prediction(img: np.ndarray, sample: DetDataSample) -> np.ndarray:
    img, found = greyed(img), sample.pred_instances
    for instance in found[found.scores >= MIN_SCORE]:
        img = draw_mask(img, instance.masks[0].numpy(), PALETTE[int(instance.labels)])
    return img


if __name__ == '__main__':
    run_tool(main)
