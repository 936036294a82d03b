"""From a patch's probability map to a mask in the image, and masks as COCO's RLE."""

from __future__ import annotations

import re

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from .boxes import pixel_bboxes

# Compressed counts: of each run's characters all but the last one say that another follows.
_COMPRESSED = re.compile('([P-o]{0,6}[0-O])+')
# Polygons may reach out of the image, by so many times its longer side.
_FARTHEST_CORNER = 10


def normalize_probability(prob: np.ndarray) -> np.ndarray:
    """Stretch an instance's probability map to [0, 1].

    Args:
        prob: (h, w) float.

    Returns:
        (h, w) float; a flat map has nothing to stretch and comes back as it is.
    """
    low, high = prob.min(), prob.max()
    return (prob - low) / (high - low) if high > low else prob


def paste_probability(
    prob: np.ndarray,
    bbox: np.ndarray,
    img_shape: tuple[int, int],
    threshold: float = 0.5,
) -> np.ndarray:
    """Turn the probability map of a box into a mask of the image.

    The map is normalised per instance, resized bilinearly to the box's pixels and thresholded.

    Args:
        prob: (h, w) float probabilities of the patch cropped at ``bbox``.
        bbox: (4,) box xyxy in image pixels.
        img_shape: (height, width) of the image.
        threshold: A pixel belongs to the mask when its value is above it.

    Returns:
        (height, width) bool; false outside the pixel box.
    """
    x1, y1, x2, y2 = pixel_bboxes(bbox, img_shape)[0]
    size = (int(x2 - x1), int(y2 - y1))
    values = normalize_probability(np.asarray(prob, dtype=np.float32))
    mask = np.zeros(img_shape, dtype=bool)
    mask[y1:y2, x1:x2] = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR) > threshold
    return mask


def encode_rle(mask: np.ndarray) -> dict:
    """Encode a mask as COCO's compressed RLE, as it stands in JSON.

    Args:
        mask: (H, W) bool or uint8.

    Returns:
        ``dict(size=[H, W], counts=str)``. The counts are ``str``: mmdet silently ignores the
        whole box where they are ``bytes``.
    """
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=[int(side) for side in rle['size']], counts=rle['counts'].decode('ascii'))


def decode_rle(segmentation: dict | list | None, img_shape: tuple[int, int]) -> np.ndarray:
    """Decode a COCO segmentation of any kind.

    Args:
        segmentation: Polygons, an uncompressed RLE (counts in a list) or a compressed one.
        img_shape: (height, width) of the image.

    Returns:
        (height, width) bool.

    Raises:
        ValueError: If it is none of these or does not fit the image.
    """
    height, width = img_shape
    if isinstance(segmentation, list):
        rle = _merge_polygons(segmentation, height, width)
    elif isinstance(segmentation, dict) and {'size', 'counts'} <= segmentation.keys():
        rle = _checked_rle(segmentation, height, width)
    else:
        raise ValueError('it is neither a list of polygons nor an RLE with size and counts')
    return coco_mask.decode(rle).astype(bool)


def _merge_polygons(polygons: list, height: int, width: int) -> dict:
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError('a polygon is not a list of at least three x, y pairs')
        # pycocotools walks along the outline: a corner far away takes all memory.
        limit = _FARTHEST_CORNER * max(height, width)
        if not all(isinstance(edge, int | float) and -limit < edge < limit for edge in polygon):
            raise ValueError('a polygon has a corner that is no number or far outside the image')
    if not polygons:
        raise ValueError('its list of polygons is empty')
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))


def _checked_rle(rle: dict, height: int, width: int) -> dict:
    size, counts = rle['size'], rle['counts']
    if size not in ([height, width], (height, width)):
        raise ValueError(f'its size is {size}, the image is {[height, width]}')
    if isinstance(counts, bytes):
        counts = counts.decode('latin-1')
    if isinstance(counts, str) and _COMPRESSED.fullmatch(counts):
        runs = _string_runs(counts)
    elif isinstance(counts, list) and all(isinstance(run, int) for run in counts):
        runs = counts
    else:
        raise ValueError('its counts are neither whole numbers nor compressed ones')
    # pycocotools fills what the runs leave open with whatever lies in memory.
    if min(runs, default=-1) < 0 or sum(runs) != height * width:
        raise ValueError(f'its runs do not add up to the {height * width} pixels of the image')
    if isinstance(counts, str):
        return dict(size=[height, width], counts=counts)
    return coco_mask.frPyObjects(dict(size=[height, width], counts=counts), height, width)


def _string_runs(counts: str) -> list[int]:
    """Read the run lengths out of compressed counts: five bits a character, low bits first."""
    runs: list[int] = []
    value = shift = 0
    for char in counts:
        bits = ord(char) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs
