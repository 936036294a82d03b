"""From a patch's probability map to a mask in the image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .boxes import pixel_bboxes
from .quality import BEST, best_threshold
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


def threshold_probability(
    prob: np.ndarray, size: tuple[int, int], threshold: float | str = 0.5
) -> np.ndarray:
    """Turn a probability map into a mask of another size.

    The map is normalised per instance, resized bilinearly and thresholded.

    Args:
        prob: (h, w) float probabilities.
        size: (width, height) of the mask.
        threshold: A pixel belongs to the mask when its value is above it. The paper has 0.5;
            ``'best'`` takes that of :func:`best_threshold`.

    Returns:
        (height, width) bool.

    Example:
        >>> threshold_probability(np.array([[0.2, 0.9]]), (4, 1)).tolist()
        [[False, False, True, True]]
    """
    prob = np.ascontiguousarray(prob, dtype=np.float32)
    if threshold == BEST:
        threshold = best_threshold(prob)
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


def paste_probability(
    prob: np.ndarray,
    bbox: np.ndarray,
    img_shape: tuple[int, int],
    threshold: float | str = 0.5,
) -> np.ndarray:
    """Turn the probability map of a box into a mask of the image.

    Args:
        prob: (h, w) float probabilities of the patch cropped at ``bbox``.
        bbox: (4,) box xyxy in image pixels.
        img_shape: (height, width) of the image.
        threshold: See :func:`threshold_probability`.

    Returns:
        (height, width) bool; false outside the pixel box.

    Example:
        >>> paste_probability(np.array([[0.2, 0.9]]), np.array([1, 0, 3, 1]), (2, 4)).astype(int)
        array([[0, 0, 1, 0],
               [0, 0, 0, 0]])
    """
    x1, y1, x2, y2 = pixel_bboxes(bbox, img_shape)[0].tolist()
    mask = np.zeros(img_shape, dtype=bool)
    mask[y1:y2, x1:x2] = threshold_probability(prob, (x2 - x1, y2 - y1), threshold)
    return mask


def probability_edges(
    probs: Sequence[np.ndarray],
    bboxes: np.ndarray,
    img_shapes: Sequence[tuple[int, int]],
    threshold: float | str = 0.5,
) -> Edges:
    """Find the edges of the masks that :func:`paste_probability` gives.

    Args:
        probs: N maps (h, w) float of the patches cropped at ``bboxes``.
        bboxes: (N, 4) boxes xyxy in image pixels.
        img_shapes: N (height, width) of their images.
        threshold: See :func:`threshold_probability`.

    Returns:
        The edges of the N masks.

    Example:
        >>> probs, bboxes = [np.array([[0.2, 0.9]])], np.array([[1, 0, 3, 1]])
        >>> edges = probability_edges(probs, bboxes, [(2, 4)])
        >>> edges.positions.tolist(), edges.counts.tolist()
        ([4, 5], [2])
    """
    pixels = pixel_bboxes(bboxes, img_shapes)
    windows = [
        threshold_probability(prob, (x2 - x1, y2 - y1), threshold)
        for prob, (x1, y1, x2, y2) in zip(probs, pixels.tolist(), strict=True)
    ]
    return window_edges(windows, pixels[:, :2], img_shapes)


def probability_rles(
    probs: Sequence[np.ndarray],
    bboxes: np.ndarray,
    img_shape: tuple[int, int],
    threshold: float | str = 0.5,
) -> list[dict]:
    """Encode an image's masks that :func:`paste_probability` gives, as :func:`encode_rle` does.

    Args:
        probs: N maps (h, w) float of the patches cropped at ``bboxes``.
        bboxes: (N, 4) boxes xyxy in image pixels.
        img_shape: (height, width) of the image.
        threshold: See :func:`threshold_probability`.

    Returns:
        N RLEs.

    Example:
        >>> probability_rles([np.array([[0.2, 0.9]])], np.array([[1, 0, 3, 1]]), (2, 4))
        [{'size': [2, 4], 'counts': '413'}]
    """
    if not len(probs):
        return []
    shapes = [img_shape] * len(probs)
    return encode_edges(probability_edges(probs, bboxes, shapes, threshold), shapes)
