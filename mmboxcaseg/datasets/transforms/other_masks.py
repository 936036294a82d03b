"""The masks of the other objects around a box, for the prompt to show in place of their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mmboxcaseg.proxy import bbox_areas, bbox_iou, tight_bboxes
from mmboxcaseg.proxy.exclusion import SAME_OBJECT


class OtherMask(NamedTuple):
    """The part of an image that the mask of another object lies in.

    Attributes:
        window: (h, w) uint8, 0 or 1.
        corner: x and y of its first pixel in the image.
    """

    window: np.ndarray
    corner: tuple[int, int]

    @property
    def bbox(self) -> list[float]:
        """The part of the image, xyxy."""
        (x, y), (height, width) = self.corner, self.window.shape
        return [float(edge) for edge in (x, y, x + width, y + height)]

    @classmethod
    def of(cls, mask: np.ndarray) -> OtherMask:
        """Cut out the part of a mask (H, W) that holds its pixels."""
        x1, y1, x2, y2 = tight_bboxes(mask[None])[0].astype(int).tolist()
        return cls(mask[y1:y2, x1:x2], (x1, y1))

    def within(self, window: Sequence[int]) -> OtherMask:
        """Cut to a window of the image, xyxy, whose first pixel is then the image's first."""
        (x, y), (height, width) = self.corner, self.window.shape
        x1, y1, x2, y2 = window
        left, top = max(x1, x), max(y1, y)
        right, bottom = max(min(x2, x + width), left), max(min(y2, y + height), top)
        part = self.window[top - y : bottom - y, left - x : right - x]
        return OtherMask(part, (left - x1, top - y1))


def other_masks_map(
    bbox: np.ndarray,
    other_bboxes: np.ndarray,
    other_masks: Sequence[OtherMask | None],
    window: np.ndarray,
    size: tuple[int, int],
) -> np.ndarray:
    """Draw the masks of other objects as :func:`mmboxcaseg.models.layers.other_boxes_maps` boxes.

    Once it is known what the other boxes hold, that says better than the boxes do what in a box is
    not its object.

    Args:
        bbox: (4,) xyxy, image pixels, the patch's own box.
        other_bboxes: (K, 4) xyxy, image pixels.
        other_masks: Of these; where there is none, the box is drawn, and of a box that lies on the
            own one (:data:`mmboxcaseg.proxy.exclusion.SAME_OBJECT`), whose object may be the same.
        window: (4,) int, xyxy, image pixels, what the patch shows; it may leave the image.
        size: Height and width of the patch.

    Returns:
        (height, width) uint8, in parts of 255: the greatest ``own / (own + other)`` of the areas of
        the boxes whose mask has the pixel.

    Example:
        Own area 4, the other's 4 of which its mask takes the upper half:

        >>> other = OtherMask(np.array([[1, 1]], np.uint8), (1, 0))
        >>> other_masks_map([0, 0, 2, 2], [[1, 0, 3, 2]], [other], [0, 0, 2, 2], (2, 2)).tolist()
        [[0, 128], [0, 0]]
    """
    x1, y1, x2, y2 = (int(edge) for edge in window)
    drawn = np.zeros((y2 - y1, x2 - x1), np.float32)
    bboxes = np.reshape(other_bboxes, (-1, 4))
    own, areas = bbox_areas(bbox), bbox_areas(bboxes)
    same = bbox_iou(np.broadcast_to(bbox, bboxes.shape), bboxes) > SAME_OBJECT
    left, top, right, bottom = bboxes.T
    shown = (left < x2) & (top < y2) & (right > x1) & (bottom > y1) & (areas > 0)
    for index in np.flatnonzero(shown):
        mask = None if same[index] else other_masks[index]
        mask = mask or _filled(bboxes[index])
        part, (x, y) = mask.within((x1, y1, x2, y2))
        place = drawn[y : y + part.shape[0], x : x + part.shape[1]]
        np.maximum(place, own / (own + areas[index]) * part, out=place)
    shrinks = drawn.shape[0] >= size[0] and drawn.shape[1] >= size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.rint(255 * cv2.resize(drawn, size[::-1], interpolation=interpolation)).astype(
        np.uint8
    )


def _filled(bbox: np.ndarray) -> OtherMask:
    x1, y1, x2, y2 = np.floor(bbox + 0.5).astype(int).tolist()
    return OtherMask(np.ones((max(y2 - y1, 1), max(x2 - x1, 1)), np.uint8), (x1, y1))
