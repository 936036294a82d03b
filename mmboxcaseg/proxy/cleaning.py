"""Removal of stray fragments and filling of pinholes, by connected components."""

from __future__ import annotations

import cv2
import numpy as np

from .boxes import pixel_bboxes, tight_bboxes


def clean_mask(
    mask: np.ndarray, bbox: np.ndarray, min_part: float = 0.0, max_hole: float = 0.0
) -> np.ndarray:
    """Remove small parts of a mask and fill small holes in it.

    The largest part always stays. Parts are 8-connected and holes 4-connected, so that a hole does
    not leak through a diagonal. What reaches the border of the image is no hole.

    Args:
        mask: (H, W) bool.
        bbox: (4,) its box, xyxy in pixels.
        min_part: Parts of less than this share of the box's pixels go; 0 keeps all.
        max_hole: Holes of at most this share of the box's pixels are filled; 0 fills none.

    Returns:
        (H, W) bool.

    Example:
        >>> mask = np.array([[1, 1, 1, 0, 1], [1, 0, 1, 0, 0], [1, 1, 1, 0, 0]], dtype=bool)
        >>> clean_mask(mask, [0, 0, 5, 3], min_part=0.1, max_hole=0.1).astype(int)
        array([[1, 1, 1, 0, 0],
               [1, 1, 1, 0, 0],
               [1, 1, 1, 0, 0]])
    """
    left, top, right, bottom = tight_bboxes(mask[None])[0].tolist()
    if left == right:
        return mask
    x1, y1, x2, y2 = pixel_bboxes(bbox, mask.shape)[0].tolist()
    pixels = (x2 - x1) * (y2 - y1)
    cleaned = mask.copy()
    # Holes lie inside the tight box; around it is ground, so that what is open joins it.
    window = np.pad(mask[top:bottom, left:right], 1).astype(np.uint8)
    if min_part:
        _, labels, stats, _ = cv2.connectedComponentsWithStats(window, connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA]
        stays = areas >= min_part * pixels
        stays[1 + areas[1:].argmax()] = True
        stays[0] = False
        window = stays[labels].view(np.uint8)
    if max_hole:
        _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - window, connectivity=4)
        goes = stats[:, cv2.CC_STAT_AREA] <= max_hole * pixels
        goes[[0, labels[0, 0]]] = False
        window = window | goes[labels].view(np.uint8)
    cleaned[top:bottom, left:right] = window[1:-1, 1:-1]
    return cleaned
