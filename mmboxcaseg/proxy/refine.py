"""Merge and agreement together: what turns raw masks into proxy masks."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import trange

from .agreement import tight_bbox_agreement
from .coco import annotation_bboxes, check_bboxes, read_annotations, wants_mask, write_coco
from .merging import merge_rles
from .packed import ImageGroups, ResultGroups, SpooledList, load_packed_coco
from .rle import empty_rle, rle_bboxes

#: The agreements that the paper compares (Sec. 4.2.5); the summary reports them.
AGREEMENTS = (0.75, 0.85, 0.90, 0.95)


def refine_rles(
    rles: Sequence[dict],
    bboxes: np.ndarray,
    img_shape: tuple[int, int],
    *,
    merge: bool = True,
    inclusive_boxes: bool = False,
) -> tuple[list[dict], np.ndarray]:
    """Merge an image's raw masks and measure how well each then agrees with its box.

    Args:
        rles: N RLEs of :func:`read_rles`, raw masks of one image's objects.
        bboxes: (N, 4) their ground-truth boxes xyxy in image pixels.
        img_shape: (height, width) of the image.
        merge: Whether to merge; without, as in the rows of Table 7 that do not, the agreement is
            that of the raw masks.
        inclusive_boxes: See :func:`box_agreement`; true in the released code.

    Returns:
        N RLEs of the same kind and (N,) float64 box agreement.
    """
    rles = merge_rles(rles, bboxes) if merge else list(rles)
    return rles, tight_bbox_agreement(rle_bboxes(rles), bboxes, img_shape, inclusive_boxes)


def refine_annotations(
    image: dict,
    annotations: list[dict],
    raw: dict,
    path: str | Path = 'the raw masks',
    *,
    scores: dict | None = None,
    merge: bool = True,
    inclusive_boxes: bool = False,
) -> list[dict]:
    """Give one image's annotations their proxy masks.

    An annotation without a raw mask, a crowd and a degenerate box get an empty mask and
    agreement 0.

    Args:
        image: COCO image.
        annotations: Its COCO annotations; ``segmentation`` is not read.
        raw: Annotation id to raw ``segmentation`` of any kind; may hold other images' too.
        path: The file that they come from, for the message.
        scores: Annotation id to the score of its raw mask, for those that have one.
        merge: See :func:`refine_rles`.
        inclusive_boxes: See :func:`box_agreement`.

    Returns:
        The annotations with ``segmentation`` (compressed RLE) and ``box_agreement``, with the
        score of a raw mask that has one as ``quality``, and with ``iscrowd`` (0) and ``area`` (the
        box's) where they had none: mmdet drops a box that has no area. Every other field is as it
        was.

    Raises:
        InputError: If a raw segmentation is broken; names the annotation and the file.
    """
    img_shape = (image['height'], image['width'])
    objects = [a for a in annotations if wants_mask(a) and a['id'] in raw]
    segmentations = [raw[annotation['id']] for annotation in objects]
    rles, agreement = refine_rles(
        read_annotations(objects, segmentations, img_shape, path),
        annotation_bboxes(objects),
        img_shape,
        merge=merge,
        inclusive_boxes=inclusive_boxes,
    )
    fields = {
        annotation['id']: dict(segmentation=rle, box_agreement=value)
        for annotation, rle, value in zip(objects, rles, agreement.tolist(), strict=True)
    }
    for id_ in fields.keys() & (scores or {}).keys():
        fields[id_]['quality'] = scores[id_]
    empty = dict(segmentation=empty_rle(img_shape), box_agreement=0.0)
    return [
        dict(iscrowd=0, area=a['bbox'][2] * a['bbox'][3]) | a | fields.get(a['id'], empty)
        for a in annotations
    ]


def summarize_proxies(annotations: Iterable[dict]) -> str:
    """Say in a few words how good proxy masks are.

    Args:
        annotations: Proxy annotations of :func:`refine_annotations`.

    Returns:
        One line: how many boxes, how many empty masks, the share above each agreement that the
        paper compares.
    """
    return summarize_agreement([a['box_agreement'] for a in annotations if wants_mask(a)])


def summarize_agreement(agreement: Sequence[float]) -> str:
    """Say what :func:`summarize_proxies` does of the box agreement of all that want a mask."""
    agreement = np.asarray(agreement)
    if not len(agreement):
        return 'no box that wants a mask'
    shares = ', '.join(f'{(agreement > t).mean():.1%} above {t:.2f}' for t in AGREEMENTS)
    return f'{len(agreement)} boxes, {(agreement == 0).sum()} empty masks; agreement: {shares}'


def refine_file(
    boxes: str | Path,
    raw: str | Path,
    out: str | Path,
    *,
    merge: bool = True,
    inclusive_boxes: bool = False,
) -> tuple[str, int]:
    """Refine the raw masks of a COCO file image by image.

    Boxes are held, packed; masks are held of one image at a time and wait for their turn on disk.

    Args:
        boxes: COCO file; its masks are not read.
        raw: COCO results file with the raw masks.
        out: COCO file to write, the boxes with their proxy masks (:func:`refine_annotations`).
        merge: See :func:`refine_rles`.
        inclusive_boxes: See :func:`box_agreement`.

    Returns:
        What :func:`summarize_proxies` says, and how many boxes that want a mask had no raw one.

    Raises:
        InputError: If a file cannot be read or written, or an entry of it is wrong.
    """
    coco = load_packed_coco(boxes)
    check_bboxes(coco, boxes)
    groups = ImageGroups(coco)
    masks = ResultGroups(raw, groups, Path(out).parent)
    agreement = array('d')
    missing = 0

    def proxies() -> Iterator[dict]:
        nonlocal missing
        for index in trange(len(groups), desc='refine', unit='image'):
            image, annotations = groups.image(index), groups.annotations(index)
            known = masks.match(index, annotations)
            for proxy in refine_annotations(
                image,
                annotations,
                {id_: entry['segmentation'] for id_, entry in known.items()},
                raw,
                scores={id_: entry['score'] for id_, entry in known.items() if 'score' in entry},
                merge=merge,
                inclusive_boxes=inclusive_boxes,
            ):
                if wants_mask(proxy):
                    agreement.append(proxy['box_agreement'])
                    missing += proxy['id'] not in known
                yield proxy

    by_image = SpooledList(proxies(), Path(out).parent)
    places = np.empty(len(by_image), dtype=np.int64)
    places[groups.order] = np.arange(len(places))
    write_coco(coco, (by_image.text(place) for place in places.tolist()), out)
    return summarize_agreement(agreement), missing
