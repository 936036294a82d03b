"""How good a mask probably is, told by the map that it was made from."""

from __future__ import annotations

import numpy as np


def expected_iou(probs: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Expect the IoU of each map's mask with its object from the map's own probabilities.

    If every pixel of a box were object by its probability ``p``, a mask ``m`` would share
    ``sum(p m)`` pixels with the object on average, and cover ``sum(m) + sum(p (1 - m))`` together
    with it: their quotient. Beside the box agreement of the paper, which looks at the outline
    alone, this sees what the network is unsure of inside it.

    Args:
        probs: (N, h, w) float probabilities of the patches cropped at boxes, not normalised.
        threshold: As in :func:`threshold_probability`: the mask is where the normalised map is
            above it.

    Returns:
        (N,) float64 in [0, 1]; 0 for an empty mask.
    """
    low, high = probs.min(axis=(1, 2), keepdims=True), probs.max(axis=(1, 2), keepdims=True)
    # A flat map is not normalised, as in normalize_probability.
    start, stretch = np.where(high > low, low, 0), np.where(high > low, high - low, 1)
    masks = (probs - start) / stretch > threshold
    common = np.where(masks, probs, 0).sum(axis=(1, 2), dtype=np.float64)
    total = probs.sum(axis=(1, 2), dtype=np.float64)
    union = masks.sum(axis=(1, 2)) + total - common
    return np.divide(common, union, out=np.zeros(len(probs)), where=union > 0)
