"""De-noised masks and ignored pixels, after Simple Does It (Khoreva et al., CVPR 2017)."""

from __future__ import annotations

import numpy as np

from .boxes import pixel_bboxes
from .dropping import IGNORED


def denoise_masks(masks: np.ndarray, bboxes: np.ndarray, min_iou: float = 0.5) -> np.ndarray:
    """Correct masks by what their boxes say: nothing of an object is outside, and most is inside.

    What lies outside of its box is cut off. A mask that then has too little of its box becomes the
    filled box. In Simple Does It a DenseCRF follows, which is not here.

    Args:
        masks: (N, H, W) bool or uint8 masks.
        bboxes: (N, 4) ground-truth boxes xyxy in image pixels.
        min_iou: Least IoU of a mask with its filled box, in [0, 1].

    Returns:
        (N, H, W) uint8 masks.

    Example:
        >>> masks = np.array([[[1, 1, 1, 0]], [[0, 1, 0, 0]]])
        >>> denoise_masks(masks, np.array([[0, 0, 2, 1], [0, 0, 3, 1]])).tolist()
        [[[1, 1, 0, 0]], [[1, 1, 1, 0]]]
    """
    denoised = np.zeros(masks.shape, dtype=np.uint8)
    for index, (x1, y1, x2, y2) in enumerate(pixel_bboxes(bboxes, masks.shape[1:])):
        inside = np.s_[index, y1:y2, x1:x2]
        denoised[inside] = masks[inside]
        # A mask in its box has the share of the box's pixels as its IoU with it.
        if denoised[inside].mean() < min_iou:
            denoised[inside] = 1
    return denoised


def ignore_disagreement(masks: np.ndarray, bboxes: np.ndarray) -> np.ndarray:
    """Leave out of masks where they and their boxes disagree.

    What both take for object stays object, what both take for ground stays ground. Pixels of the
    box that are not of its mask are ignored.

    Args:
        masks: (N, H, W) bool or uint8 masks, each in its box.
        bboxes: (N, 4) ground-truth boxes xyxy in image pixels.

    Returns:
        (N, H, W) uint8 masks, some of whose pixels are :data:`IGNORED`.

    Example:
        >>> ignore_disagreement(np.array([[[0, 1, 0, 0]]]), np.array([[0, 0, 3, 1]])).tolist()
        [[[128, 1, 128, 0]]]
    """
    masks = masks.astype(np.uint8)
    for index, (x1, y1, x2, y2) in enumerate(pixel_bboxes(bboxes, masks.shape[1:])):
        inside = masks[index, y1:y2, x1:x2]
        inside[inside == 0] = IGNORED
    return masks
