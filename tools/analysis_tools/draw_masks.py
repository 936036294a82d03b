"""Draw a model's best and its worst masks, by their IoU with the true ones."""

from __future__ import annotations

import argparse
from itertools import compress
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.datasets.transforms.loading import read_image
from mmboxcaseg.engine.device import check_device
from mmboxcaseg.errors import InputError, check_count, run_tool
from mmboxcaseg.evaluation import mask_iou
from mmboxcaseg.proxy.coco import (
    annotation_bboxes,
    annotations_by_image,
    check_bboxes,
    check_output,
    decode_annotation,
    load_coco,
    wants_mask,
    write_bytes,
)
from mmboxcaseg.visualization.draw import draw_bbox, draw_mask, make_sheet, surroundings

PREDICTED = (40, 160, 255)
TRUE = (60, 220, 60)
BOX = (255, 255, 255)
TILE_SIZE = 224
COLUMNS = 6
SUFFIXES = ('.jpg', '.png')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='of a BoxCaseg')
    parser.add_argument('checkpoint')
    parser.add_argument('--ann', type=Path, required=True, help='COCO file with true masks')
    parser.add_argument('--img-root', type=Path, required=True, help='folder of its images')
    parser.add_argument('--out', type=Path, required=True, help='sheet to write (.jpg or .png)')
    parser.add_argument('--count', type=int, default=12, help='masks to draw, half good, half bad')
    parser.add_argument(
        '--min-side', type=int, default=32, help='leave out boxes with a side under so many pixels'
    )
    parser.add_argument('--device', default='cpu', help='where the network runs')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation: average over all views of the config's tta_pipeline",
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    coco, objects = load_inputs(args)
    model = init_model(args.config, args.checkpoint, args.device)
    predictor = BoxCasegPredictor(model, tta=args.tta)
    scored = score_masks(predictor, coco['images'], objects, args)
    names = {category['id']: category['name'] for category in coco['categories']}
    chosen = best_and_worst(scored, args.count)
    tiles = [draw_tile(args, *entry[1:]) for entry in chosen]
    captions = [f'{names[ann["category_id"]]} {iou:.2f}' for iou, _, ann, _ in chosen]
    sheet = make_sheet(tiles, captions, COLUMNS, TILE_SIZE)
    write_bytes(cv2.imencode(args.out.suffix, sheet)[1].tobytes(), args.out)
    print(f'wrote {args.out}: orange the predicted mask, green the true one, white the box')


def load_inputs(args: argparse.Namespace) -> tuple[dict, dict[int | str, list[dict]]]:
    """Check everything that the user gave.

    Returns:
        Content of the COCO file, and image id to the annotations that masks are predicted for.
    """
    check_count('--count', args.count)
    check_device(args.device)
    coco = load_coco(args.ann)
    check_bboxes(coco, args.ann)
    if not args.img_root.is_dir():
        raise InputError(f'image folder {args.img_root} does not exist')
    images = [args.img_root / image['file_name'] for image in coco['images']]
    check_output(args.out, [args.config, args.checkpoint, args.ann, *images], SUFFIXES)
    objects = {id_: list(filter(wants_mask, g)) for id_, g in annotations_by_image(coco).items()}
    found = sum(_is_drawable(a, args.min_side) for group in objects.values() for a in group)
    if found < args.count:
        raise InputError(
            f'{args.ann} has {found} boxes with sides of {args.min_side} pixels or more and true '
            f'masks, fewer than the {args.count} to draw: lower --min-side or --count'
        )
    return coco, objects


def score_masks(
    predictor: BoxCasegPredictor,
    images: list[dict],
    objects: dict[int | str, list[dict]],
    args: argparse.Namespace,
) -> list[tuple[float, dict, dict, np.ndarray]]:
    """Predict the masks of a file's boxes and compare them with its own.

    Returns:
        IoU, image entry, annotation and (H, W) bool mask of every box that can be drawn, the best
        first.

    Raises:
        InputError: When an image cannot be read or a true mask is broken.
    """
    scored = []
    for image in tqdm(images, desc='predict'):
        annotations = objects[image['id']]
        drawable = [_is_drawable(annotation, args.min_side) for annotation in annotations]
        if not any(drawable):
            continue
        img = read_image(args.img_root / image['file_name'])
        predictor.set_image(img)
        # Of all boxes: a network may be told the others too.
        masks, _ = predictor.predict(annotation_bboxes(annotations))
        for annotation, mask in zip(compress(annotations, drawable), masks[drawable], strict=True):
            true = decode_annotation(annotation, img.shape[:2], args.ann)
            scored.append((mask_iou(mask, true), image, annotation, mask))
    return sorted(scored, key=lambda entry: -entry[0])


def best_and_worst(scored: list[tuple], count: int) -> list[tuple]:
    """Take the first ``count // 2`` entries and the last of the rest, in their order."""
    good = count // 2
    return scored[:good] + scored[len(scored) - (count - good) :]


def draw_tile(
    args: argparse.Namespace, image: dict, annotation: dict, mask: np.ndarray
) -> np.ndarray:
    """Draw predicted mask, true outline and box on the box's surroundings."""
    img = draw_mask(read_image(args.img_root / image['file_name']), mask, PREDICTED)
    img = draw_mask(img, decode_annotation(annotation, mask.shape, args.ann), TRUE, opacity=0)
    bbox = annotation_bboxes([annotation])[0]
    img = draw_bbox(img, bbox, BOX)
    return img[surroundings(bbox, img.shape[:2], context=0.2)]


def _is_drawable(annotation: dict, min_side: float) -> bool:
    wide_enough = min(annotation['bbox'][2:]) >= min_side
    return wide_enough and bool(annotation.get('segmentation'))


if __name__ == '__main__':
    run_tool(main)
