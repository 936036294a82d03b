"""Merge and agreement together: what turns one image's raw masks into proxy masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .agreement import box_agreement
from .coco import annotation_bboxes, decode_annotation, wants_mask
from .masks import encode_rle
from .merging import merge_masks

#: The agreements that the paper compares (Sec. 4.2.5); the summary reports them.
AGREEMENTS = (0.75, 0.85, 0.90, 0.95)


def refine_masks(
    masks: np.ndarray, bboxes: np.ndarray, *, merge: bool = True, inclusive_boxes: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Merge an image's raw masks and measure how well each then agrees with its box.

    Args:
        masks: (N, H, W) bool or uint8 raw masks of one image's objects.
        bboxes: (N, 4) their ground-truth boxes xyxy in image pixels.
        merge: Whether to merge; without, as in the rows of Table 7 that do not, the agreement is
            that of the raw masks.
        inclusive_boxes: See :func:`box_agreement`; true in the released code.

    Returns:
        (N, H, W) bool masks and (N,) float64 box agreement.
    """
    masks = merge_masks(masks, bboxes) if merge else masks.astype(bool)
    return masks, box_agreement(masks, bboxes, inclusive_boxes)


def refine_annotations(
    image: dict,
    annotations: list[dict],
    raw: dict,
    path: str | Path = 'the raw masks',
    *,
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
        merge: See :func:`refine_masks`.
        inclusive_boxes: See :func:`box_agreement`.

    Returns:
        The annotations with ``segmentation`` (compressed RLE) and ``box_agreement``, and with
        ``iscrowd`` (0) and ``area`` (the box's) where they had none: mmdet drops a box that has
        no area. Every other field is as it was.

    Raises:
        InputError: If a raw segmentation is broken; names the annotation and the file.
    """
    img_shape = (image['height'], image['width'])
    objects = [a for a in annotations if wants_mask(a) and a['id'] in raw]
    masks = np.zeros((len(objects), *img_shape), dtype=bool)
    for mask, annotation in zip(masks, objects, strict=True):
        proxy = annotation | dict(segmentation=raw[annotation['id']])
        mask[:] = decode_annotation(proxy, img_shape, path)
    masks, agreement = refine_masks(
        masks, annotation_bboxes(objects), merge=merge, inclusive_boxes=inclusive_boxes
    )
    fields = {
        annotation['id']: dict(segmentation=encode_rle(mask), box_agreement=float(value))
        for annotation, mask, value in zip(objects, masks, agreement, strict=True)
    }
    empty = dict(segmentation=encode_rle(np.zeros(img_shape, dtype=bool)), box_agreement=0.0)
    return [
        dict(iscrowd=0, area=a['bbox'][2] * a['bbox'][3]) | a | fields.get(a['id'], empty)
        for a in annotations
    ]


def summarize_proxies(annotations: list[dict]) -> str:
    """Say in a few words how good proxy masks are.

    Args:
        annotations: Proxy annotations of :func:`refine_annotations`.

    Returns:
        One line: how many boxes, how many empty masks, the share above each agreement that the
        paper compares.
    """
    agreement = np.array([a['box_agreement'] for a in annotations if wants_mask(a)])
    if not len(agreement):
        return 'no box that wants a mask'
    shares = ', '.join(f'{(agreement > t).mean():.1%} above {t:.2f}' for t in AGREEMENTS)
    return f'{len(agreement)} boxes, {(agreement == 0).sum()} empty masks; agreement: {shares}'
