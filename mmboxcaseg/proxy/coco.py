"""COCO files: read and checked, matched with raw masks, written."""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mmboxcaseg.errors import InputError

#: Farthest, in pixels, that an edge of a raw mask's box may lie from the annotation's.
BOX_TOLERANCE = 0.5


def load_coco(path: str | Path) -> dict:
    """Read a COCO annotation file and check what everything else relies on.

    Args:
        path: JSON file.

    Returns:
        The file's content. Ids of images and of annotations are unique, each annotation's image
        and category are in the file, each box is four finite numbers.

    Raises:
        InputError: If the file cannot be read, is not JSON or not COCO; names what is missing.
    """
    coco = _load_json(path)
    if not isinstance(coco, dict):
        raise InputError(f'{path} is not a COCO file: it holds a {type(coco).__name__}, not a dict')
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(coco.get(key), list):
            raise InputError(f'{path} is not a COCO file: it has no list {key!r}')
    _check_entries(coco, 'images', ('id', 'file_name', 'width', 'height'), path)
    _check_entries(coco, 'categories', ('id', 'name'), path)
    _check_entries(coco, 'annotations', ('id', 'image_id', 'category_id', 'bbox'), path)
    img_ids = {image['id'] for image in coco['images']}
    category_ids = {category['id'] for category in coco['categories']}
    for annotation in coco['annotations']:
        where = f'annotation {annotation["id"]} of {path}'
        if annotation['image_id'] not in img_ids:
            raise InputError(
                f'{where} belongs to image {annotation["image_id"]}, which the file does not list'
            )
        if annotation['category_id'] not in category_ids:
            raise InputError(
                f'{where} has category {annotation["category_id"]}, which the file does not list'
            )
        if not _is_box(annotation['bbox']):
            raise InputError(
                f'{where} has bbox {annotation["bbox"]}, not four numbers x, y, width, height'
            )
    return coco


def load_results(path: str | Path) -> list[dict]:
    """Read a COCO results file of masks.

    Args:
        path: JSON file, a list with one entry per mask.

    Returns:
        The entries. Each has ``image_id``, ``segmentation`` and ``ann_id`` or ``bbox``.

    Raises:
        InputError: If the file cannot be read, is not JSON or not such a list.
    """
    results = _load_json(path)
    if not isinstance(results, list):
        raise InputError(f'{path} is not a COCO results file: it is not a list')
    for index, entry in enumerate(results):
        if not isinstance(entry, dict):
            raise InputError(f'entry {index} of {path} is not a dict')
        box_key = 'ann_id' if 'ann_id' in entry else 'bbox'
        for key in ('image_id', 'segmentation', box_key):
            if key not in entry:
                raise InputError(f'entry {index} of {path} has no {key!r}')
        if box_key == 'bbox' and not _is_box(entry['bbox']):
            raise InputError(
                f'entry {index} of {path} has bbox {entry["bbox"]}, not four numbers x, y, width, '
                'height'
            )
    return results


def wants_mask(annotation: dict) -> bool:
    """Tell whether an annotation is one object with a box that has an area.

    Crowds and degenerate boxes are not: nothing is predicted for them, they take no part in the
    merge, and their proxy mask is empty.
    """
    _, _, width, height = annotation['bbox']
    return not annotation.get('iscrowd', 0) and width > 0 and height > 0


def annotation_bboxes(annotations: Iterable[dict]) -> np.ndarray:
    """Boxes of annotations.

    Args:
        annotations: COCO annotations.

    Returns:
        (N, 4) float64 boxes xyxy.
    """
    xywh = np.array([a['bbox'] for a in annotations], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def annotations_by_image(coco: dict) -> dict[int, list[dict]]:
    """Group annotations, in the file's order, under every image id."""
    groups: dict[int, list[dict]] = {image['id']: [] for image in coco['images']}
    for annotation in coco['annotations']:
        groups[annotation['image_id']].append(annotation)
    return groups


def check_bboxes(coco: dict, path: str | Path) -> None:
    """Check that the boxes that want a mask lie in their images, at least in part.

    Args:
        coco: Content of a COCO file.
        path: The file, for the message.

    Raises:
        InputError: Naming the annotation and the image.
    """
    images = {image['id']: image for image in coco['images']}
    for annotation in filter(wants_mask, coco['annotations']):
        image = images[annotation['image_id']]
        x, y, width, height = annotation['bbox']
        if x >= image['width'] or y >= image['height'] or x + width <= 0 or y + height <= 0:
            raise InputError(
                f'annotation {annotation["id"]} of {path} has its box {annotation["bbox"]} outside '
                f'its image {image["file_name"]} ({image["width"]}x{image["height"]}): correct or '
                'remove it'
            )


def match_results(coco: dict, results: list[dict], path: str | Path) -> dict[int, dict | list]:
    """Find the annotation of every raw mask.

    By ``ann_id`` where an entry has one. Otherwise the annotation of the same image whose box is
    nearest, no edge farther than :data:`BOX_TOLERANCE`; between equally near ones the one of the
    entry's category.

    Args:
        coco: Content of a COCO file.
        results: Entries of a results file.
        path: The results file, for the message.

    Returns:
        Annotation id to ``segmentation``.

    Raises:
        InputError: If an entry fits no annotation, several alike, or one that has a mask already.
    """
    annotations = {annotation['id']: annotation for annotation in coco['annotations']}
    by_image = annotations_by_image(coco)
    matched: dict[int, int] = {}
    for index, entry in enumerate(results):
        where = f'entry {index} of {path}'
        if 'ann_id' in entry:
            annotation = annotations.get(entry['ann_id'])
            if annotation is None or annotation['image_id'] != entry['image_id']:
                raise InputError(
                    f'{where} has ann_id {entry["ann_id"]}, which image {entry["image_id"]} does '
                    'not have'
                )
        else:
            annotation = _nearest_annotation(entry, by_image.get(entry['image_id'], []), where)
        first = matched.setdefault(annotation['id'], index)
        if first != index:
            raise InputError(
                f'{where} belongs to annotation {annotation["id"]}, which entry {first} gave a '
                'mask already'
            )
    return {ann_id: results[index]['segmentation'] for ann_id, index in matched.items()}


def replace_annotations(coco: dict, annotations: Iterable[dict]) -> dict:
    """Put new annotations in the place of those with the same id; all else stays.

    Args:
        coco: Content of a COCO file.
        annotations: One for every annotation of the file, in any order.

    Returns:
        Content of a COCO file.
    """
    replaced = {annotation['id']: annotation for annotation in annotations}
    return {**coco, 'annotations': [replaced[a['id']] for a in coco['annotations']]}


def check_output(path: str | Path) -> None:
    """Make sure, before long work, that a file can be written; make its folder.

    Raises:
        InputError: If it cannot.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'cannot make folder {path.parent}: {error.strerror}') from None
    if path.is_dir():
        raise InputError(f'cannot write {path}: it is a folder, give a file')
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f'cannot write {path}: no permission to write in its folder')


def write_json(content: dict | list, path: str | Path) -> None:
    """Write a file aside and rename it, so that it is never there by half."""
    path = Path(path)
    aside = path.with_name(path.name + '.tmp')
    # dumps runs in C, dump does not: ten times faster on a large file.
    aside.write_text(json.dumps(content), encoding='utf-8')
    os.replace(aside, path)


def _load_json(path: str | Path) -> dict | list:
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise InputError(f'cannot read {path}: {error.strerror}') from None
    except ValueError:
        raise InputError(f'{path} is not JSON') from None


def _check_entries(coco: dict, name: str, keys: tuple[str, ...], path: str | Path) -> None:
    ids = set()
    for index, entry in enumerate(coco[name]):
        for key in keys:
            if not isinstance(entry, dict) or key not in entry:
                raise InputError(f'{path} is not a COCO file: {name}[{index}] has no {key!r}')
        if entry['id'] in ids:
            raise InputError(f'{path} has the id {entry["id"]} twice in {name!r}')
        ids.add(entry['id'])


def _is_box(bbox: object) -> bool:
    return (
        isinstance(bbox, list)
        and len(bbox) == 4
        and all(isinstance(value, int | float) and math.isfinite(value) for value in bbox)
    )


def _nearest_annotation(entry: dict, annotations: list[dict], where: str) -> dict:
    distances = np.abs(annotation_bboxes(annotations) - annotation_bboxes([entry])).max(axis=1)
    ranked = defaultdict(list)
    for annotation, distance in zip(annotations, distances, strict=True):
        if distance <= BOX_TOLERANCE:
            other_category = annotation['category_id'] != entry.get('category_id')
            ranked[distance, other_category].append(annotation)
    if not ranked:
        raise InputError(
            f'{where} has no ann_id, and image {entry["image_id"]} has no annotation with its box '
            f'{entry["bbox"]}'
        )
    nearest = ranked[min(ranked)]
    if len(nearest) > 1:
        ids = ', '.join(str(annotation['id']) for annotation in nearest)
        raise InputError(f'{where} has no ann_id, and its box fits annotations {ids} alike')
    return nearest[0]
