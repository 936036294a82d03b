import numpy as np
import pytest

from mmboxcaseg.proxy import merge_masks


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


def test_no_masks():
    assert merge_masks(np.zeros((0, 4, 5), bool), np.zeros((0, 4))).shape == (0, 4, 5)
