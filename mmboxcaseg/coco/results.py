"""COCO results files of masks, and whose masks they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_utf8

from .annotations import (
    Annotation,
    Box,
    Coco,
    Entry,
    Id,
    Share,
    annotation_bboxes,
    annotations_by_image,
    decode_rows,
    explain_entry,
    explaining,
)

#: Farthest, in pixels, that an edge of a raw mask's box may lie from the annotation's.
BOX_TOLERANCE = 0.5


class Result(Entry, gc=False):
    """An entry of a COCO results file: a mask, by its annotation's id or its box."""

    image_id: Id
    ann_id: Id | None = None
    bbox: Box | None = None
    category_id: Any = None
    score: Share | None = None
    index: int = 0


def load_results(path: str | Path) -> list[Result]:
    """Read a COCO results file of masks.

    Args:
        path: JSON file, a list with one entry per mask.

    Returns:
        The entries, each with ``ann_id`` or ``bbox``.

    Raises:
        InputError: If the file cannot be read, is not JSON or not such a list.
    """
    data = read_utf8(path)
    with explaining(data, path, 'a COCO results file', lambda content: _explain(content, path)):
        results = decode_rows(data, Result)
    for index, result in enumerate(results):
        result.index = index
        if result.ann_id is None and result.bbox is None:
            raise InputError(f"entry {index} of {path} has no 'bbox'")
        if result.segmentation is None:
            raise InputError(f"entry {index} of {path} has no 'segmentation'")
    return results


def mask_result(annotation: Annotation, rle: dict, score: float = 1.0) -> dict:
    """Write an annotation's raw mask as an entry of a COCO results file.

    Args:
        annotation: Whose mask it is.
        rle: The mask, as of :func:`encode_rle`.
        score: How good it is thought to be, in [0, 1].

    Returns:
        The entry; ``ann_id`` says to :func:`match_results` whose mask it is.

    Example:
        >>> box = Annotation(id=5, image_id=1, category_id=7, bbox=(1, 0, 2, 1))
        >>> mask_result(box, dict(size=[1, 4], counts='121'), score=0.9)['ann_id']
        5
    """
    return dict(
        image_id=annotation.image_id,
        category_id=annotation.category_id,
        bbox=annotation.bbox,
        segmentation=rle,
        score=score,
        ann_id=annotation.id,
    )


def results_by_image(
    results: Iterable[Result], image_ids: Iterable[Id], path: str | Path
) -> dict[Id, list[Result]]:
    """Group results by their image.

    Args:
        results: Of a results file.
        image_ids: Those of the annotation file.
        path: The results file, for the message.

    Returns:
        Image id to results, for the images that have some.

    Raises:
        InputError: If a result is of another image.
    """
    known = set(image_ids)
    groups: dict[Id, list[Result]] = defaultdict(list)
    for result in results:
        if result.image_id not in known:
            raise InputError(
                f'entry {result.index} of {path} belongs to image {result.image_id!r}, which the '
                'file of boxes does not list'
            )
        groups[result.image_id].append(result)
    return groups


def match_results(coco: Coco, results: Iterable[Result], path: str | Path) -> dict[Id, Result]:
    """Find the annotation of every raw mask; see :func:`match_image`.

    Args:
        coco: The annotation file.
        results: Of the results file.
        path: That file, for the message.

    Returns:
        Annotation id to result.

    Raises:
        InputError: If a result is of no annotation; see :func:`match_image` and
            :func:`results_by_image`.
    """
    annotations = annotations_by_image(coco)
    matched = {}
    for image_id, group in results_by_image(results, annotations, path).items():
        matched.update(match_image(annotations[image_id], group, path))
    return matched


def match_image(
    annotations: list[Annotation], results: Iterable[Result], path: str | Path
) -> dict[Id, Result]:
    """Find the annotation of every raw mask of an image.

    By ``ann_id`` where a result has one. Otherwise the annotation whose box is nearest, no edge
    farther than :data:`BOX_TOLERANCE`; between equally near ones the one of the result's category.

    Args:
        annotations: The image's.
        results: The image's, of a results file.
        path: That file, for the message.

    Returns:
        Annotation id to result.

    Raises:
        InputError: If a result fits no annotation, several alike, or one that has a mask already.
    """
    ids = {annotation.id for annotation in annotations}
    matched: dict[Id, Result] = {}
    for result in results:
        where = f'entry {result.index} of {path}'
        id_ = result.ann_id
        if id_ is None:
            id_ = _nearest_id(result, annotations, where)
        elif id_ not in ids:
            raise InputError(
                f'{where} has ann_id {id_}, which image {result.image_id} does not have'
            )
        if id_ in matched:
            raise InputError(
                f'{where} belongs to annotation {id_}, which entry {matched[id_].index} gave a '
                'mask already'
            )
        matched[id_] = result
    return matched


def _nearest_id(result: Result, annotations: list[Annotation], where: str) -> Id:
    distances = np.abs(annotation_bboxes(annotations) - annotation_bboxes([result])).max(axis=1)
    ranked = defaultdict(list)
    for annotation, distance in zip(annotations, distances, strict=True):
        if distance <= BOX_TOLERANCE:
            other_category = annotation.category_id != result.category_id
            ranked[distance, other_category].append(annotation.id)
    if not ranked:
        raise InputError(
            f'{where} has no ann_id, and image {result.image_id} has no annotation with its box '
            f'{list(result.bbox)}'
        )
    nearest = ranked[min(ranked)]
    if len(nearest) > 1:
        ids = ', '.join(map(str, nearest))
        raise InputError(f'{where} has no ann_id, and its box fits annotations {ids} alike')
    return nearest[0]


def _explain(content: Any, path: str | Path) -> None:
    if not isinstance(content, list):
        raise InputError(
            f'{path} is not a COCO results file: it is not a list; give raw masks, one entry each'
        )
    for index, entry in enumerate(content):
        explain_entry(entry, Result, f'entry {index} of {path}')
