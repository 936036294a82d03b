"""What makes a mask look wrong, whatever its quality says."""

from __future__ import annotations

import cv2
import numpy as np

from .boxes import pixel_bboxes, tight_bboxes

#: What :func:`mask_flaws` tells, each with what it says of a mask.
FLAWS = {
    'empty': 'The mask has no pixel.',
    'fills its box': 'The mask covers 95% of its box or more: it may be the box itself.',
    'fragments': 'More than a tenth of the mask lies apart from its largest part.',
    'at the border': 'The mask touches the border of the image.',
}

_FILLED, _LARGEST_PART = 0.95, 0.9


def mask_flaws(mask: np.ndarray, bbox: np.ndarray) -> list[str]:
    """Tell in what ways a mask looks suspicious.

    None of them is proof: a screen does fill its box.

    Args:
        mask: (H, W) bool.
        bbox: (4,) its box, xyxy in pixels.

    Returns:
        Some of the names in :data:`FLAWS`, in its order. Parts are 8-connected.

    Example:
        >>> mask_flaws(np.array([[False, True, False]]), [1, 0, 2, 1])
        ['fills its box', 'at the border']
        >>> mask_flaws(np.array([[True, False, True]]), [0, 0, 3, 1])
        ['fragments', 'at the border']
    """
    left, top, right, bottom = tight_bboxes(mask[None])[0]
    tight = mask[top:bottom, left:right]
    if not tight.size:
        return ['empty']
    x1, y1, x2, y2 = pixel_bboxes(bbox, mask.shape)[0]
    _, _, parts, _ = cv2.connectedComponentsWithStats(tight.astype(np.uint8), connectivity=8)
    found = {
        'fills its box': mask[y1:y2, x1:x2].mean() >= _FILLED,
        'fragments': parts[1:, cv2.CC_STAT_AREA].max() < _LARGEST_PART * tight.sum(),
        'at the border': min(left, top) == 0 or bottom == mask.shape[0] or right == mask.shape[1],
    }
    return [name for name, is_so in found.items() if is_so]
