"""Raw masks to proxy masks: merge and box agreement of COCO-sized images."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from multiprocessing import get_context
from statistics import median

import numpy as np
from drawn import IMG_SHAPE, draw_images, draw_probabilities, rles_of
from pycocotools import mask as coco_mask
from table import Row, run_script, scaled, timed_row
from timing import compare, cpu_seconds, least_seconds, share_of

from mmboxcaseg.proxy import read_rles, refine_rles


def plain(images: list[tuple[list[dict], np.ndarray]]) -> list:
    """The release's procedure: every mask an array of the image's size."""
    refined = []
    for rles, bboxes in images:
        masks = [coco_mask.decode(rle) for rle in rles]
        taken = np.zeros(IMG_SHAPE, dtype=np.uint8)
        merged = [np.zeros(0)] * len(masks)
        areas = (bboxes[:, 2:] - bboxes[:, :2]).prod(axis=1)
        for index in np.argsort(areas, kind='stable'):
            merged[index] = masks[index] * (1 - taken)
            taken = np.maximum(taken, masks[index])
        for mask, bbox in zip(merged, bboxes, strict=True):
            rle = coco_mask.encode(np.asfortranarray(mask))
            refined.append((rle['counts'].decode(), plain_agreement(mask, bbox)))
    return refined


def plain_agreement(mask: np.ndarray, bbox: np.ndarray) -> float:
    """IoU of the tight box with the box, both read as the release reads them."""
    rows, columns = np.where(mask)
    if not len(rows):
        return 0.0
    x, y = int(bbox[0]), int(bbox[1])
    size = np.round(bbox[2:] - bbox[:2], 3).astype(int)
    truth = (x, y, x + size[0] + 1, y + size[1] + 1)
    tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    width = min(truth[2], tight[2]) - max(truth[0], tight[0])
    height = min(truth[3], tight[3]) - max(truth[1], tight[1])
    overlap = max(width, 0) * max(height, 0)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (truth, tight)]
    return overlap / (sum(areas) - overlap)


def ours(images: list[tuple[list[dict], np.ndarray]]) -> list:
    """This package's."""
    refined = []
    for rles, bboxes in images:
        rles = read_rles(rles, IMG_SHAPE)
        rles, agreement = refine_rles(rles, bboxes, IMG_SHAPE, inclusive_boxes=True)
        refined += zip((rle['counts'] for rle in rles), agreement.tolist(), strict=True)
    return refined


def rle_pass(images: list[tuple[list[dict], np.ndarray]]) -> None:
    """What no procedure on RLEs can leave out: each is read and written once, in C."""
    for rles, _ in images:
        for rle in rles:
            coco_mask.merge([rle])


def draw(count: int) -> list[tuple[list[dict], np.ndarray]]:
    """Raw masks and boxes of images with 6.3 objects on average."""
    rng = np.random.default_rng(0)
    blobs = draw_probabilities(rng, 64, 80)
    return [
        (rles_of(blobs[rng.integers(0, 64, len(boxes))], boxes), boxes)
        for boxes in draw_images(rng, count, 6.3)
    ]


def assert_equal(images: list[tuple[list[dict], np.ndarray]]) -> float:
    """Make sure that both give the same; returns the share of masks that lose pixels."""
    refined = plain(images)
    assert refined == ours(images)
    raw = [rle['counts'] for rles, _ in images for rle in rles]
    return float(np.mean([a != b for a, (b, _) in zip(raw, refined, strict=True)]))


def ours_seconds(images: list[tuple[list[dict], np.ndarray]]) -> float:
    """CPU seconds of this package's."""
    return cpu_seconds(lambda: ours(images))


def speed_up(images: list[tuple[list[dict], np.ndarray]], repeats: int = 8) -> float:
    """How many times as much two processes do as one: by CPU time, other work does not count."""
    with get_context('fork').Pool(1) as one, get_context('fork').Pool(2) as two:
        alone, together = (
            median(
                second for _ in range(repeats) for second in pool.map(ours_seconds, [images] * 2)
            )
            for pool in (one, two)
        )
    return 2 * alone / together


def rows(args: argparse.Namespace) -> Iterator[Row]:
    images = draw(scaled(200, args.share, 2))
    items = sum(len(rles) for rles, _ in images)
    changed = assert_equal(images)
    comparison = compare(lambda: plain(images), lambda: ours(images), items)
    limit = least_seconds(lambda: rle_pass(images), items)
    step = f'merge + agreement, 640x480, {items / len(images):.1f} instances an image'
    yield timed_row(
        f'{step}, {changed:.0%} of the masks lose pixels',
        'instance',
        comparison,
        asked='12',
        limit=share_of('an RLE read and written', limit, comparison.ours_s),
    )
    yield Row('- two processes beside one', ours=f'{speed_up(images):.2f} times', asked='nearly 2')


if __name__ == '__main__':
    run_script(rows)
