"""Raw masks without a network: the filled box, the ellipse in it, and GrabCut.

They are what a learned mask has to beat, and go the same way as one: merge, agreement, drop.
"""

from __future__ import annotations

import cv2
import numpy as np

from .boxes import pixel_bboxes


def box_mask(bbox: np.ndarray, img_shape: tuple[int, int]) -> np.ndarray:
    """Fill a box.

    Args:
        bbox: (4,) box xyxy in image pixels.
        img_shape: (height, width) of the image.

    Returns:
        (height, width) bool; true in the pixel box.

    Example:
        >>> box_mask(np.array([1, 0, 3, 1]), (2, 4)).astype(int)
        array([[0, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    mask = np.zeros(img_shape, dtype=bool)
    x1, y1, x2, y2 = pixel_bboxes(bbox, img_shape)[0]
    mask[y1:y2, x1:x2] = True
    return mask


def ellipse_mask(bbox: np.ndarray, img_shape: tuple[int, int]) -> np.ndarray:
    """Fill the ellipse that touches the four sides of the pixel box.

    Args:
        bbox: (4,) box xyxy in image pixels.
        img_shape: (height, width) of the image.

    Returns:
        (height, width) bool; true for the pixels whose centre lies in the ellipse, never empty.

    Example:
        >>> ellipse_mask(np.array([0, 0, 4, 4]), (4, 4)).astype(int)
        array([[0, 1, 1, 0],
               [1, 1, 1, 1],
               [1, 1, 1, 1],
               [0, 1, 1, 0]])
    """
    mask = np.zeros(img_shape, dtype=bool)
    x1, y1, x2, y2 = pixel_bboxes(bbox, img_shape)[0]
    # Centres of the pixels, the box from -1 to 1.
    x = (2 * np.arange(x1, x2) + 1 - x1 - x2) / (x2 - x1)
    y = (2 * np.arange(y1, y2) + 1 - y1 - y2) / (y2 - y1)
    mask[y1:y2, x1:x2] = x**2 + y[:, None] ** 2 <= 1
    return mask


def grabcut_mask(
    image: np.ndarray, bbox: np.ndarray, iterations: int = 5, context: float = 0.25
) -> np.ndarray:
    """Separate the object in a box from its surroundings by colour (GrabCut, Rother et al. 2004).

    OpenCV's GrabCut starts from the pixel box as probable object and from what lies around it as
    ground, in the box grown by ``context``. Where it fails, the filled box is the mask: where there
    is no surrounding, as in a box that fills the image, and where no object pixel is left, as is
    common in small boxes. OpenCV's random numbers are seeded anew each time, so that the mask
    depends on nothing but the arguments.

    Args:
        image: (H, W, 3) uint8.
        bbox: (4,) box xyxy in image pixels.
        iterations: How often the colour models are estimated.
        context: By how much of its width and height the box is grown on each side.

    Returns:
        (H, W) bool; false outside the pixel box, never empty.

    Example:
        >>> image = np.zeros((20, 20, 3), dtype=np.uint8)
        >>> image[6:14, 6:14] = 255
        >>> grabcut_mask(image, np.array([4, 4, 16, 16])).sum()
        np.int64(64)
    """
    height, width = image.shape[:2]
    x1, y1, x2, y2 = pixel_bboxes(bbox, (height, width))[0]
    grow_x, grow_y = round(context * (x2 - x1)), round(context * (y2 - y1))
    left, top = max(x1 - grow_x, 0), max(y1 - grow_y, 0)
    window = np.s_[top : min(y2 + grow_y, height), left : min(x2 + grow_x, width)]

    labels = np.full((height, width), cv2.GC_BGD, dtype=np.uint8)
    labels[y1:y2, x1:x2] = cv2.GC_PR_FGD
    labels = labels[window].copy()
    # Without ground pixels OpenCV raises an error.
    if (labels == cv2.GC_BGD).any():
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(image[window], labels, None, *models, iterations, cv2.GC_INIT_WITH_MASK)
    mask = np.zeros((height, width), dtype=bool)
    mask[window] = labels == cv2.GC_PR_FGD
    return mask if mask.any() else box_mask(bbox, (height, width))
