"""Outlines of masks, with holes cut open and parts joined for formats that have neither."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from mmboxcaseg.proxy import tight_bboxes


class Part(NamedTuple):
    """A connected part of a mask.

    Attributes:
        outer: (N, 2) float64, x and y of the corners around it.
        holes: (M, 2) arrays of the same kind, around each hole.
    """

    outer: np.ndarray
    holes: list[np.ndarray]


def mask_parts(mask: np.ndarray, first: float = 0.0, last: float = 1.0) -> list[Part]:
    """Find the outlines of a mask.

    With the defaults they run along the edges of pixels, so that pycocotools fills them to the
    very mask. OpenCV and Pillow fill the pixels of an outline too: for them it runs within pixels.

    Args:
        mask: (H, W) bool.
        first: Where in its pixel the left or upper side of the mask lies, from 0 to 1.
        last: Where in its pixel the right or lower side lies.

    Returns:
        The parts, which are 8-connected.

    Example:
        >>> (part,) = mask_parts(np.array([[False, True, True]]))
        >>> part.outer.tolist()
        [[1.0, 0.0], [1.0, 1.0], [3.0, 1.0], [3.0, 0.0]]
    """
    left, top, right, bottom = tight_bboxes(mask[None])[0]
    # Of twice the size: each corner of a pixel has a pixel of its own there.
    double = mask[top:bottom, left:right].repeat(2, axis=0).repeat(2, axis=1).view(np.uint8)
    if not double.size:
        return []
    contours, hierarchy = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)

    def corners(contour: np.ndarray) -> np.ndarray:
        pixels, is_last = np.divmod(contour[:, 0], 2)
        return _without_needless(pixels + np.where(is_last, last, first) + (left, top))

    parts = {
        index: Part(corners(contours[index]), [])
        for index, (*_, parent) in enumerate(hierarchy[0])
        if parent < 0
    }
    for contour, (*_, parent) in zip(contours, hierarchy[0], strict=True):
        if parent >= 0:
            parts[parent].holes.append(corners(contour))
    return list(parts.values())


def join(outlines: list[np.ndarray]) -> np.ndarray:
    """Join outlines to one, by cuts without width there and back between their nearest corners.

    Joined with a hole, an outline leaves it out; with another part, it goes on around that.

    Args:
        outlines: (N, 2) arrays of corners, the first of them the one to begin with.

    Returns:
        (N, 2) corners of the one outline.

    Example:
        >>> square = np.array([[0, 0], [0, 9], [9, 9], [9, 0]])
        >>> join([square, np.array([[2, 1], [3, 1], [3, 2]])]).tolist()
        [[0, 0], [2, 1], [3, 1], [3, 2], [2, 1], [0, 0], [0, 9], [9, 9], [9, 0]]
    """
    joined, *others = outlines
    # Each other one's nearest corner of what is joined: the nearest of all comes next, so that no
    # cut crosses an outline.
    bridges = [_nearest(joined, other) for other in others]
    while others:
        place = min(range(len(others)), key=lambda index: bridges[index][0])
        other, (_, here, there) = others.pop(place), bridges.pop(place)
        start = (joined == here).all(axis=1).nonzero()[0][0]
        turned = np.roll(other, -there, axis=0)
        around = np.concatenate([turned, turned[:1]])
        joined = np.concatenate([joined[: start + 1], around, joined[start:]])
        for index, rest in enumerate(others):
            bridges[index] = min(bridges[index], _nearest(turned, rest), key=lambda b: b[0])
    return joined


def simplify(outline: np.ndarray, tolerance: float) -> np.ndarray:
    """Leave out corners as long as the outline moves by no more than a tolerance, in pixels.

    Example:
        >>> simplify(np.array([[0.0, 0], [4, 1], [9, 0], [9, 9]]), 1.5).tolist()
        [[0.0, 0.0], [9.0, 0.0], [9.0, 9.0]]
    """
    simple = cv2.approxPolyDP(outline.astype(np.float32), tolerance, closed=True)[:, 0]
    return simple.astype(np.float64) if len(simple) > 2 else outline


def _nearest(outline: np.ndarray, other: np.ndarray) -> tuple[float, np.ndarray, int]:
    """Their distance, the corner of the first one, and the number of the second one's."""
    best = (np.inf, outline[0], 0)
    for start in range(0, len(outline), 512):  # all at once take too much memory
        squares = ((outline[start : start + 512, None] - other[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(squares.argmin(), squares.shape)
        best = min(best, (squares[here, there], outline[start + here], there), key=lambda b: b[0])
    return best


def _without_needless(corners: np.ndarray) -> np.ndarray:
    """Leave out corners that stand twice or lie on a straight line, but leave three."""
    apart = (corners != np.roll(corners, 1, axis=0)).any(axis=1)
    corners = corners[apart] if apart.any() else corners[:1]
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    back = (before * after).sum(axis=1) < 0
    corners = corners[turns | back] if len(corners) > 1 else corners
    return np.pad(corners, ((0, max(3 - len(corners), 0)), (0, 0)), mode='edge')
