"""Sheets of the best and the worst masks: a network's by true IoU, a file's by quality."""

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
    rank_proxies,
)
from mmboxcaseg.coco.checks import check_bboxes, check_images, image_paths
from mmboxcaseg.coco.proxies import load_proxy_file, read_proxies
from mmboxcaseg.engine.device import check_device, default_device
from mmboxcaseg.errors import InputError, check_count, shown
from mmboxcaseg.evaluation import mask_iou
from mmboxcaseg.fileio import check_output, write_bytes
from mmboxcaseg.images import DEFAULT_READER, ImageReader
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
    reader: ImageReader = DEFAULT_READER,
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
        reader: How images are read.

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
    drawable = [a for a in coco.objects if a.segmentation]
    if not drawable:
        raise InputError(
            f'{ann_file} has no true mask to compare with: make masks of its boxes with '
            '`mmboxcaseg generate` and draw those with --masks'
        )
    images = image_paths(coco.images, img_root, ann_file).values()
    check_images(coco, img_root, reader)
    check_output(out, [config, checkpoint, ann_file, *images], _SUFFIXES)
    count = _available(drawable, count, min_side, ann_file, ' and true masks')
    predictor = BoxCasegPredictor(init_model(config, checkpoint, device), tta=tta)
    chosen = _best_and_worst(_score_masks(predictor, coco, img_root, min_side, reader), count)
    tiles = [
        draw_tile(
            *(img_root, image, ann, mask),
            decode_annotation(ann, image.shape, coco.path),
            reader=reader,
        )
        for _, image, ann, mask in chosen
    ]
    _write_sheet(out, coco, [(iou, ann) for iou, _, ann, _ in chosen], tiles)


def draw_proxies(
    masks: str | Path,
    img_root: str | Path,
    out: str | Path,
    *,
    count: int = 12,
    min_side: int = 32,
    reader: ImageReader = DEFAULT_READER,
) -> None:
    """Draw masks of a file, half of them the best and half the worst by quality, with their boxes.

    Where not every mask has a quality, their box agreement ranks them.

    Args:
        masks: COCO file of proxy masks.
        img_root: Folder of its images.
        out: Picture to write, ``.jpg`` or ``.png``.
        count: Number of masks.
        min_side: Boxes with a side of fewer pixels are left out.
        reader: How images are read.

    Raises:
        InputError: If something that was given cannot be used.

    Example:
        >>> from mmboxcaseg.apis.drawing import draw_proxies
        >>> draw_proxies('proxy.json', 'images', 'masks.jpg')  # doctest: +SKIP
    """
    img_root, out = Path(img_root), Path(out)
    check_count('--count', count)
    coco = load_proxy_file(masks)
    check_bboxes(coco)
    images = image_paths(coco.images, img_root, masks)
    check_images(coco, img_root, reader)
    check_output(out, [masks, *images.values()], _SUFFIXES)
    count = _available(coco.objects, count, min_side, masks)
    _, values = rank_proxies(read_proxies(coco), masks)
    scored = [
        (values[annotation.id], image, annotation)
        for image, objects in coco.objects_by_image()
        for annotation in objects
        if _is_large(annotation, min_side)
    ]
    chosen = _best_and_worst(scored, count)
    tiles = [
        draw_tile(img_root, image, ann, decode_annotation(ann, image.shape, masks), reader=reader)
        for _, image, ann in chosen
    ]
    _write_sheet(out, coco, [(value, ann) for value, _, ann in chosen], tiles)


def draw_tile(
    img_root: Path,
    image: Image,
    annotation: Annotation,
    mask: np.ndarray,
    true_mask: np.ndarray | None = None,
    reader: ImageReader = DEFAULT_READER,
) -> np.ndarray:
    """Draw a mask in its surroundings as :func:`mmboxcaseg.visualization.draw.draw_instance` does.

    Args:
        img_root: Folder of the images.
        image: Of a COCO file.
        annotation: One of its boxes.
        mask: (H, W) bool, of the image.
        true_mask: (H, W) bool, if it is known.
        reader: How the image is read.

    Returns:
        (h, w, 3) uint8 BGR, the longer side 224 pixels.

    Raises:
        InputError: If the image is missing, broken or of another size than its file says.
    """
    img = reader.read(img_root / image.file_name, image.shape)
    return draw_instance(img, annotation_bboxes([annotation])[0], mask, true_mask, _TILE_SIZE)


def _score_masks(
    predictor: BoxCasegPredictor, coco: Coco, img_root: Path, min_side: int, reader: ImageReader
) -> list[tuple[float, Image, Annotation, np.ndarray]]:
    """IoU, image, annotation and (H, W) bool mask of each box that can be drawn."""
    scored = []
    for image, objects in tqdm(coco.objects_by_image(), 'predict', len(coco.images)):
        drawable = [bool(a.segmentation) and _is_large(a, min_side) for a in objects]
        if not any(drawable):
            continue
        img = reader.read(img_root / image.file_name)
        predictor.set_image(img)
        # Of all boxes: a network may be told the others too.
        masks, _ = predictor.predict(annotation_bboxes(objects))
        for annotation, mask in zip(compress(objects, drawable), masks[drawable], strict=True):
            true = decode_annotation(annotation, img.shape[:2], coco.path)
            scored.append((mask_iou(mask, true), image, annotation, mask))
    return scored


def _best_and_worst(scored: list[tuple], count: int) -> list[tuple]:
    """The half of ``count`` that is best and the one that is worst, by the first entry."""
    scored = sorted(scored, key=lambda entry: -entry[0])
    good = count // 2
    return scored[:good] + scored[len(scored) - (count - good) :]


def _write_sheet(
    out: Path, coco: Coco, chosen: list[tuple[float, Annotation]], tiles: list[np.ndarray]
) -> None:
    names = {category.id: category.name for category in coco.categories}
    captions = [
        f'{shown(names[annotation.category_id], 40)} {value:.2f}' for value, annotation in chosen
    ]
    sheet = make_sheet(tiles, captions, _COLUMNS, _TILE_SIZE)
    write_bytes(cv2.imencode(out.suffix, sheet)[1].tobytes(), out)


def _available(
    annotations: list[Annotation], count: int, min_side: int, path: str | Path, what: str = ''
) -> int:
    """How many can be drawn, of those that are asked for."""
    found = sum(_is_large(annotation, min_side) for annotation in annotations)
    if not found:
        raise InputError(
            f'{path} has no box with sides of {min_side} pixels or more{what}: lower --min-side'
        )
    return min(count, found)


def _is_large(annotation: Annotation, min_side: float) -> bool:
    return min(annotation.bbox[2:]) >= min_side
