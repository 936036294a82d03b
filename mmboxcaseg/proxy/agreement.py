"""The proxy box agreement (Sec. 3.4)."""

from __future__ import annotations

import numpy as np

from .boxes import bbox_iou, inclusive_bboxes, pixel_bboxes, tight_bboxes


def box_agreement(
    masks: np.ndarray, bboxes: np.ndarray, inclusive_boxes: bool = False
) -> np.ndarray:
    """IoU of each mask's tight box with its ground-truth box.

    The paper does not say which pixels a box holds. By default the ground-truth box is measured on
    the pixel grid (:func:`pixel_bboxes`), so that a mask that fills its box agrees by exactly 1.

    It takes boxes to be tight. Of boxes drawn loosely it says how loose they are, not how good
    their masks are, most of all where masks may leave them by a slack: keep masks by their quality
    (:func:`expected_iou`) then, and look for boxes to be corrected where the quality is high and
    the agreement low.

    Args:
        masks: (N, H, W) bool or uint8.
        bboxes: (N, 4) ground-truth boxes xyxy in image pixels.
        inclusive_boxes: Whether x2 and y2 belong to the ground-truth box (:func:`inclusive_bboxes`,
            the released code). A mask that fills a box of w x h pixels then agrees by
            wh / ((w + 1) (h + 1)) only: no square of less than 39 x 39 pixels comes above 0.95.

    Returns:
        (N,) float64 in [0, 1]; 0 for an empty mask.

    Example:
        >>> masks = np.array([[[1, 1, 0, 0]], [[0, 0, 0, 0]]])
        >>> box_agreement(masks, np.array([[0, 0, 4, 1], [0, 0, 4, 1]])).tolist()
        [0.5, 0.0]
    """
    return tight_bbox_agreement(tight_bboxes(masks), bboxes, masks.shape[1:], inclusive_boxes)


def tight_bbox_agreement(
    tight: np.ndarray,
    bboxes: np.ndarray,
    img_shape: tuple[int, int],
    inclusive_boxes: bool = False,
) -> np.ndarray:
    """Measure :func:`box_agreement` where the masks' tight boxes are known.

    Args:
        tight: (N, 4) boxes xyxy, x2 and y2 exclusive, zeros for an empty mask.
        bboxes: (N, 4) ground-truth boxes xyxy in image pixels.
        img_shape: (height, width) of the image.
        inclusive_boxes: As in :func:`box_agreement`.

    Returns:
        (N,) float64 in [0, 1].

    Example:
        >>> tight, bboxes = np.array([[0, 0, 2, 1]]), np.array([[0, 0, 4, 1]])
        >>> tight_bbox_agreement(tight, bboxes, (1, 4)).tolist()
        [0.5]
        >>> tight_bbox_agreement(tight, bboxes, (1, 4), inclusive_boxes=True).tolist()
        [0.2]
    """
    if inclusive_boxes:
        return bbox_iou(tight, inclusive_bboxes(bboxes))
    return bbox_iou(tight, pixel_bboxes(bboxes, img_shape))
