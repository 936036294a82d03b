import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmboxcaseg.proxy import encode_edges, encode_rle, merge_masks, merge_rles, window_edges


def brute_force(masks, bboxes):
    """Pixel by pixel: the claimant of the smallest box, the earlier one among equals."""
    merged = np.zeros(masks.shape, bool)
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in bboxes]
    for y in range(masks.shape[1]):
        for x in range(masks.shape[2]):
            claimants = [(areas[n], n) for n in range(len(masks)) if masks[n, y, x]]
            if claimants:
                merged[min(claimants)[1], y, x] = True
    return merged


def test_smaller_object_better():
    masks = np.array(
        [
            [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]],
            [[0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
        ]
    )
    bboxes = np.array([[0, 0, 3, 3], [1, 1, 4, 3]])
    expected = [
        [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
    ]
    merged = merge_masks(masks.astype(bool), bboxes)
    assert merged.dtype == bool
    assert merged.astype(int).tolist() == expected
    assert merge_masks(masks[::-1], bboxes[::-1]).astype(int).tolist() == expected[::-1]


def test_box_area_decides_not_mask_area():
    masks = np.array([[[1, 0], [0, 0]], [[1, 1], [1, 1]]], bool)
    bboxes = np.array([[0, 0, 9, 9], [0, 0, 2, 2]])
    assert merge_masks(masks, bboxes).sum(axis=(1, 2)).tolist() == [0, 4]


def test_tie_goes_to_the_earlier():
    masks = np.ones((3, 2, 2), bool)
    merged = merge_masks(masks, np.array([[0, 0, 4, 1], [0, 0, 2, 2], [0, 0, 1, 4]]))
    assert merged.sum(axis=(1, 2)).tolist() == [4, 0, 0]


def test_fraction_of_a_pixel_decides():
    masks = np.ones((2, 4, 4), bool)
    merged = merge_masks(masks, np.array([[0, 0, 4, 3.3], [0, 0, 4, 3.2]]))
    assert merged.sum(axis=(1, 2)).tolist() == [0, 16]


@pytest.mark.parametrize(
    ('first', 'second', 'winner'),
    [
        # 4097 * 4097 is one above 4096 * 4098, and no number of float32.
        ([0, 0, 4097, 4097], [0, 0, 4096, 4098], 1),
        # Boxes are float32 in mmdet, in which these are the same: the earlier one wins.
        ([0, 0, 4, 3.3 + 1e-8], [0, 0, 4, 3.3], 0),
    ],
)
def test_boxes_of_almost_one_area(first, second, winner):
    masks = np.ones((2, 2, 3), bool)
    merged = merge_masks(masks, np.array([first, second]))
    assert merged.all(axis=(1, 2)).tolist() == [winner == 0, winner == 1]
    rles = merge_rles([encode_rle(mask) for mask in masks], np.array([first, second]))
    assert rles == [encode_rle(mask) for mask in merged]


@pytest.mark.parametrize('seed', range(5))
def test_against_brute_force(seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((6, 9, 11)) > 0.6
    masks[2] = False
    start = rng.integers(0, 5, (6, 2))
    bboxes = np.concatenate([start, start + rng.integers(1, 5, (6, 2))], axis=1)
    before = masks.copy()
    merged = merge_masks(masks, bboxes)
    assert (merged == brute_force(masks, bboxes)).all()
    assert merged.sum(axis=0).max() == 1
    assert (merged.any(axis=0) == masks.any(axis=0)).all()
    assert (merge_masks(merged, bboxes) == merged).all()
    assert (masks == before).all()


def test_order_decides_among_equal_boxes_alone():
    rng = np.random.default_rng(0)
    for _ in range(10):
        masks = rng.random((6, 9, 11)) > 0.5
        bboxes = np.array([[0, 0, width, 2] for width in rng.permutation(6) + 1])
        order = rng.permutation(6)
        merged = merge_masks(masks, bboxes)
        assert (merge_masks(masks[order], bboxes[order]) == merged[order]).all()


def test_no_masks():
    assert merge_masks(np.zeros((0, 4, 5), bool), np.zeros((0, 4))).shape == (0, 4, 5)


def assert_merges_alike(masks, bboxes):
    rles = [encode_rle(mask) for mask in masks]
    before = [dict(rle) for rle in rles]
    merged = merge_rles(rles, bboxes)
    assert merged == [encode_rle(mask) for mask in merge_masks(masks, bboxes)]
    assert rles == before


@pytest.mark.parametrize('share', [0.05, 0.4, 0.9])
def test_rles_as_masks(share):
    rng = np.random.default_rng(0)
    for _ in range(30):
        count = rng.integers(1, 8)
        # Masks reach beyond their boxes; whole numbers below 4 give equal areas.
        masks = rng.random((count, *rng.integers(1, 20, 2))) < share
        masks[rng.random(count) < 0.2] = False
        masks[rng.random(count) < 0.1] = True
        start = rng.integers(0, 5, (count, 2))
        bboxes = np.concatenate([start, start + rng.integers(1, 4, (count, 2))], axis=1)
        assert_merges_alike(masks, bboxes)


def test_rles_of_windows_as_masks():
    rng = np.random.default_rng(0)
    for _ in range(50):
        masks = np.zeros((9, 30, 40), bool)
        bboxes = np.sort(rng.integers(0, [[[40, 30]]], (9, 2, 2)), axis=1).reshape(9, 4)
        bboxes[:, 2:] += 1
        for mask, (x1, y1, x2, y2) in zip(masks, bboxes, strict=True):
            mask[y1:y2, x1:x2] = rng.random((y2 - y1, x2 - x1)) < 0.8
        assert_merges_alike(masks, bboxes)


def test_rle_that_loses_nothing_is_not_written_anew():
    masks = np.zeros((2, 4, 4), bool)
    masks[0, :2], masks[1, 2:] = True, True
    rles = [encode_rle(mask) for mask in masks]
    merged = merge_rles(rles, np.array([[0, 0, 4, 2], [0, 2, 4, 4]]))
    assert all(after is before for after, before in zip(merged, rles, strict=True))
    assert merge_rles([], np.zeros((0, 4))) == []


def test_fixed_masks_lose_nothing_and_win():
    rng = np.random.default_rng(3)
    for _ in range(20):
        masks = rng.random((5, 9, 7)) > 0.5
        bboxes = rng.integers(1, 9, (5, 4))
        bboxes[:, 2:] += bboxes[:, :2]
        fixed = rng.random(5) > 0.5
        merged = merge_masks(masks, bboxes, fixed)
        assert (merged[fixed] == masks[fixed]).all()
        # The others share what is left as if they were alone.
        left = masks[~fixed] & ~masks[fixed].any(axis=0)
        assert (merged[~fixed] == merge_masks(left, bboxes[~fixed])).all()
        rles = merge_rles([encode_rle(mask) for mask in masks], bboxes, fixed)
        assert rles == [encode_rle(mask) for mask in merged]


def test_many_masks_of_one_image():
    """Neither memory nor time grow with the square of their number."""
    rng = np.random.default_rng(0)
    count, side = 10_000, 3000
    corners = rng.integers(0, side - 30, (count, 2))
    windows = [np.ones(tuple(rng.integers(10, 30, 2)), bool) for _ in range(count)]
    shapes = [(side, side)] * count
    rles = encode_edges(window_edges(windows, corners.tolist(), shapes), shapes)
    ends = corners + [window.shape[::-1] for window in windows]
    bboxes = np.concatenate([corners, ends], axis=1)
    tracemalloc.start()
    merged = merge_rles(rles, bboxes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6  # a table of all pairs takes 800 MB
    owner = np.full((side, side), -1)
    order = np.argsort([window.size for window in windows], kind='stable')
    for index in order[::-1].tolist():
        (x, y), (height, width) = corners[index], windows[index].shape
        # Among equals the earlier one wins: it is painted later.
        owner[y : y + height, x : x + width] = index
    areas = [coco_mask.area(rle) for rle in merged]
    assert areas == np.bincount(owner[owner >= 0], minlength=count).tolist()
    for index in rng.integers(0, count, 30).tolist():
        assert merged[index] == encode_rle(owner == index)
