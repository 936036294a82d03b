"""Drawn input of COCO's kind: boxes as large as its boxes are, blobs that overlap each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from mmboxcaseg.proxy import BoxMask, mask_of, mask_rles

#: (height, width) of most of COCO's images.
IMG_SHAPE = (480, 640)


def draw_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw the boxes of an image's objects.

    Their sides are spread as COCO's: two fifths of the objects are small (less than 32 x 32
    pixels), a quarter are large (more than 96 x 96).

    Args:
        rng: The source of all chance.
        count: N.

    Returns:
        (N, 4) float64 boxes xyxy in an image of :data:`IMG_SHAPE`, with two decimals.
    """
    limit = np.array(IMG_SHAPE[::-1])
    side, aspect = np.exp(rng.normal([[3.9], [0]], [[1.1], [0.3]], (2, count)))
    size = np.stack([side * aspect, side / aspect], axis=1).clip(4, limit)
    start = rng.random((count, 2)) * (limit - size)
    return np.concatenate([start, start + size], axis=1).round(2)


def draw_probabilities(rng: np.random.Generator, count: int, side: int) -> np.ndarray:
    """Draw blobs as a network gives them: high inside, low outside, soft and uneven in between.

    Args:
        rng: The source of all chance.
        count: N.
        side: Of the maps, in pixels.

    Returns:
        (N, side, side) float32.
    """
    y, x = (np.mgrid[:side, :side] + 0.5) / side * 2 - 1
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    maps = np.empty((count, side, side), np.float32)
    for blob in maps:
        outline = rng.uniform(0.85, 1.05)
        for frequency in (2, 3, 5, 8):
            outline = outline - rng.uniform(0, 0.08) * (
                1 + np.cos(frequency * angle + rng.uniform(0, 2 * np.pi))
            )
        noise = cv2.resize(
            rng.normal(0, 0.6, (12, 12)), (side, side), interpolation=cv2.INTER_CUBIC
        )
        blob[:] = 1 / (1 + np.exp(12 * (radius - outline) + noise))
    return maps


def draw_images(
    rng: np.random.Generator, count: int, objects_per_image: float
) -> Iterator[np.ndarray]:
    """Yield the :func:`draw_boxes` of images; some have one box, few have many, as in COCO."""
    for number in 1 + rng.poisson(rng.gamma(1, objects_per_image - 1, count)):
        yield draw_boxes(rng, number)


def masks_of(maps: Sequence[np.ndarray], bboxes: np.ndarray) -> list[BoxMask]:
    """The masks of maps, by the paper's threshold, in an image of :data:`IMG_SHAPE`."""
    return [mask_of(prob, bbox, IMG_SHAPE, 0.5) for prob, bbox in zip(maps, bboxes, strict=True)]


def rles_of(maps: Sequence[np.ndarray], bboxes: np.ndarray) -> list[dict]:
    """The same masks as RLEs."""
    return mask_rles(masks_of(maps, bboxes), [IMG_SHAPE] * len(maps))
