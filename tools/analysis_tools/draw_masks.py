"""Draw a model's best and its worst masks, by their IoU with the true ones."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.errors import InputError, run_tool
from mmboxcaseg.evaluation import mask_iou
from mmboxcaseg.proxy import decode_rle
from mmboxcaseg.proxy.coco import (
    annotation_bboxes,
    annotations_by_image,
    check_output,
    load_coco,
    wants_mask,
)
from mmboxcaseg.visualization.draw import context_window, draw_bbox, draw_mask, make_sheet

PREDICTED = (40, 160, 255)
TRUE = (60, 220, 60)
BOX = (255, 255, 255)
TILE_SIZE = 224
COLUMNS = 6


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='of a BoxCaseg')
    parser.add_argument('checkpoint')
    parser.add_argument('--ann', type=Path, required=True, help='COCO file with true masks')
    parser.add_argument('--img-root', type=Path, required=True, help='folder of its images')
    parser.add_argument('--out', type=Path, required=True, help='sheet to write (.jpg or .png)')
    parser.add_argument('--count', type=int, default=12, help='masks; half good, half bad')
    parser.add_argument(
        '--min-side', type=int, default=32, help='leave out boxes with a side under so many pixels'
    )
    parser.add_argument('--device', default='cpu')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    coco = load_coco(args.ann)
    if not args.img_root.is_dir():
        raise InputError(f'image folder {args.img_root} does not exist')
    check_output(args.out)
    predictor = BoxCasegPredictor(init_model(args.config, args.checkpoint, args.device))
    scored = score_masks(predictor, coco, args.img_root, args.min_side)
    if len(scored) < args.count:
        raise InputError(
            f'{args.ann} has {len(scored)} boxes with sides of {args.min_side} pixels or more and '
            f'true masks, fewer than the {args.count} to draw: lower --min-side or --count'
        )
    names = {category['id']: category['name'] for category in coco['categories']}
    chosen = best_and_worst(scored, args.count)
    tiles = [draw_tile(args.img_root, *entry[1:]) for entry in chosen]
    captions = [f'{names[ann["category_id"]]} {iou:.2f}' for iou, _, ann, _ in chosen]
    cv2.imwrite(str(args.out), make_sheet(tiles, captions, COLUMNS, TILE_SIZE))
    print(f'wrote {args.out}: orange the predicted mask, green the true one, white the box')


def score_masks(
    predictor: BoxCasegPredictor, coco: dict, img_root: Path, min_side: float
) -> list[tuple[float, dict, dict, np.ndarray]]:
    """Predict the masks of a file's boxes and compare them with its own.

    Returns:
        IoU, image entry, annotation and (H, W) bool mask of every box, the best first.

    Raises:
        InputError: When an image cannot be read.
    """
    groups = annotations_by_image(coco)
    scored = []
    for image in tqdm(coco['images'], desc='predict'):
        annotations = [ann for ann in groups[image['id']] if _is_drawable(ann, min_side)]
        if not annotations:
            continue
        predictor.set_image(_read_image(img_root / image['file_name']))
        masks = predictor.predict(annotation_bboxes(annotations))
        for annotation, mask in zip(annotations, masks, strict=True):
            true = decode_rle(annotation['segmentation'], mask.shape)
            scored.append((mask_iou(mask, true), image, annotation, mask))
    return sorted(scored, key=lambda entry: -entry[0])


def best_and_worst(scored: list[tuple], count: int) -> list[tuple]:
    """Take the first ``count // 2`` entries and the last of the rest, in their order."""
    good = count // 2
    return scored[:good] + scored[len(scored) - (count - good) :]


def draw_tile(img_root: Path, image: dict, annotation: dict, mask: np.ndarray) -> np.ndarray:
    """Draw predicted mask, true outline and box on the box's surroundings."""
    img = _read_image(img_root / image['file_name'])
    bbox = annotation_bboxes([annotation])[0]
    img = draw_mask(img, mask, PREDICTED)
    img = draw_mask(img, decode_rle(annotation['segmentation'], mask.shape), TRUE, opacity=0)
    img = draw_bbox(img, bbox, BOX)
    return img[context_window(bbox, img.shape[:2], context=0.2)]


def _is_drawable(annotation: dict, min_side: float) -> bool:
    wide_enough = min(annotation['bbox'][2:]) >= min_side
    return wide_enough and wants_mask(annotation) and bool(annotation.get('segmentation'))


def _read_image(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise InputError(f'image {path} does not exist or does not decode')
    return image


if __name__ == '__main__':
    run_tool(main)
