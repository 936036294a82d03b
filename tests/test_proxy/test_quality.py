import numpy as np
import pytest

from mmboxcaseg.proxy import expected_iou, normalize_probability


def test_by_hand():
    probs = np.array(
        [
            # Normalised: 1, 0.5, 0.75, 0. Mask: 0.9 and 0.7. 1.6 / (2 + 0.5 + 0.1).
            [[0.9, 0.5], [0.7, 0.1]],
            # All that is sure is right: 2 / 2.
            [[1, 1], [0, 0]],
        ]
    )
    assert expected_iou(probs).tolist() == pytest.approx([1.6 / 2.6, 1])
    # Normalised above 0.8: the first pixel alone. 0.9 / (1 + 1.3).
    assert expected_iou(probs, 0.8)[0] == pytest.approx(0.9 / 2.3)


def test_flat_maps_are_not_normalised():
    probs = np.array([np.full((3, 3), value) for value in (0, 0.3, 0.5, 0.8, 1)])
    assert expected_iou(probs).tolist() == pytest.approx([0, 0, 0, 0.8, 1])


def test_pixel_by_pixel():
    rng = np.random.default_rng(0)
    probs = rng.random((6, 7, 9)).astype(np.float32) ** 2
    for prob, got in zip(probs, expected_iou(probs, 0.6), strict=True):
        common = union = 0.0
        for p, value in zip(prob.flat, normalize_probability(prob).flat, strict=True):
            common += p if value > 0.6 else 0
            union += 1 if value > 0.6 else p
        assert got == pytest.approx(common / union)


def test_is_the_mean_iou_of_drawn_objects():
    # Large maps of independent pixels: the quotient of the means is the mean of the quotients.
    rng = np.random.default_rng(1)
    prob = rng.random((1, 60, 60)) ** 3
    mask = normalize_probability(prob[0]) > 0.5
    objects = rng.random((200, 60, 60)) < prob
    ious = (objects & mask).sum((1, 2)) / (objects | mask).sum((1, 2))
    assert expected_iou(prob)[0] == pytest.approx(ious.mean(), abs=0.003)


def test_does_not_depend_on_the_other_maps():
    probs = np.random.default_rng(2).random((5, 33, 31)).astype(np.float32)
    alone = [expected_iou(prob[None])[0] for prob in probs]
    assert expected_iou(probs).tolist() == alone


def test_no_maps():
    assert expected_iou(np.zeros((0, 4, 4), np.float32)).shape == (0,)
