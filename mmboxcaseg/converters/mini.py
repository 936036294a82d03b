"""Small sets like ``coco_mini`` and ``duts_mini``, drawn from COCO's and DUTS's folders."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmboxcaseg.coco import Annotation, annotations_by_image, decode_annotation, load_coco
from mmboxcaseg.coco.checks import image_paths
from mmboxcaseg.converters.duts_single import LAYOUTS, check_leftovers, draw_subset, list_pairs
from mmboxcaseg.converters.linking import check_apart
from mmboxcaseg.errors import InputError, check_count
from mmboxcaseg.fileio import check_output, make_folder, read_bytes, write_bytes, write_json
from mmboxcaseg.images import read_image, read_image_shape, read_mask
from mmboxcaseg.proxy import encode_rle


def convert_coco_mini(
    boxes: Path, images: Path, out: Path, *, split: str, count: int, longest: int, seed: int
) -> list[str]:
    """Draw images of a COCO file and shrink them, with their boxes and masks.

    Args:
        boxes: COCO file, with or without masks.
        images: Folder of its images.
        out: Folder to write: images to the folder of the split's name, and
            ``annotations/instances_SPLIT.json``.
        split: Its name, ``'train'`` or ``'val'``.
        count: How many images.
        longest: Longest side of an image, in pixels; smaller ones stay as they are.
        seed: Of the choice.

    Returns:
        Lines that tell what was written.

    Raises:
        InputError: If a setting or a file is wrong, or there are fewer images.
    """
    _check_settings(count, longest, seed)
    folder, ann_file = out / split, out / 'annotations' / f'instances_{split}.json'
    check_apart(folder, [images])
    check_output(ann_file, [boxes])
    coco = load_coco(boxes)
    if len(coco.images) < count:
        raise InputError(f'{boxes} has {len(coco.images)} images: give a --count up to that')
    chosen = draw_subset(coco.images, count, seed)
    paths = image_paths(chosen, images, boxes)
    # Of a name with folders the last part alone: no file is written beside the folder.
    names = {id_: Path(path).name for id_, path in paths.items()}
    if len(set(names.values())) < count:
        raise InputError(f'{boxes} has images of the same name in several folders: rename them')

    groups = annotations_by_image(coco)
    rows, entries, vanished = [], [], 0
    for image in tqdm(chosen, desc='shrink', unit='image'):
        path = paths[image.id]
        if read_image_shape(path) != image.shape:
            raise InputError(f'{path} has another size than {boxes} says: correct the file')
        shape = shrunk_shape(image.shape, longest)
        _write_image(path, shape, folder / names[image.id])
        rows.append(dict(id=image.id, file_name=names[image.id], height=shape[0], width=shape[1]))
        for annotation in groups[image.id]:
            mask = None
            if annotation.segmentation:
                mask = shrink_mask(decode_annotation(annotation, image.shape, boxes), shape)
                if not mask.any():
                    vanished += 1
                    continue
            entries.append(shrink_annotation(annotation, image.shape, shape, mask))
    categories = json.loads(bytes(coco.top['categories']))
    write_json(dict(images=rows, annotations=entries, categories=categories), ann_file)
    lines = [f'{ann_file}: {len(rows)} of {len(coco.images)} images, {len(entries)} annotations']
    if vanished:
        lines.append(f'  left out: {vanished} whose mask has no pixel at this size')
    return lines


def convert_duts_mini(duts: Path, out: Path, *, count: int, longest: int, seed: int) -> list[str]:
    """Draw pairs of DUTS and shrink them.

    Args:
        duts: DUTS-TR, or a folder with ``images`` and ``masks`` such as DUTS-Single.
        out: Folder to write: ``images`` and ``masks``.
        count: How many pairs.
        longest: Longest side of an image, in pixels; smaller ones stay as they are.
        seed: Of the choice.

    Returns:
        Lines that tell what was written.

    Raises:
        InputError: If a setting or a file is wrong, there are fewer pairs, or the folder holds
            others.
    """
    _check_settings(count, longest, seed)
    check_apart(out, [duts])
    pairs = list_pairs(duts, None)
    if len(pairs) < count:
        raise InputError(f'{duts} has {len(pairs)} pairs: give a --count up to that')
    chosen = draw_subset(pairs, count, seed)
    check_leftovers(chosen, out)
    image_folder, mask_folder = (out / name for name in LAYOUTS[1])
    make_folder(mask_folder)
    for image, mask in tqdm(chosen, desc='shrink', unit='pair'):
        pixels = read_mask(str(mask))
        if read_image_shape(image) != pixels.shape:
            raise InputError(f'mask {mask} has another size than image {image}: replace them')
        shape = shrunk_shape(pixels.shape, longest)
        small = shrink_mask(pixels, shape)
        if not small.any():
            raise InputError(f'mask {mask} has no pixel at this size: give a larger --longest')
        _write_image(image, shape, image_folder / image.name)
        png = cv2.imencode('.png', small * np.uint8(255), [cv2.IMWRITE_PNG_BILEVEL, 1])[1]
        _write_new(png.tobytes(), mask_folder / mask.name)
    return [f'{out}: {count} of {len(pairs)} pairs']


def shrunk_shape(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """Shrink a size so that the longer side is at most so many pixels.

    Example:
        >>> shrunk_shape((480, 640), 512), shrunk_shape((30, 40), 512)
        ((384, 512), (30, 40))
    """
    scale = min(longest / max(shape), 1)
    height, width = (max(round(side * scale), 1) for side in shape)
    return height, width


def shrink_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Shrink a mask: a pixel is object if at least half of what it covers was.

    Args:
        mask: (H, W) bool or uint8, 0 or 1.
        shape: (height, width) of the result.

    Returns:
        (height, width) bool.

    Example:
        >>> shrink_mask(np.array([[1, 1, 0, 0], [0, 0, 0, 1]], np.uint8), (1, 2))
        array([[ True, False]])
    """
    covered = cv2.resize(mask.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    return covered >= 0.5


def shrink_annotation(
    annotation: Annotation,
    shape: tuple[int, int],
    small_shape: tuple[int, int],
    mask: np.ndarray | None,
) -> dict:
    """Write an annotation for its image's new size.

    Args:
        annotation: An annotation of a COCO file.
        shape: (height, width) of its image before.
        small_shape: And after.
        mask: (height, width) bool of the new size, or None where there is none.

    Returns:
        The annotation, ready for JSON. Its box is scaled, never made from the mask, so that a set
        without masks gets the same boxes.
    """
    sy, sx = small_shape[0] / shape[0], small_shape[1] / shape[1]
    x, y, width, height = annotation.bbox
    row = dict(
        id=annotation.id,
        image_id=annotation.image_id,
        category_id=annotation.category_id,
        bbox=[round(value, 2) for value in (x * sx, y * sy, width * sx, height * sy)],
        area=round(width * sx * height * sy, 2),
        iscrowd=int(annotation.iscrowd or 0),
    )
    if mask is not None:
        row.update(area=int(mask.sum()), segmentation=encode_rle(mask))
    return row


def _check_settings(count: int, longest: int, seed: int) -> None:
    check_count('--count', count)
    check_count('--longest', longest)
    if seed < 0:
        raise InputError(f'--seed must be 0 or more, not {seed}')


def _write_image(source: str | Path, shape: tuple[int, int], target: Path) -> None:
    make_folder(target.parent)
    image = read_image(str(source))
    if image.shape[:2] == shape:
        _write_new(read_bytes(source), target)
        return
    if not cv2.haveImageWriter(str(target)):
        raise InputError(f'{target} cannot be written in its format: convert {source} to JPEG')
    small = cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    _write_new(cv2.imencode(target.suffix, small)[1].tobytes(), target)


def _write_new(content: bytes, path: Path) -> None:
    """Write a file, but not over another one; an equal one stays."""
    if not path.exists():
        write_bytes(content, path)
    elif read_bytes(path) != content:
        raise InputError(f'{path} is there and differs: remove it or give another folder')
