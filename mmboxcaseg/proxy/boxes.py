"""Boxes on the pixel grid and how much they overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pixel_bboxes(
    bboxes: np.ndarray, img_shape: tuple[int, int] | Sequence[tuple[int, int]]
) -> np.ndarray:
    """Put boxes on the pixel grid, the one on which patches are cropped and masks are pasted.

    Edges go to the nearest pixel edge (halves up) and into the image; a box is at least one
    pixel wide and high. Edges are read as float32, which is what mmdet holds them in, so that a
    box lands on the same pixels offline and in training.

    Args:
        bboxes: (N, 4) boxes xyxy in pixels.
        img_shape: (height, width) of the image, or of each box's image N of them.

    Returns:
        (N, 4) int64 boxes xyxy, x2 and y2 exclusive.

    Example:
        >>> pixel_bboxes(np.array([[1.4, 0.5, 3.6, 9]]), (4, 6)).tolist()
        [[1, 1, 4, 4]]
    """
    edges = np.asarray(bboxes, dtype=np.float32).reshape(-1, 4).astype(np.float64)
    pixels = np.floor(edges + 0.5).astype(np.int64)
    limit = np.asarray(img_shape, dtype=np.int64).reshape(-1, 2)[:, ::-1]
    start, stop = pixels[:, :2], pixels[:, 2:]
    np.minimum(np.maximum(start, 0, out=start), limit - 1, out=start)
    np.maximum(np.minimum(stop, limit, out=stop), start + 1, out=stop)
    return pixels


def grow_bboxes(pixels: np.ndarray, share: float) -> np.ndarray:
    """Grow boxes on the pixel grid, by whole pixels.

    Args:
        pixels: (N, 4) int boxes xyxy of :func:`pixel_bboxes`.
        share: How far an edge moves outwards, as a part of the box's width or height; halves of a
            pixel up.

    Returns:
        (N, 4) int64 boxes xyxy, which may leave the image.

    Example:
        >>> grow_bboxes(np.array([[10, 10, 20, 13]]), 0.25).tolist()
        [[7, 9, 23, 14]]
    """
    grown = np.floor(share * (pixels[:, 2:] - pixels[:, :2]) + 0.5).astype(np.int64)
    return np.concatenate([pixels[:, :2] - grown, pixels[:, 2:] + grown], axis=1)


def mask_windows(
    bboxes: np.ndarray,
    img_shape: tuple[int, int] | Sequence[tuple[int, int]],
    slack: float = 0.0,
) -> np.ndarray:
    """Find where the masks of boxes may lie: the window that a map is of, and a mask is put into.

    Args:
        bboxes: (N, 4) boxes xyxy in pixels.
        img_shape: As in :func:`pixel_bboxes`.
        slack: How far a mask may leave its box on each side, as a part of the box's width and
            height. A margin of at least as much shows all of the window.

    Returns:
        (N, 4) int64 windows xyxy: the boxes on the pixel grid, grown by the slack and cut at the
        image's border.

    Example:
        >>> mask_windows([[2, 10, 12, 14.2]], (16, 20), slack=0.25).tolist()
        [[0, 9, 15, 15]]
    """
    pixels = pixel_bboxes(bboxes, img_shape)
    if not slack:  # boxes on the pixel grid lie in their images
        return pixels
    return np.clip(grow_bboxes(pixels, slack), 0, np.tile(np.asarray(img_shape)[..., ::-1], 2))


def bboxes_in_window(bboxes: np.ndarray, window: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Map boxes from image pixels to the pixels of a window's patch.

    Args:
        bboxes: (N, 4), xyxy, image pixels.
        window: (4,), xyxy, image pixels.
        size: Height and width of the patch.

    Returns:
        (N, 4) float, xyxy; boxes may leave the patch.

    Example:
        >>> bboxes_in_window([[4, 2, 8, 6]], [2, 2, 12, 7], size=(10, 20)).tolist()
        [[4.0, 0.0, 12.0, 8.0]]
    """
    window = np.asarray(window, dtype=np.float64)
    factor = np.asarray(size[::-1]) / (window[2:] - window[:2])
    return ((np.reshape(bboxes, (-1, 2, 2)) - window[:2]) * factor).reshape(-1, 4)


def inclusive_bboxes(bboxes: np.ndarray) -> np.ndarray:
    """Read boxes as the released code reads ground-truth boxes when it measures the agreement.

    Corner, width and height are cut to whole pixels; the last pixel is then corner plus size, and
    belongs to the box, which makes the box one pixel wider and higher. It may leave the image.

    Args:
        bboxes: (N, 4) boxes xyxy in pixels.

    Returns:
        (N, 4) int64 boxes xyxy, x2 and y2 exclusive.

    Example:
        >>> inclusive_bboxes(np.array([[1.4, 0.5, 3.6, 9]])).tolist()
        [[1, 0, 4, 9]]
    """
    bboxes = np.asarray(bboxes, dtype=np.float32).reshape(-1, 4).astype(np.float64)
    # A size of 3 read off float32 edges may be 2.9999998, which must not be cut to 2.
    sizes = np.round(bboxes[:, 2:] - bboxes[:, :2], 3)
    start = np.trunc(bboxes[:, :2])
    return np.concatenate([start, start + np.trunc(sizes) + 1], axis=1).astype(np.int64)


def tight_bboxes(masks: np.ndarray) -> np.ndarray:
    """Find the smallest box around each mask, the proxy box of Sec. 3.4.

    Args:
        masks: (N, H, W) bool or uint8.

    Returns:
        (N, 4) int64 boxes xyxy, x2 and y2 exclusive; zeros for an empty mask.

    Example:
        >>> tight_bboxes(np.array([[[0, 0, 0], [0, 1, 1]]])).tolist()
        [[1, 1, 3, 2]]
    """
    bboxes = np.zeros((len(masks), 4), dtype=np.int64)
    for bbox, mask in zip(bboxes, masks, strict=True):
        rows = np.flatnonzero(mask.any(axis=1))
        if len(rows):
            top, bottom = rows[0], rows[-1] + 1
            columns = np.flatnonzero(mask[top:bottom].any(axis=0))
            bbox[:] = columns[0], top, columns[-1] + 1, bottom
    return bboxes


def bbox_areas(bboxes: np.ndarray) -> np.ndarray:
    """Areas of boxes; a box turned inside out has none.

    Args:
        bboxes: (..., 4) boxes xyxy.

    Returns:
        (...) float64 areas in square pixels.

    Example:
        >>> bbox_areas([[0, 0, 2, 3], [2, 0, 0, 3]]).tolist()
        [6.0, 0.0]
    """
    bboxes = np.asarray(bboxes, dtype=np.float64)
    sizes = np.maximum(bboxes[..., 2:] - bboxes[..., :2], 0)
    return sizes[..., 0] * sizes[..., 1]


def bbox_iou(bboxes1: np.ndarray, bboxes2: np.ndarray) -> np.ndarray:
    """IoU of each box with its partner.

    Args:
        bboxes1: (..., 4) boxes xyxy.
        bboxes2: (..., 4) boxes xyxy, of a shape that broadcasts with the first.

    Returns:
        (...) float64 in [0, 1]; 0 where both boxes are empty.

    Example:
        >>> bbox_iou([[0, 0, 2, 2]], [[1, 0, 3, 2]]).tolist()
        [0.3333333333333333]
    """
    bboxes1 = np.asarray(bboxes1, dtype=np.float64)
    bboxes2 = np.asarray(bboxes2, dtype=np.float64)
    start = np.maximum(bboxes1[..., :2], bboxes2[..., :2])
    stop = np.minimum(bboxes1[..., 2:], bboxes2[..., 2:])
    overlap = bbox_areas(np.concatenate([start, stop], axis=-1))
    union = bbox_areas(bboxes1) + bbox_areas(bboxes2) - overlap
    return np.divide(overlap, union, out=np.zeros_like(union), where=union > 0)


def pairwise_iou(bboxes1: np.ndarray, bboxes2: np.ndarray) -> np.ndarray:
    """IoU of every box with every other.

    Args:
        bboxes1: (N, 4) boxes xyxy.
        bboxes2: (M, 4) boxes xyxy.

    Returns:
        (N, M) float64 in [0, 1].

    Example:
        >>> pairwise_iou([[0, 0, 2, 2]], [[0, 0, 2, 2], [0, 0, 2, 1]]).tolist()
        [[1.0, 0.5]]
    """
    bboxes1 = np.reshape(bboxes1, (-1, 1, 4))
    bboxes2 = np.reshape(bboxes2, (1, -1, 4))
    return bbox_iou(bboxes1, bboxes2)
