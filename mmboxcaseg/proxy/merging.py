"""Merging via smaller object better (Sec. 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .boxes import bbox_areas, tight_bboxes
from .rle import Edges, encode_edges, read_edges


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
    order = _winners_first(bboxes, fixed)
    ranks = np.empty(len(merged), dtype=np.int64)
    ranks[order] = np.arange(len(merged))
    shapes = [rle['size'] for rle in rles]
    edges = read_edges(rles, shapes)
    owners = np.arange(len(merged)).repeat(edges.counts // 2)
    begins, ends = edges.positions[::2], edges.positions[1::2]
    bounds, winners = _lowest_ranks(edges.positions, ranks[owners], len(merged))

    areas = np.bincount(owners, ends - begins, len(merged))
    areas_won = np.bincount(winners, np.diff(bounds), len(merged) + 1)[ranks]
    loses = (areas_won < areas) & ~fixed
    losers = order[loses[order]].tolist()
    if not losers:
        return merged
    is_left = np.append(loses[order], False)[winners]
    pieces = is_left.nonzero()[0]
    pieces = pieces[winners[pieces].argsort(kind='stable')]
    owners, begins, ends = winners[pieces], bounds[pieces], bounds[pieces + 1]
    # Where two pieces of an object touch, there is no edge.
    joints = ((owners[1:] == owners[:-1]) & (begins[1:] == ends[:-1])).nonzero()[0]
    begins, ends = np.delete(begins, joints + 1), np.delete(ends, joints)
    counts = np.bincount(np.delete(owners, joints + 1), minlength=len(merged))
    counts = 2 * counts[ranks[losers]]
    left = Edges(np.stack([begins, ends], axis=1).ravel(), counts)
    for loser, rle in zip(losers, encode_edges(left, [shapes[i] for i in losers]), strict=True):
        merged[loser] = rle
    return merged


def _lowest_ranks(
    positions: np.ndarray, ranks: np.ndarray, nobody: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find the lowest rank of the intervals that cover each piece of a line.

    Time and memory grow with the number of intervals, however many lie over each other.

    Args:
        positions: (2 K,) int64, where each of K intervals begins and ends.
        ranks: (K,) int64.
        nobody: A number above all ranks.

    Returns:
        (P + 1,) int64 bounds of P pieces, each of which an interval covers wholly or not at all,
        and (P,) int64 the lowest rank of those that cover it, ``nobody`` where there are none.
    """
    bounds, places = np.unique(positions, return_inverse=True)
    begins, ends = places.reshape(-1, 2).T
    # An interval is two blocks of 2**level pieces, which may overlap. From the largest level down
    # blocks are cut in two, until a block is a piece.
    levels = np.frexp(ends - begins)[1] - 1
    lowest = np.full(len(bounds), nobody)
    for level in range(levels.max(initial=0), -1, -1):
        half = 2**level
        lowest[half:] = np.minimum(lowest[half:], lowest[:-half])
        own = levels == level
        np.minimum.at(lowest, begins[own], ranks[own])
        np.minimum.at(lowest, ends[own] - half, ranks[own])
    return bounds, lowest[:-1]


def _as_fixed(fixed: np.ndarray | None, count: int) -> np.ndarray:
    return np.zeros(count, dtype=bool) if fixed is None else np.asarray(fixed, dtype=bool)


def _winners_first(bboxes: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Order objects: fixed ones, then those with the smallest box."""
    # float32, as mmdet holds boxes, so that ties are the same offline and in training.
    areas = bbox_areas(np.asarray(bboxes, dtype=np.float32).reshape(-1, 4))
    return np.lexsort((areas, ~fixed))
