"""Merging via smaller object better (Sec. 3.4)."""

from __future__ import annotations

import numpy as np

from .boxes import bbox_areas, tight_bboxes


def merge_masks(masks: np.ndarray, bboxes: np.ndarray) -> np.ndarray:
    """Give every pixel that several masks claim to the object with the smallest box.

    A pixel belongs to one object only, and the smaller one usually lies inside the larger one's
    box. The area is that of the ground-truth box; among equals the earlier object wins.

    Args:
        masks: (N, H, W) bool or uint8 masks of one image's objects.
        bboxes: (N, 4) their ground-truth boxes xyxy.

    Returns:
        (N, H, W) bool masks, no two of which share a pixel.
    """
    merged = np.zeros(masks.shape, dtype=bool)
    taken = np.zeros(masks.shape[1:], dtype=bool)
    # float32, as mmdet holds boxes, so that ties are the same offline and in training.
    areas = bbox_areas(np.asarray(bboxes, dtype=np.float32).reshape(-1, 4))
    windows = tight_bboxes(masks)
    for index in np.argsort(areas, kind='stable'):
        x1, y1, x2, y2 = windows[index]
        window = np.s_[y1:y2, x1:x2]
        own = masks[index][window].astype(bool) & ~taken[window]
        merged[index][window] = own
        taken[window] |= own
    return merged
