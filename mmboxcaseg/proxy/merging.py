"""Merging via smaller object better (Sec. 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from .boxes import bbox_areas, tight_bboxes
from .rle import complement_rles


def merge_masks(
    masks: np.ndarray, bboxes: np.ndarray, fixed: np.ndarray | None = None
) -> np.ndarray:
    """Give every pixel that several masks claim to the object with the smallest box.

    A pixel belongs to one object only, and the smaller one usually lies inside the larger one's
    box. The area is that of the ground-truth box; among equals the earlier object wins.

    Args:
        masks: (N, H, W) bool or uint8 masks of one image's objects.
        bboxes: (N, 4) their ground-truth boxes xyxy.
        fixed: (N,) bool, masks that lose no pixel and win all of theirs; by default none.

    Returns:
        (N, H, W) bool masks, no two of which share a pixel, unless both are fixed.

    Example:
        >>> masks = np.array([[[1, 1, 1]], [[0, 1, 1]]])
        >>> merge_masks(masks, np.array([[0, 0, 3, 1], [1, 0, 3, 1]])).astype(int).tolist()
        [[[1, 0, 0]], [[0, 1, 1]]]
    """
    merged = np.zeros(masks.shape, dtype=bool)
    taken = np.zeros(masks.shape[1:], dtype=bool)
    windows = tight_bboxes(masks)
    fixed = _as_fixed(fixed, len(masks))
    for index in _winners_first(bboxes, fixed):
        x1, y1, x2, y2 = windows[index]
        window = np.s_[y1:y2, x1:x2]
        own = masks[index][window].astype(bool) & ~(taken[window] & ~fixed[index])
        merged[index][window] = own
        taken[window] |= own
    return merged


def merge_rles(
    rles: Sequence[dict], bboxes: np.ndarray, fixed: np.ndarray | None = None
) -> list[dict]:
    """Merge as :func:`merge_masks` does, without decoding a mask.

    Args:
        rles: N RLEs of :func:`read_rles`, of one image's objects.
        bboxes: (N, 4) their ground-truth boxes xyxy.
        fixed: See :func:`merge_masks`.

    Returns:
        N RLEs of the same kind. One that loses no pixel is the one that was given.

    Example:
        >>> from mmboxcaseg.proxy import decode_rle, encode_rle
        >>> rles = [encode_rle(np.array([row])) for row in ([1, 1, 1], [0, 1, 1])]
        >>> large, small = merge_rles(rles, np.array([[0, 0, 3, 1], [1, 0, 3, 1]]))
        >>> decode_rle(large, (1, 3)).astype(int).tolist(), small == rles[1]
        ([[1, 0, 0]], True)
    """
    merged = list(rles)
    if len(merged) < 2:
        return merged
    fixed = _as_fixed(fixed, len(merged))
    ranks = np.empty(len(merged), dtype=np.int64)
    ranks[_winners_first(bboxes, fixed)] = np.arange(len(merged))
    # Exact: pycocotools counts the pixels that two masks share where their tight boxes meet.
    shares = coco_mask.iou(merged, merged, [0] * len(merged)) > 0
    loses = shares & (ranks[None] < ranks[:, None]) & ~fixed[:, None]
    takers = loses.any(axis=0).nonzero()[0].tolist()
    rest = dict(zip(takers, complement_rles([merged[taker] for taker in takers]), strict=True))
    for loser in loses.any(axis=1).nonzero()[0].tolist():
        left = [rles[loser], *(rest[taker] for taker in loses[loser].nonzero()[0].tolist())]
        counts = coco_mask.merge(left, intersect=True)['counts']
        merged[loser] = dict(size=rles[loser]['size'], counts=counts.decode('ascii'))
    return merged


def _as_fixed(fixed: np.ndarray | None, count: int) -> np.ndarray:
    return np.zeros(count, dtype=bool) if fixed is None else np.asarray(fixed, dtype=bool)


def _winners_first(bboxes: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Order objects: fixed ones, then those with the smallest box."""
    # float32, as mmdet holds boxes, so that ties are the same offline and in training.
    areas = bbox_areas(np.asarray(bboxes, dtype=np.float32).reshape(-1, 4))
    return np.lexsort((areas, ~fixed))
