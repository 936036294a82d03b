"""Masks for photographs, and a detector that is trained on masks, in a few minutes on a CPU."""

# ruff: noqa: E402

from __future__ import annotations

import argparse
import html
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from mmboxcaseg.errors import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'))
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # before what takes seconds to import: help comes at once

import cv2
import numpy as np
import skimage.data
from mmdet.apis import inference_detector, init_detector

from mmboxcaseg.apis import make_toy_dataset
from mmboxcaseg.coco import (
    annotation_bboxes,
    annotations_by_image,
    load_coco,
    load_masks,
    load_proxies,
)
from mmboxcaseg.datasets.toy import TOY_CLASSES
from mmboxcaseg.engine.checkpoint import allow_checkpoint_types
from mmboxcaseg.engine.config import load_config
from mmboxcaseg.engine.steps import Step, Training, launch
from mmboxcaseg.evaluation import compare_drops, score_proxies
from mmboxcaseg.fileio import write_bytes
from mmboxcaseg.images import read_image
from mmboxcaseg.proxy import decode_rle
from mmboxcaseg.visualization.curves import read_curves
from mmboxcaseg.visualization.draw import (
    distinct_colours,
    draw_bbox,
    draw_instances,
    draw_mask,
    draw_rles,
    greyed,
)

BOXES = Path(__file__).resolve().parents[1] / 'demo' / 'photographs.json'
CONFIG = 'demo/proxy_mask_rcnn_toy_minutes.py'
NUM_TRAIN, NUM_VAL, NUM_PICTURES = 200, 40, 4
KEPT, DROPPED, BOX = (80, 220, 80), (80, 80, 255), (255, 255, 255)
MIN_SCORE = 0.3
TOY_FILES, VAL_FILE = ('boxes_train.json', 'instances_train.json'), 'annotations/instances_val.json'
RAW = 'shapes_raw.json'
STYLE = 'body{font-family:sans-serif;max-width:70em;margin:auto}figure{display:inline-block}'
STYLE += 'figure{margin:.5em}img{height:16em}figcaption{max-width:24em;white-space:pre-line}'


@dataclass
class Part:
    """A part of the page: what was done, and the pictures of it by name, each with a caption."""

    title: str
    text: str
    pictures: dict[str, tuple[np.ndarray, str]] = field(default_factory=dict)


def main() -> None:
    work_dir = parse_args().work_dir
    page, parts = work_dir / 'index.html', []
    start = time.monotonic()
    stages = (mask_photographs, mask_shapes, refine_masks, train_detector)
    for number, stage in enumerate(stages, start=1):
        print(f'== {number}/{len(stages)} {stage.__doc__}', flush=True)
        parts.append(stage(work_dir))
        write_page(page, parts)
        print(f'   {parts[-1].text}\n   {time.monotonic() - start:.0f} s, see {page}', flush=True)
    print(f'{page} has all of it; to begin anew, remove {work_dir}')


def mask_photographs(work_dir: Path) -> Part:
    """Mask photographs with the network that comes with the package."""
    images, out = work_dir / 'photographs', work_dir / 'photographs.json'
    images.mkdir(parents=True, exist_ok=True)
    coco = load_coco(BOXES)
    for image in coco.images:
        path = images / image.file_name
        if not path.is_file():
            pixels = getattr(skimage.data, path.stem)()[..., ::-1]
            write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes(), path)
    call(work_dir, 'generate', out, '--ann', BOXES, '--images', images, '--out', out)
    proxies, groups = load_proxies(out), annotations_by_image(coco)
    names = {category.id: category.name for category in coco.categories}
    part = Part(
        mask_photographs.__doc__,
        f'{len(proxies)} boxes have a mask. Quality: the IoU with the object that the network '
        'expects. Agreement: how well the mask fills its box.',
    )
    for image in coco.images:
        own = groups[image.id]
        found = [proxies[annotation.id] for annotation in own]
        masks = np.array([decode_rle(proxy.rle, image.shape) for proxy in found])
        pixels = read_image(images / image.file_name)
        drawn = draw_instances(pixels, annotation_bboxes(own), masks)
        lines = [
            f'{names[annotation.category_id]}: quality {proxy.quality:.2f}, '
            f'agreement {proxy.box_agreement:.2f}'
            for annotation, proxy in zip(own, found, strict=True)
        ]
        part.pictures[Path(image.file_name).stem] = drawn, '\n'.join(lines)
    # All on one strip, for whoever wants to show them.
    strip = [fit_height(picture, 240) for picture, _ in part.pictures.values()]
    _, content = cv2.imencode('.jpg', np.hstack(strip), [cv2.IMWRITE_JPEG_QUALITY, 80])
    write_bytes(content.tobytes(), work_dir / 'photographs.jpg')
    return part


def mask_shapes(work_dir: Path) -> Part:
    """Mask drawn shapes, whose true masks are known."""
    data, out, raw = (work_dir / name for name in ('shapes', 'shapes_masks.json', RAW))
    boxes, truth = (data / 'annotations' / name for name in TOY_FILES)
    if not truth.is_file():
        make_toy_dataset(data, 0, NUM_TRAIN, NUM_VAL, 1, 128)
    arguments = ('--ann', boxes, '--images', data / 'train', '--out', out, '--raw-out', raw)
    call(work_dir, 'generate', out, *arguments)
    coco = load_coco(truth)
    rows = compare_drops(score_proxies(coco, load_masks(raw, coco)))
    ious = {row.masks: row.mean_iou for row in rows if row.min_agreement is None}
    part = Part(
        mask_shapes.__doc__,
        f'{len(coco.objects)} boxes. Mean IoU with the true masks: the boxes themselves '
        f'{ious["filled box"]:.3f}, the masks {ious["raw"]:.3f}.',
    )
    groups = annotations_by_image(coco)
    for image in coco.images[:NUM_PICTURES]:
        drawn = read_image(data / 'train' / image.file_name)
        for bbox in annotation_bboxes(groups[image.id]):
            drawn = draw_bbox(drawn, bbox, BOX)
        part.pictures[f'boxes{image.id}'] = drawn, 'boxes, all that is given'
    return part


def refine_masks(work_dir: Path) -> Part:
    """Merge the masks of an image, and drop those that do not agree with their boxes."""
    data, out = work_dir / 'shapes', work_dir / 'shapes' / 'annotations' / 'proxy_train.json'
    boxes, truth = (data / 'annotations' / name for name in TOY_FILES)
    call(work_dir, 'refine', out, boxes, work_dir / RAW, out)
    coco, proxies = load_coco(truth), load_proxies(out)
    least = load_config(CONFIG).min_agreement
    *_, kept = compare_drops(score_proxies(coco, proxies), (least,))
    part = Part(
        refine_masks.__doc__,
        f'{kept.kept:.0%} of the masks agree by more than {least}; their mean IoU with the true '
        f'ones is {kept.mean_iou:.3f}.',
    )
    groups = annotations_by_image(coco)
    for image in coco.images[:NUM_PICTURES]:
        own = [proxies[annotation.id] for annotation in groups[image.id]]
        drawn = draw_rles(
            read_image(data / 'train' / image.file_name),
            [proxy.rle for proxy in own],
            [KEPT if proxy.box_agreement > least else DROPPED for proxy in own],
        )
        part.pictures[f'masks{image.id}'] = drawn, 'green: kept, red: dropped'
    return part


def train_detector(work_dir: Path) -> Part:
    """Train a Mask R-CNN on the masks."""
    data, ann_file = (work_dir / 'shapes' / name for name in ('', VAL_FILE))
    options = {f'{s}_dataloader.dataset.data_root': f'{data}/' for s in ('train', 'val', 'test')}
    options |= {f'{split}_evaluator.ann_file': str(ann_file) for split in ('val', 'test')}
    training = Training(load_config(CONFIG, options), work_dir / 'mask_rcnn')
    training.write_config()
    run(work_dir, training.train(1))
    scores = read_curves(training.work_dir).metrics
    part = Part(
        train_detector.__doc__,
        f'On {NUM_VAL} other images: mask AP {scores["coco/segm_mAP"][-1, 1]:.3f}, AP50 '
        f'{scores["coco/segm_mAP_50"][-1, 1]:.3f}. Nobody drew a mask.',
    )
    allow_checkpoint_types()
    with (work_dir / 'logs' / 'draw.log').open('w') as log, redirect_stdout(log):
        with redirect_stderr(log):
            files = str(training.config_file), str(training.checkpoint)
            detector = init_detector(*files, device='cpu')
            colours = distinct_colours(len(TOY_CLASSES))
            for image in load_coco(ann_file).images[:NUM_PICTURES]:
                drawn = read_image(data / 'val' / image.file_name)
                found = inference_detector(detector, drawn).pred_instances
                found = found[found.scores >= MIN_SCORE]
                drawn = greyed(drawn)
                for mask, label in zip(found.masks.numpy(), found.labels, strict=True):
                    drawn = draw_mask(drawn, mask, colours[int(label)])
                names = ', '.join(TOY_CLASSES[int(label)] for label in found.labels)
                part.pictures[f'found{image.id}'] = drawn, f'found: {names or "nothing"}'
    return part


def call(work_dir: Path, command: str, output: Path, *arguments: str | Path) -> None:
    run(work_dir, Step(command, launch(command, list(arguments)), output))


def run(work_dir: Path, step: Step) -> None:
    if step.done:
        print('   is done already', flush=True)
    else:
        step.run(work_dir / 'logs' / f'{step.title}_{step.output.stem}.log')


def fit_height(img: np.ndarray, height: int) -> np.ndarray:
    size = round(height * img.shape[1] / img.shape[0]), height
    return cv2.resize(img, size, interpolation=cv2.INTER_AREA)


def write_page(page: Path, parts: list[Part]) -> None:
    """Write a page, and its pictures beside it."""
    title = 'Masks from boxes'
    lines = ['<!doctype html>', '<html lang="en">', '<meta charset="utf-8">']
    lines += [f'<title>{title}</title>', f'<style>{STYLE}</style>', f'<h1>{title}</h1>']
    (page.parent / 'pictures').mkdir(exist_ok=True)
    for part in parts:
        lines += [f'<h2>{html.escape(part.title)}</h2>', f'<p>{html.escape(part.text)}</p>']
        for name, (picture, caption) in part.pictures.items():
            path = page.parent / 'pictures' / f'{name}.jpg'
            write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes(), path)
            source = html.escape(path.relative_to(page.parent).as_posix())
            caption = html.escape(caption)
            lines.append(
                f'<figure><img src="{source}" alt="{caption}">'
                f'<figcaption>{caption}</figcaption></figure>'
            )
    write_bytes('\n'.join([*lines, '']).encode(), page)


if __name__ == '__main__':
    run_tool(main)
