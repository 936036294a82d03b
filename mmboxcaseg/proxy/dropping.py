"""Dropping via proxy box agreement (Sec. 3.4): the box stays, its mask teaches nothing.

That a mask is dropped is written in its pixels. The value travels with the box through every
transform that crops, filters, flips, resizes or mixes instances; an array beside the masks would
fall out of step with them.
"""

from __future__ import annotations

import numpy as np

from .boxes import pixel_bboxes

#: Value of the pixels of a dropped mask. It is far from 1, so that transforms that interpolate
#: masks do not turn the rim of a dropped mask into a kept one.
DROPPED = 255

#: Value of the pixels of a mask that are neither object nor ground, and teach nothing. It is far
#: from 0 and 1 as well: what interpolation makes of it at its rim is ignored too.
IGNORED = 128


def drop_masks(
    masks: np.ndarray,
    bboxes: np.ndarray,
    scores: np.ndarray,
    min_score: float,
) -> np.ndarray:
    """Replace the masks of low score by their boxes, filled with :data:`DROPPED`.

    Args:
        masks: (N, H, W) bool or uint8 masks.
        bboxes: (N, 4) ground-truth boxes xyxy in image pixels.
        scores: (N,) proxy box agreement of the masks, or another measure such as their quality.
        min_score: A mask is dropped unless its score is above this.

    Returns:
        (N, H, W) uint8 masks; masks that are kept are as they were.

    Example:
        >>> masks = np.array([[[1, 1, 0]], [[0, 1, 0]]])
        >>> bboxes = np.array([[0, 0, 2, 1], [0, 0, 3, 1]])
        >>> drop_masks(masks, bboxes, np.array([1, 0.3]), 0.95).tolist()
        [[[1, 1, 0]], [[255, 255, 255]]]
    """
    dropped = masks.astype(np.uint8)
    pixels = pixel_bboxes(bboxes, masks.shape[1:])
    for index in np.flatnonzero(~(np.asarray(scores) > min_score)):
        x1, y1, x2, y2 = pixels[index]
        dropped[index] = 0
        dropped[index, y1:y2, x1:x2] = DROPPED
    return dropped


def is_kept(masks: np.ndarray) -> np.ndarray:
    """Tell which masks teach the mask head.

    Args:
        masks: (N, H, W) uint8 masks, some of them dropped.

    Returns:
        (N,) bool; false for dropped masks and for those without an object pixel.

    Example:
        >>> masks = np.array([[[1, 0]], [[255, 255]], [[0, 0]], [[1, 128]]], dtype=np.uint8)
        >>> is_kept(masks).tolist()
        [True, False, False, True]
    """
    top = masks.max(axis=(1, 2), initial=0)
    kept = top == 1
    partly = np.flatnonzero(top == IGNORED)
    kept[partly] = (masks[partly] == 1).any(axis=(1, 2))
    return kept
