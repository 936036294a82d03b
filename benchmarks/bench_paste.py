"""Probability maps of a network to masks in the image, as RLEs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import cv2
import numpy as np
from drawn import IMG_SHAPE, draw_boxes, draw_probabilities, masks_of, rles_of
from pycocotools import mask as coco_mask
from table import Row, run_script, scaled, timed_row
from timing import compare, duration, least_seconds, share_of

from mmboxcaseg.proxy import mask_edges, pixel_bboxes

# Of the maps, in pixels: test patches are that large.
SIDE = 320
PER_IMAGE = 7


def plain_mask(prob: np.ndarray, bbox: np.ndarray) -> np.ndarray:
    """The release's procedure: a mask of the image's size for every instance."""
    x1, y1, x2, y2 = pixel_bboxes(bbox, IMG_SHAPE)[0]
    prob = (prob - prob.min()) / (prob.max() - prob.min())
    prob = cv2.resize(prob, (int(x2 - x1), int(y2 - y1)), interpolation=cv2.INTER_LINEAR)
    mask = np.zeros(IMG_SHAPE, dtype=np.uint8)
    mask[y1:y2, x1:x2] = prob > 0.5
    return mask


def plain(maps: list[np.ndarray], bboxes: np.ndarray) -> list[dict]:
    """Every mask encoded from an array of the image's size."""
    rles = []
    for prob, bbox in zip(maps, bboxes, strict=True):
        rle = coco_mask.encode(np.asfortranarray(plain_mask(prob, bbox)))
        rles.append(dict(size=rle['size'], counts=rle['counts'].decode()))
    return rles


def ours(maps: list[np.ndarray], bboxes: np.ndarray) -> list[dict]:
    """This package's, the instances of an image at once."""
    rles = []
    for start in range(0, len(maps), PER_IMAGE):
        part = slice(start, start + PER_IMAGE)
        rles += rles_of(maps[part], bboxes[part])
    return rles


def resizing(maps: list[np.ndarray], bboxes: np.ndarray) -> None:
    """What cannot be left out: the map's range is found, and it gets the box's size."""
    for prob, (x1, y1, x2, y2) in zip(maps, pixel_bboxes(bboxes, IMG_SHAPE).tolist(), strict=True):
        cv2.minMaxLoc(prob)
        cv2.resize(prob, (x2 - x1, y2 - y1))


def draw(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Maps and boxes of instances; the maps are those of one batch, over and over."""
    rng = np.random.default_rng(0)
    maps = draw_probabilities(rng, 16, SIDE)
    return [maps[index % 16] for index in range(count)], draw_boxes(rng, count)


def edges(maps: list[np.ndarray], bboxes: np.ndarray) -> None:
    """The first two parts of ours: the masks and where their runs begin and end."""
    for start in range(0, len(maps), PER_IMAGE):
        part = slice(start, start + PER_IMAGE)
        masks = masks_of(maps[part], bboxes[part])
        mask_edges(masks, [IMG_SHAPE] * len(masks))


def rows(args: argparse.Namespace) -> Iterator[Row]:
    data = draw(scaled(600, args.share, PER_IMAGE))
    count = len(data[1])
    assert plain(*data) == ours(*data)
    comparison = compare(lambda: plain(*data), lambda: ours(*data), count)
    limit, mask, edge = (
        least_seconds(lambda function=function: function(*data), count)
        for function in (resizing, masks_of, edges)
    )
    yield timed_row(
        f'mask from probability map, {SIDE}x{SIDE} into 640x480',
        'instance',
        comparison,
        asked='8',
        limit=share_of('range and resize alone', limit, comparison.ours_s),
    )
    parts = {
        'range and resize': limit,
        'threshold': mask - limit,
        'edges of the mask': edge - mask,
        'RLE': comparison.ours_s - edge,
    }
    yield Row('- its parts', ours=', '.join(f'{key} {duration(s)}' for key, s in parts.items()))


if __name__ == '__main__':
    run_script(rows)
