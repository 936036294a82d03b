"""The proxy box agreement (Sec. 3.4)."""

from __future__ import annotations

import numpy as np

from .boxes import bbox_iou, pixel_bboxes, tight_bboxes


def box_agreement(masks: np.ndarray, bboxes: np.ndarray) -> np.ndarray:
    """IoU of each mask's tight box with its ground-truth box.

    The ground-truth box is measured on the pixel grid, so that a mask that fills its box agrees
    by exactly 1.

    Args:
        masks: (N, H, W) bool or uint8.
        bboxes: (N, 4) ground-truth boxes xyxy in image pixels.

    Returns:
        (N,) float64 in [0, 1]; 0 for an empty mask.
    """
    return bbox_iou(tight_bboxes(masks), pixel_bboxes(bboxes, masks.shape[1:]))
