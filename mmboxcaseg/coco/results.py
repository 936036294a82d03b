"""Raw masks from anywhere, as a COCO results list or a COCO file, and whose masks they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw

from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_utf8
from mmboxcaseg.proxy import pairwise_iou

from .annotations import (
    Annotation,
    Box,
    Coco,
    Entry,
    Id,
    Image,
    Share,
    annotation_bboxes,
    annotations_by_image,
    decode_rows,
    explain_entry,
    explaining,
)

#: Farthest, in pixels, that an edge of a raw mask's box may lie from the annotation's.
BOX_TOLERANCE = 0.5

_GIVE = "give ann_id, the id of the annotation whose mask it is, or bbox, that one's box"


class Result(Entry, gc=False):
    """A raw mask, by its annotation's id or its box.

    Attributes:
        image_id: As its file has it.
        ann_id: The id of its annotation.
        id: Its annotation's in some files, a number of its own in others; see :func:`match_image`.
        bbox: The annotation's, x, y, width, height.
        category_id: The annotation's.
        score: How good it is thought to be.
        quality: The same, of a mask that was refined before.
        index: Its place in the file.
        file_name: Of its image, where its file is a COCO file.
    """

    image_id: Id
    ann_id: Id | None = None
    id: Id | None = None
    bbox: Box | None = None
    category_id: Any = None
    score: Share | None = None
    quality: Share | None = None
    index: int = 0
    file_name: str | None = None


class _NamedImage(msgspec.Struct):
    id: Id
    file_name: str | None = None


def load_results(path: str | Path) -> list[Result]:
    """Read raw masks.

    Args:
        path: JSON file: a COCO results list, with one entry per mask, or a COCO file, whose
            annotations without a mask are left out.

    Returns:
        The entries, each with a mask.

    Raises:
        InputError: If the file cannot be read, is not JSON or neither of both, or an entry of a
            list has no mask.
    """
    data = read_utf8(path)
    with explaining(data, path, 'a COCO results file', lambda content: _explain(content, path)):
        is_coco = data.lstrip()[:1] == b'{'
        top = msgspec.json.decode(data, type=dict[str, Raw]) if is_coco else {}
        results = decode_rows(top.get('annotations', b'') if is_coco else data, Result)
        images = msgspec.json.decode(top.get('images', b'[]'), type=list[_NamedImage])
    names = {image.id: image.file_name for image in images}
    for index, result in enumerate(results):
        result.index = index
        result.file_name = names.get(result.image_id)
        if not is_coco and result.segmentation is None:
            raise InputError(
                f"entry {index} of {path} has no 'segmentation': give masks, as RLE or polygons"
            )
        if result.ann_id is None and result.id is None and result.bbox is None:
            raise InputError(f'entry {index} of {path} has neither ann_id nor bbox: {_GIVE}')
        if result.score is None:
            result.score = result.quality
    return [result for result in results if result.segmentation or not is_coco]


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
    results: Iterable[Result], images: Iterable[Image], path: str | Path
) -> dict[Id, list[Result]]:
    """Group raw masks by their image.

    Args:
        results: Of a file of raw masks.
        images: Those of the annotation file. A COCO file of raw masks may number them in its own
            way: images go by their names where it has all of them.
        path: The file of raw masks, for the message.

    Returns:
        Image id of the annotation file to raw masks, for the images that have some.

    Raises:
        InputError: If a raw mask is of another image.
    """
    results = list(results)
    by_name = {image.file_name: image.id for image in images}
    known = set(by_name.values()) | {image.id for image in images}
    by_names = bool(results) and all(result.file_name in by_name for result in results)
    groups: dict[Id, list[Result]] = defaultdict(list)
    for result in results:
        id_ = by_name[result.file_name] if by_names else _same_id(result.image_id, known)
        if id_ is None:
            raise InputError(
                f'entry {result.index} of {path} belongs to image {result.image_id!r}, which the '
                'file of boxes does not list'
            )
        groups[id_].append(result)
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
    for image_id, group in results_by_image(results, coco.images, path).items():
        matched.update(match_image(annotations[image_id], group, path))
    return matched


def match_image(
    annotations: list[Annotation], results: Iterable[Result], path: str | Path
) -> dict[Id, Result]:
    """Find the annotation of every raw mask of an image.

    By ``ann_id`` where a result has one. By ``id``, if those of all others are ids of annotations
    of the image, each that of the annotation whose box is nearest to the result's, if it has one:
    some files have the ids of annotations there, others numbers of their own. Otherwise the
    annotation whose box is nearest, no edge farther than :data:`BOX_TOLERANCE`; between equally
    near ones the one of the result's category. Ids may be written as text.

    Args:
        annotations: The image's.
        results: The image's, of a results file.
        path: That file, for the message.

    Returns:
        Annotation id to result.

    Raises:
        InputError: If a result fits no annotation, several alike, or one that has a mask already.
    """
    results = list(results)
    ids = {annotation.id for annotation in annotations}
    by_id = _ids_are_annotations(results, annotations)
    matched: dict[Id, Result] = {}
    for result in results:
        where = f'entry {result.index} of {path}'
        given = result.id if result.ann_id is None and by_id else result.ann_id
        if given is None:
            id_ = _nearest_id(result, annotations, where)
        else:
            id_ = _same_id(given, ids)
        if id_ is None:
            raise InputError(
                f'{where} has ann_id {given}, which image {result.image_id} does not have'
            )
        if id_ in matched:
            raise InputError(
                f'{where} belongs to annotation {id_}, which entry {matched[id_].index} gave a '
                'mask already'
            )
        matched[id_] = result
    return matched


def _same_id(given: Id, known: Collection[Id]) -> Id | None:
    """Which of the known ids is meant, whether it is written as a number or as text."""
    if given in known:
        return given
    # As text an id is no longer than the numbers of a file may be.
    is_number = isinstance(given, str) and given.isdecimal() and len(given) < 100
    other = str(given) if isinstance(given, int) else int(given) if is_number else None
    return other if other in known else None


def _ids_are_annotations(results: list[Result], annotations: list[Annotation]) -> bool:
    own = [result for result in results if result.ann_id is None]
    places = {annotation.id: index for index, annotation in enumerate(annotations)}
    ids = [None if result.id is None else _same_id(result.id, places) for result in own]
    if not own or None in ids or len(set(ids)) < len(ids):
        return False
    boxed = [(places[id_], r) for id_, r in zip(ids, own, strict=True) if r.bbox is not None]
    if not boxed:
        return True
    ious = pairwise_iou(annotation_bboxes([r for _, r in boxed]), annotation_bboxes(annotations))
    mine = ious[np.arange(len(boxed)), [place for place, _ in boxed]]
    return bool(((mine > 0) & (mine == ious.max(axis=1))).all())


def _nearest_id(result: Result, annotations: list[Annotation], where: str) -> Id:
    lacks = f'{where} has no ann_id'
    if result.id is not None:
        lacks += f', its id {result.id} is not the id of the annotation with its box'
    if result.bbox is None:
        if result.id is not None:
            lacks = f'{where} has no ann_id, its id {result.id} is no id of an annotation'
        raise InputError(f'{lacks} and it has no bbox: {_GIVE}')
    distances = np.abs(annotation_bboxes(annotations) - annotation_bboxes([result])).max(axis=1)
    ranked = defaultdict(list)
    for annotation, distance in zip(annotations, distances, strict=True):
        if distance <= BOX_TOLERANCE:
            other_category = annotation.category_id != result.category_id
            ranked[distance, other_category].append(annotation.id)
    if not ranked:
        raise InputError(
            f'{lacks}, and image {result.image_id} has no annotation with its box '
            f'{list(result.bbox)}: give ann_id, the id of the annotation that it is the mask of'
        )
    nearest = ranked[min(ranked)]
    if len(nearest) > 1:
        ids = ', '.join(map(str, nearest))
        raise InputError(f'{lacks}, and its box fits annotations {ids} alike: give ann_id')
    return nearest[0]


def _explain(content: Any, path: str | Path) -> None:
    if isinstance(content, dict):
        if 'image' in content and 'images' not in content:
            raise InputError(
                f'{path} is one image of Segment Anything, whose masks are of no annotation: make '
                'a COCO results list of the masks, each with image_id and ann_id or bbox'
            )
        content = content.get('annotations')
    if not isinstance(content, list):
        raise InputError(
            f'{path} is neither a COCO results file, a list with one entry per mask, nor a COCO '
            'file with annotations: give raw masks as one of both'
        )
    for index, entry in enumerate(content):
        if isinstance(entry, dict) and 'predicted_iou' in entry and 'image_id' not in entry:
            raise InputError(
                f'{path} is what Segment Anything gives of one image, whose masks are of no '
                'annotation: add image_id, and ann_id or bbox, to each entry'
            )
        explain_entry(entry, Result, f'entry {index} of {path}')
