"""A sheet of a network's best and worst masks, by their IoU with the true ones."""

from __future__ import annotations

from itertools import compress
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmboxcaseg.coco import (
    Annotation,
    Coco,
    Image,
    annotation_bboxes,
    decode_annotation,
    load_coco,
)
from mmboxcaseg.coco.checks import check_bboxes, image_paths
from mmboxcaseg.datasets.transforms.loading import read_image
from mmboxcaseg.engine.device import check_device, default_device
from mmboxcaseg.errors import InputError, check_count
from mmboxcaseg.evaluation import mask_iou
from mmboxcaseg.fileio import check_output, write_bytes
from mmboxcaseg.pretrained import or_shipped
from mmboxcaseg.visualization.draw import draw_instance, make_sheet

from .inference import BoxCasegPredictor, init_model

_TILE_SIZE, _COLUMNS = 224, 6
_SUFFIXES = ('.jpg', '.png')


def draw_masks(
    ann_file: str | Path,
    img_root: str | Path,
    out: str | Path,
    *,
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    count: int = 12,
    min_side: int = 32,
    device: str | None = None,
    tta: bool = False,
) -> None:
    """Draw masks, half of them the best and half the worst, with the true outlines and the boxes.

    Args:
        ann_file: COCO file with true masks.
        img_root: Folder of its images.
        out: Picture to write, ``.jpg`` or ``.png``.
        config: Config file of a BoxCaseg.
        checkpoint: Its checkpoint; without both, the network that comes with the package.
        count: Number of masks.
        min_side: Boxes with a side of fewer pixels are left out.
        device: Where the network runs; by default the GPU if there is one.
        tta: Whether to average over the views of the config's ``tta_pipeline``.

    Raises:
        InputError: If something that was given cannot be used.

    Example:
        >>> from mmboxcaseg.apis.drawing import draw_masks
        >>> draw_masks('instances_val.json', 'images', 'masks.jpg')  # doctest: +SKIP
    """
    config, checkpoint = or_shipped(config, checkpoint)
    device = device or default_device()
    img_root, out = Path(img_root), Path(out)
    check_count('--count', count)
    check_device(device)
    coco = load_coco(ann_file)
    check_bboxes(coco)
    images = image_paths(coco.images, img_root, ann_file).values()
    check_output(out, [config, checkpoint, ann_file, *images], _SUFFIXES)
    found = sum(_is_drawable(annotation, min_side) for annotation in coco.objects)
    if found < count:
        raise InputError(
            f'{ann_file} has {found} boxes with sides of {min_side} pixels or more and true '
            f'masks, fewer than the {count} to draw: lower --min-side or --count'
        )
    predictor = BoxCasegPredictor(init_model(config, checkpoint, device), tta=tta)
    scored = _score_masks(predictor, coco, img_root, min_side)
    names = {category.id: category.name for category in coco.categories}
    good = count // 2
    chosen = scored[:good] + scored[len(scored) - (count - good) :]
    tiles = [_draw_tile(img_root, coco.path, *entry[1:]) for entry in chosen]
    captions = [f'{names[ann.category_id]} {iou:.2f}' for iou, _, ann, _ in chosen]
    sheet = make_sheet(tiles, captions, _COLUMNS, _TILE_SIZE)
    write_bytes(cv2.imencode(out.suffix, sheet)[1].tobytes(), out)


def _score_masks(
    predictor: BoxCasegPredictor, coco: Coco, img_root: Path, min_side: int
) -> list[tuple[float, Image, Annotation, np.ndarray]]:
    """IoU, image, annotation and (H, W) bool mask of each box that can be drawn, best first."""
    scored = []
    for image, objects in tqdm(coco.objects_by_image(), 'predict', len(coco.images)):
        drawable = [_is_drawable(annotation, min_side) for annotation in objects]
        if not any(drawable):
            continue
        img = read_image(img_root / image.file_name)
        predictor.set_image(img)
        # Of all boxes: a network may be told the others too.
        masks, _ = predictor.predict(annotation_bboxes(objects))
        for annotation, mask in zip(compress(objects, drawable), masks[drawable], strict=True):
            true = decode_annotation(annotation, img.shape[:2], coco.path)
            scored.append((mask_iou(mask, true), image, annotation, mask))
    return sorted(scored, key=lambda entry: -entry[0])


def _draw_tile(
    img_root: Path, ann_file: Path, image: Image, annotation: Annotation, mask: np.ndarray
) -> np.ndarray:
    img = read_image(img_root / image.file_name)
    true = decode_annotation(annotation, mask.shape, ann_file)
    return draw_instance(img, annotation_bboxes([annotation])[0], mask, true)


def _is_drawable(annotation: Annotation, min_side: float) -> bool:
    return min(annotation.bbox[2:]) >= min_side and bool(annotation.segmentation)
