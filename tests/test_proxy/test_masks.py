import cv2
import numpy as np
import pytest

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import (
    BoxMask,
    encode_rle,
    expected_iou,
    mask_of,
    mask_rles,
    normalize_probability,
    threshold_probability,
)


def paste(prob, bbox, img_shape, threshold=0.5):
    """The mask in its image."""
    window, (x, y), _ = mask_of(prob, bbox, img_shape, threshold)
    mask = np.zeros(img_shape, bool)
    mask[y : y + window.shape[0], x : x + window.shape[1]] = window
    return mask


def test_normalize_probability():
    assert normalize_probability(np.array([[0.2, 0.4], [0.3, 0.6]])) == pytest.approx(
        np.array([[0, 0.5], [0.25, 1]])
    )


def test_mask_same_size():
    prob = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]], np.float32)
    mask = paste(prob, np.array([1, 1, 4, 3]), (4, 5))
    # Normalised: 0, 0.5, 1; a half is not above the threshold.
    expected = [[0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert mask.dtype == bool
    assert mask.astype(int).tolist() == expected


def test_mask_threshold():
    prob = np.array([[0.0, 0.4, 1.0]])
    for threshold, expected in [(0.3, [0, 1, 1]), (0.5, [0, 0, 1]), (1.0, [0, 0, 0])]:
        mask = paste(prob, np.array([0, 0, 3, 1]), (1, 3), threshold)
        assert mask[0].astype(int).tolist() == expected


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('threshold', [0.5, 'best', 'tight'])
def test_a_map_of_no_numbers_is_refused(value, threshold):
    prob = np.full((4, 4), 0.5, np.float32)
    prob[1, 2] = value
    with pytest.raises(InputError, match=r'no numbers for the box \[0, 0, 4, 4\]: its weights'):
        mask_of(prob, np.array([0, 0, 4, 4]), (4, 4), threshold)


def test_mask_is_bilinear():
    # Pixel centres of the large map lie at 0.25, 0.75, 1.25, 1.75 of the small one's pixels, so
    # the values are 0, 0.25, 0.75, 1.
    prob = np.array([[0.0, 1.0]])
    for threshold, expected in [(0.2, [0, 1, 1, 1]), (0.3, [0, 0, 1, 1]), (0.8, [0, 0, 0, 1])]:
        mask = paste(prob, np.array([0, 0, 4, 1]), (1, 4), threshold)
        assert mask[0].astype(int).tolist() == expected


@pytest.mark.parametrize(('value', 'expected'), [(0.0, 0), (0.4, 0), (0.6, 4), (1.0, 4)])
def test_mask_flat_map(value, expected):
    with np.errstate(all='raise'):
        mask = paste(np.full((6, 6), value), np.array([1, 1, 3, 3]), (4, 4))
    assert mask.sum() == expected


def test_mask_box_over_the_border():
    mask = paste(np.ones((3, 3)), np.array([-2, 2, 2, 9]), (4, 4))
    expected = [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
    assert mask.astype(int).tolist() == expected


def test_mask_leaves_its_box_by_the_slack_up_to_the_border():
    # Of 4x2 pixels grown by half: 2 and 1 on each side, of which the first column is outside.
    prob = np.tile(np.float32([1, 0, 0, 0, 0, 0, 1]), (4, 1))
    mask = mask_of(prob, np.array([1, 2, 5, 4]), (6, 9), 0.5, slack=0.5)
    assert mask.corner == (0, 1)
    assert mask.window.astype(int).tolist() == [[1, 0, 0, 0, 0, 0, 1]] * 4
    assert mask_rles([mask], [(6, 9)])[0]['size'] == [6, 9]


def draw_probability(rng, kind):
    size = tuple(rng.integers(1, 40, 2).tolist())
    prob = rng.random((5, 4)).astype(np.float32)
    prob = cv2.resize(prob, size, interpolation=cv2.INTER_CUBIC).clip(0, 1)
    if kind == 'steps':  # on and around the threshold once it is normalised
        return (prob * 4).round() / np.float32(4.7) + np.float32(0.1)
    if kind == 'faint':  # rounding is large beside what the map spans
        return np.float32(0.7) + prob * np.float32(1e-6)
    return prob


@pytest.mark.parametrize('kind', ['smooth', 'steps', 'faint'])
@pytest.mark.parametrize('threshold', [0.5, 0.25, 0.9])
def test_threshold_probability_equals_the_description(kind, threshold):
    """Normalised first, every pixel of it, as the paper's procedure has it."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        prob = draw_probability(rng, kind)
        size = tuple(rng.integers(1, 60, 2).tolist())
        low, high = prob.min(), prob.max()
        values = (prob - low) / (high - low) if high > low else prob
        expected = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR) > threshold
        mask = threshold_probability(prob, size, threshold)
        assert mask.dtype == bool
        assert (mask == expected).all()


def test_threshold_probability_where_rounding_decides():
    """A pixel so near the threshold that it falls to either side with the order of the steps."""
    rng = np.random.default_rng(0)
    for threshold in (0.25, 0.5, 0.9):
        for low, high in np.sort(rng.random((1000, 2)).astype(np.float32), axis=1):
            near = np.float32(low + (high - low) * np.float32(threshold))
            near += np.spacing(near) * np.float32(rng.integers(-2, 3))
            prob = np.array([[low, near, high]])
            expected = (prob - low) / (high - low) > threshold
            assert (threshold_probability(prob, (3, 1), threshold) == expected).all()


def test_rles_are_those_of_the_pasted_masks():
    rng = np.random.default_rng(0)
    for count in [*range(20), 1, 1]:
        shapes = [tuple(rng.integers(1, 50, 2).tolist()) for _ in range(count)]
        bboxes = np.sort(rng.uniform(-10, 60, (count, 2, 2)), axis=1).reshape(-1, 4)
        maps = [draw_probability(rng, 'smooth') for _ in bboxes]
        pasted = map(paste, maps, bboxes, shapes, [0.4] * count)
        masks = list(map(mask_of, maps, bboxes, shapes, [0.4] * count))
        assert mask_rles(masks, shapes) == list(map(encode_rle, pasted))


def test_threshold_is_that_of_the_mask(monkeypatch):
    prob = np.tile(np.float32([0.9, 0.9, 0.44, 0]), (4, 1))
    whole = np.array([0, 0, 4, 4])
    assert isinstance(mask_of(prob, whole, (4, 4), 0.3), BoxMask)
    assert mask_of(prob, whole, (4, 4), 0.3).threshold == 0.3
    best = mask_of(prob, whole, (4, 4), 'best')
    # Whoever rates the mask by this threshold rates this mask: 2.24 / 3 with the third column.
    assert best.window.any(axis=0).tolist() == [True, True, True, False]
    assert expected_iou(prob, best.threshold) == pytest.approx(2.24 / 3)
    # With a slack nobody says that the box is tight.
    prob = np.tile(np.float32([0.9, 0.9, 0.4, 0]), (4, 1))
    for slack, columns in ((0.0, 3), (0.1, 2)):
        tight = mask_of(prob, whole, (4, 4), 'tight', slack).window
        assert tight.any(axis=0).sum() == columns
    # It is looked for once, in the map as it is.
    seen = []
    monkeypatch.setattr(
        'mmboxcaseg.proxy.masks.best_threshold', lambda prob, tight: seen.append(prob) or 0.75
    )
    assert mask_of(prob, whole, (4, 4), 'best').threshold == 0.75
    assert len(seen) == 1 and seen[0] is prob
