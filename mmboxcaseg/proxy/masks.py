"""From a patch's probability map to a mask in the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mmboxcaseg.errors import InputError

from .boxes import mask_windows
from .quality import BEST, TIGHT, best_threshold
from .rle import Edges, encode_edges, window_edges

# Rounding of float32 between a probability and its normalised and resized value, generously.
_ROUNDING = 1e-6


def normalize_probability(prob: np.ndarray) -> np.ndarray:
    """Stretch an instance's probability map to [0, 1].

    Args:
        prob: (h, w) float.

    Returns:
        (h, w) float; a flat map has nothing to stretch and comes back as it is.

    Example:
        >>> normalize_probability(np.array([[0.25, 0.5, 0.75]])).tolist()
        [[0.0, 0.5, 1.0]]
    """
    low, high = prob.min(), prob.max()
    return (prob - low) / (high - low) if high > low else prob


def threshold_probability(prob: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Turn a probability map into a mask of another size.

    The map is normalised per instance, resized bilinearly and thresholded.

    Args:
        prob: (h, w) float probabilities.
        size: (width, height) of the mask.
        threshold: A pixel belongs to the mask when its value is above it. The paper has 0.5.

    Returns:
        (height, width) bool.

    Example:
        >>> threshold_probability(np.array([[0.2, 0.4]]), size=(4, 1), threshold=0.3).tolist()
        [[False, False, True, True]]
    """
    prob = np.ascontiguousarray(prob, dtype=np.float32)
    low, high, _, _ = cv2.minMaxLoc(prob)
    if high > low:
        # Resized first, there is less to normalise, and only the threshold has to be. Where
        # rounding could tell the two ways apart, the slower one decides.
        level = low + threshold * (high - low)
        margin = _ROUNDING * (high - low + max(abs(low), abs(high)))
        values = cv2.resize(prob, size, interpolation=cv2.INTER_LINEAR)
        mask = values > level + margin
        if np.count_nonzero(values >= level - margin) == np.count_nonzero(mask):
            return mask
    values = normalize_probability(prob)
    return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR) > threshold


def check_map(prob: np.ndarray, bbox: np.ndarray) -> None:
    """Check the probability map of a box.

    Args:
        prob: (h, w) float.
        bbox: (4,) its box xyxy, for the message.

    Raises:
        InputError: If a probability is not a finite number.

    Example:
        >>> check_map(np.array([[0.5, np.nan]]), [3, 1, 6, 2])  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        mmboxcaseg.errors.InputError: the network gives no numbers for the box [3, 1, 6, 2]: ...
    """
    if not np.isfinite(prob).all():
        raise InputError(
            f'the network gives no numbers for the box {np.asarray(bbox).tolist()}: its weights '
            'or the statistics of its norms are broken, take another checkpoint'
        )


class BoxMask(NamedTuple):
    """A mask that lies in its box, or in its box grown by the slack.

    Attributes:
        window: (h, w) bool, the pixels of :func:`mask_windows`.
        corner: x and y of the first of them in the image.
        threshold: Of the normalised map, above which a pixel belongs to the mask.
    """

    window: np.ndarray
    corner: tuple[int, int]
    threshold: float


def mask_of(
    prob: np.ndarray,
    bbox: np.ndarray,
    img_shape: tuple[int, int],
    threshold: float | str,
    slack: float = 0.0,
) -> BoxMask:
    """Turn the probability map of a box into a mask.

    Whoever wants a mask of a map gets it here; how good it probably is, :func:`expected_iou` tells
    by the same threshold.

    Args:
        prob: (h, w) float probabilities of the part of the image that :func:`mask_windows` gives.
        bbox: (4,) box xyxy in image pixels.
        img_shape: (height, width) of the image.
        threshold: See :func:`threshold_probability`; ``'best'`` for that of
            :func:`best_threshold`, ``'tight'`` for that of a tight mask unless there is a slack.
        slack: See :func:`mask_windows`; with 0 the mask ends at its box.

    Returns:
        The mask.

    Raises:
        InputError: If a probability is not a finite number.

    Example:
        >>> mask = mask_of(np.float32([[0.2, 0.4, 0.8]]), [3, 1, 6, 2], (4, 6), threshold=0.5)
        >>> mask.window.tolist(), mask.corner
        ([[False, False, True]], (3, 1))
    """
    check_map(prob, bbox)
    if threshold in (BEST, TIGHT):
        threshold = best_threshold(prob, tight=threshold == TIGHT and not slack)
    x1, y1, x2, y2 = mask_windows(bbox, img_shape, slack)[0].tolist()
    window = threshold_probability(prob, (x2 - x1, y2 - y1), threshold)
    return BoxMask(window, (x1, y1), threshold)


def mask_edges(masks: Sequence[BoxMask], img_shapes: Sequence[tuple[int, int]]) -> Edges:
    """Find the edges of masks, to encode or to compare them.

    Args:
        masks: N of :func:`mask_of`.
        img_shapes: N (height, width) of their images.

    Returns:
        The edges of the N masks.

    Example:
        >>> masks = [mask_of(np.array([[0.2, 0.9]]), [1, 0, 3, 1], (2, 4), threshold=0.5)]
        >>> edges = mask_edges(masks, [(2, 4)])
        >>> edges.positions.tolist(), edges.counts.tolist()
        ([4, 5], [2])
    """
    return window_edges([m.window for m in masks], [m.corner for m in masks], img_shapes)


def mask_rles(masks: Sequence[BoxMask], img_shapes: Sequence[tuple[int, int]]) -> list[dict]:
    """Encode masks as :func:`encode_rle` does; arguments as in :func:`mask_edges`.

    Returns:
        N RLEs.

    Example:
        >>> mask = mask_of(np.ones((2, 2)), [1, 0, 2, 3], (4, 2), threshold=0.5)
        >>> mask_rles([mask], [(4, 2)])
        [{'size': [4, 2], 'counts': '431'}]
    """
    return encode_edges(mask_edges(masks, img_shapes), img_shapes) if masks else []
