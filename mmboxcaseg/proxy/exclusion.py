"""Maps of boxes that overlap: a pixel belongs to one object at most."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .boxes import bbox_areas, bbox_iou, mask_windows, pixel_bboxes

# Probabilities count as at most this, or two maps that are 1 would both keep a pixel.
_SURE = 0.99

# Boxes with a greater IoU are taken for boxes of one object, which do not compete.
_SAME = 0.9


def exclusive_maps(
    probs: Sequence[np.ndarray],
    bboxes: np.ndarray,
    img_shape: tuple[int, int],
    slack: float = 0.0,
    taken: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Let the boxes of an image tell each other which pixels are theirs.

    A network looks at one box after the other, and a pixel of two boxes may be object in both maps.
    It is one object's, or ground. With the odds ``o_i = p_i / (1 - p_i)`` of each map the pixel is
    object ``i`` by ``o_i / (1 + sum_j o_j s_i / s_j)``, where the sum has ``o_i`` in it and ``s``
    is the root of a box's area: of two objects the smaller one is more often in front ("smaller
    object better", Sec. 3.4), so that what it claims counts more. The map of a box whose window no
    other one overlaps stays as it is, and boxes that lie on each other (an IoU above 0.9), as of an
    object with two labels, do not compete. The paper merges masks instead, which gives a pixel to
    the smaller object however unsure its map is, and never to the larger one.

    Args:
        probs: N maps, (h_i, w_i) float probabilities of the windows of :func:`mask_windows`.
        bboxes: (N, 4) the boxes xyxy in image pixels.
        img_shape: (height, width) of the image.
        slack: See :func:`mask_windows`.
        taken: (height, width) bool or uint8, pixels that are known to be other objects', such as
            those of true masks, whatever their boxes; by default none.

    Returns:
        N maps of the same sizes; that of a box that no other one overlaps, and nothing is taken
        from, is the given one itself.

    Example:
        Two boxes of the same size share the middle one of three pixels, and the first is surer:

        >>> first, second = np.float32([[0.5, 0.8]]), np.float32([[0.5, 0.9]])
        >>> maps = exclusive_maps([first, second], np.array([[0, 0, 2, 1], [1, 0, 3, 1]]), (1, 3))
        >>> [prob.astype(float).round(2).tolist() for prob in maps]
        [[[0.5, 0.67]], [[0.17, 0.9]]]
    """
    windows = mask_windows(bboxes, img_shape, slack)
    parts = [np.s_[y1:y2, x1:x2] for x1, y1, x2, y2 in windows.tolist()]
    pixels = pixel_bboxes(bboxes, img_shape)
    sides = np.sqrt(bbox_areas(pixels)).astype(np.float32)

    counts = np.zeros(img_shape, np.int32)
    for part in parts:
        counts[part] += 1
    if taken is not None:
        taken = np.asarray(taken, dtype=bool)
        counts += taken
    shared = [index for index, part in enumerate(parts) if counts[part].max() > 1]

    def in_window(index: int) -> np.ndarray:
        return np.minimum(_resized(probs[index], counts[parts[index]].shape), _SURE)

    def claim(index: int, prob: np.ndarray) -> np.ndarray:
        return prob / (1 - prob) / sides[index]

    claims, own = np.zeros(img_shape, np.float32), np.zeros(img_shape, np.float32)
    for index in shared:
        claims[parts[index]] += claim(index, in_window(index))
    maps = list(probs)
    for index in shared:
        prob = in_window(index)
        same = np.flatnonzero(bbox_iou(pixels[index], pixels) > _SAME)
        for one in same:
            own[parts[one]] += claim(one, prob if one == index else in_window(one))
        # What is left of rounding is no claim.
        others = np.maximum(claims[parts[index]] - own[parts[index]], 0) * sides[index]
        for one in same:
            own[parts[one]] = 0
        kept = 1 / (1 + (1 - prob) * others)
        if taken is not None:
            kept[taken[parts[index]]] = 0
        # The share that is kept, not the odds, which are great in few pixels of a small box.
        maps[index] = probs[index] * _resized(kept, probs[index].shape)
    return maps


def _resized(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize (h, w) values, by area where they shrink in both directions."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    shrinks = shape[0] <= values.shape[0] and shape[1] <= values.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(values, shape[::-1], interpolation=interpolation)
