"""Masks, boxes and captions drawn on images; images laid out on a sheet."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from mmboxcaseg.proxy import decode_rle, pixel_bboxes, tight_bboxes

Colour = tuple[int, int, int]

_PREDICTED, _TRUE, _BOX = (40, 160, 255), (60, 220, 60), (255, 255, 255)

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE = 0.4
_LINE_HEIGHT = 16
_MARGIN = 4


def distinct_colours(count: int) -> list[Colour]:
    """Give ``count`` BGR colours, neighbours in the list far apart in hue."""
    golden = 0.618033988749895
    hues = [(0.02 + index * golden) % 1 for index in range(count)]
    rgb = [colorsys.hsv_to_rgb(hue, 0.85, 1) for hue in hues]
    return [tuple(round(255 * channel) for channel in reversed(colour)) for colour in rgb]


def draw_mask(
    img: np.ndarray, mask: np.ndarray, colour: Colour, opacity: float = 0.4
) -> np.ndarray:
    """Tint a mask and draw its contour.

    Args:
        img: (H, W, 3) uint8 BGR; not changed.
        mask: (H, W) bool.
        colour: BGR.
        opacity: Of the tint, 0 (the contour alone) to 1.

    Returns:
        (H, W, 3) uint8.
    """
    drawn = img.copy()
    tint = (1 - opacity) * img[mask] + opacity * np.array(colour)
    drawn[mask] = np.rint(tint).astype(np.uint8)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(drawn, contours, -1, colour, 1)


def greyed(img: np.ndarray) -> np.ndarray:
    """Take the colours out of an image, (H, W, 3) uint8 BGR: those of masks stand out on it."""
    return cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def draw_rles(img: np.ndarray, rles: Sequence[dict], colours: Sequence[Colour]) -> np.ndarray:
    """Draw masks on an image without its colours.

    Args:
        img: (H, W, 3) uint8 BGR; not changed.
        rles: N masks, as of :func:`mmboxcaseg.proxy.decode_rle`.
        colours: N BGR.

    Returns:
        (H, W, 3) uint8.
    """
    drawn = greyed(img)
    for rle, colour in zip(rles, colours, strict=True):
        drawn = draw_mask(drawn, decode_rle(rle, img.shape[:2]), colour)
    return drawn


def draw_bbox(img: np.ndarray, bbox: Sequence[float], colour: Colour) -> np.ndarray:
    """Draw a one pixel wide box.

    Args:
        img: (H, W, 3) uint8 BGR; not changed.
        bbox: xyxy in pixels, exclusive right and bottom edges.
        colour: BGR.

    Returns:
        (H, W, 3) uint8.
    """
    x1, y1, x2, y2 = (round(float(edge)) for edge in bbox)
    return cv2.rectangle(img.copy(), (x1, y1), (x2 - 1, y2 - 1), colour, 1)


def draw_instances(img: np.ndarray, bboxes: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Draw the objects of an image, each mask and its box in a colour of its own.

    Args:
        img: (H, W, 3) uint8 BGR; not changed.
        bboxes: (N, 4) xyxy in pixels.
        masks: (N, H, W) bool.

    Returns:
        (H, W, 3) uint8.
    """
    for bbox, mask, colour in zip(bboxes, masks, distinct_colours(len(bboxes)), strict=True):
        img = draw_bbox(draw_mask(img, mask, colour), bbox, colour)
    return img


def draw_instance(
    img: np.ndarray,
    bbox: Sequence[float],
    mask: np.ndarray,
    true_mask: np.ndarray | None = None,
    longer_side: int | None = None,
) -> np.ndarray:
    """Draw what a network made of a box: mask orange, true outline green, box white.

    Args:
        img: (H, W, 3) uint8 BGR; not changed.
        bbox: xyxy in pixels.
        mask: (H, W) bool, predicted.
        true_mask: (H, W) bool, if it is known.
        longer_side: Of the picture, in pixels; the lines are drawn after scaling, so that they are
            as thin on small objects as on large ones. By default the image's own pixels.

    Returns:
        (h, w, 3) uint8, box and predicted mask, and a fifth of their longer side on each side.
    """
    shown = np.asarray(bbox, dtype=np.float64)
    if mask.any():
        tight = tight_bboxes(mask[None])[0]
        shown = np.append(np.minimum(shown[:2], tight[:2]), np.maximum(shown[2:], tight[2:]))
    window = surroundings(shown, img.shape[:2], context=0.2)
    drawn, mask = img[window], mask[window]
    true_mask = None if true_mask is None else true_mask[window]
    bbox = np.asarray(bbox) - [window[1].start, window[0].start] * 2
    if longer_side:
        before = drawn.shape[1::-1]
        drawn, mask = _fit(drawn, longer_side), _fit_mask(mask, longer_side)
        true_mask = None if true_mask is None else _fit_mask(true_mask, longer_side)
        bbox = bbox * np.tile(np.divide(drawn.shape[1::-1], before), 2)
    drawn = draw_mask(drawn, mask, _PREDICTED)
    if true_mask is not None:
        drawn = draw_mask(drawn, true_mask, _TRUE, opacity=0)
    return draw_bbox(drawn, bbox, _BOX)


def surroundings(
    bbox: Sequence[float], img_shape: tuple[int, int], context: float
) -> tuple[slice, slice]:
    """Give the part of an image that shows a box and what is around it.

    Args:
        bbox: xyxy in pixels.
        img_shape: (height, width) of the image, which bounds the window.
        context: How far the window goes beyond each edge, as a share of the box's longer side.

    Returns:
        Slices of rows and of columns.
    """
    x1, y1, x2, y2 = pixel_bboxes(np.asarray(bbox), img_shape)[0].tolist()
    grow = round(context * max(x2 - x1, y2 - y1))
    return slice(max(y1 - grow, 0), y2 + grow), slice(max(x1 - grow, 0), x2 + grow)


def make_sheet(
    images: Sequence[np.ndarray], captions: Sequence[str], columns: int, tile_size: int = 256
) -> np.ndarray:
    """Lay images out in rows on white, each with its caption below.

    Args:
        images: (H, W, 3) uint8 BGR each, of any size; scaled so that the longer side is
            ``tile_size``.
        captions: One per image.
        columns: Images in a row.
        tile_size: In pixels.

    Returns:
        (H, W, 3) uint8.
    """
    tile_height = tile_size + _LINE_HEIGHT + _MARGIN
    rows = -(-len(images) // columns)
    pitch = (tile_height + _MARGIN, tile_size + _MARGIN)
    sheet = np.full((rows * pitch[0] + _MARGIN, columns * pitch[1] + _MARGIN, 3), 255, np.uint8)
    for index, (img, caption) in enumerate(zip(images, captions, strict=True)):
        top = index // columns * pitch[0] + _MARGIN
        left = index % columns * pitch[1] + _MARGIN
        tile = _fit(img, tile_size)
        height, width = tile.shape[:2]
        sheet[top : top + height, left : left + width] = tile
        baseline = (left, top + tile_size + _LINE_HEIGHT - _MARGIN)
        column = sheet[:, : left + tile_size]  # Where a long caption ends.
        cv2.putText(column, caption, baseline, _FONT, _FONT_SCALE, (0, 0, 0), 1, cv2.LINE_AA)
    return sheet


def _fit(img: np.ndarray, longer_side: int) -> np.ndarray:
    height, width = img.shape[:2]
    scale = longer_side / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(img, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _fit_mask(mask: np.ndarray, longer_side: int) -> np.ndarray:
    return _fit(mask.astype(np.uint8) * 255, longer_side) > 127
