import cv2
import numpy as np
import pytest

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import (
    best_threshold,
    check_threshold,
    combined_quality,
    expected_iou,
    log_odds,
    mask_of,
    normalize_probability,
    threshold_probability,
)


def test_by_hand():
    probs = np.array(
        [
            # Normalised: 1, 0.5, 0.75, 0. Mask: 0.9 and 0.7. 1.6 / (2 + 0.5 + 0.1).
            [[0.9, 0.5], [0.7, 0.1]],
            # All that is sure is right: 2 / 2.
            [[1, 1], [0, 0]],
        ]
    )
    assert [expected_iou(prob, 0.5) for prob in probs] == pytest.approx([1.6 / 2.6, 1])
    # Normalised above 0.8: the first pixel alone. 0.9 / (1 + 1.3).
    assert expected_iou(probs[0], 0.8) == pytest.approx(0.9 / 2.3)
    # Calibrated: of 1.6 / 2.6 the odds are 1.6.
    odds = 1.6**2 * np.exp(-1)
    calibrated = expected_iou(probs[0], 0.5, calibration=(2, -1))
    assert calibrated == pytest.approx(odds / (1 + odds))


def test_log_odds_are_finite():
    values = log_odds(np.array([0, 0.5, 0.8, 1]))
    assert values[1:3] == pytest.approx([0, np.log(4)])
    assert np.isfinite(values).all() and values[0] == pytest.approx(-values[3])


def test_flat_maps_are_not_normalised():
    quality = [expected_iou(np.full((3, 3), value), 0.5) for value in (0, 0.3, 0.5, 0.8, 1)]
    assert quality == pytest.approx([0, 0, 0, 0.8, 1])


def test_pixel_by_pixel():
    rng = np.random.default_rng(0)
    probs = rng.random((6, 7, 9)).astype(np.float32) ** 2
    for prob in probs:
        common = union = 0.0
        for p, value in zip(prob.flat, normalize_probability(prob).flat, strict=True):
            common += p if value > 0.6 else 0
            union += 1 if value > 0.6 else p
        assert expected_iou(prob, 0.6) == pytest.approx(common / union)


def test_is_the_mean_iou_of_drawn_objects():
    # Large maps of independent pixels: the quotient of the means is the mean of the quotients.
    rng = np.random.default_rng(1)
    prob = rng.random((60, 60)) ** 3
    mask = normalize_probability(prob) > 0.5
    objects = rng.random((200, 60, 60)) < prob
    ious = (objects & mask).sum((1, 2)) / (objects | mask).sum((1, 2))
    assert expected_iou(prob, 0.5) == pytest.approx(ious.mean(), abs=0.003)


def test_best_threshold_by_hand():
    # Masks of the 1, 2, 3 most probable pixels: 1 / 2.4, 1.8 / 2.6 and 2.3 / 3.1; of all: 2.4 / 4.
    prob = np.array([[1.0, 0.8], [0.5, 0.1]])
    threshold = best_threshold(prob)
    assert (normalize_probability(prob) > threshold).tolist() == [[True, True], [True, False]]
    assert expected_iou(prob, threshold) == pytest.approx(2.3 / 3.1)
    # 1.2 / 2.33 or 1.53 / 3, then 1.8 / 2.44 or 2.24 / 3; at 0.5 it would be the other way round.
    for sure, faint, taken in ((0.6, 0.33, False), (0.9, 0.44, True)):
        prob = np.array([[sure, sure], [faint, 0.0]])
        assert threshold_probability(prob, (2, 2), best_threshold(prob))[1, 0] == taken


def test_best_threshold_beats_all_others():
    rng = np.random.default_rng(3)
    for power in (0.5, 1, 3, 8):
        for prob in rng.random((3, 12, 9)) ** power:
            others = [expected_iou(prob, threshold) for threshold in np.linspace(0, 0.999, 400)]
            best = expected_iou(prob, best_threshold(prob))
            # It is one of 256 thresholds, so a pixel or two may lie on the other side.
            assert best >= max(others) - 0.005
            assert best > expected_iou(prob, 0.9)


def test_tight_threshold_by_hand():
    # Expected IoU of two columns 1.8 / 2.4, of three 2.2 / 3; they cover 2 and 3 of 4 columns, half
    # of which counts: 1.000 against 1.108.
    prob = np.array([[0.9, 0.9, 0.4, 0.0]])
    assert threshold_probability(prob, (4, 1), best_threshold(prob)).sum() == 2
    assert threshold_probability(prob, (4, 1), best_threshold(prob, tight=True)).sum() == 3
    # 1.8 / 2.2 + 1 / 4 against 2 / 3 + 3 / 8: too unsure.
    prob = np.array([[0.9, 0.9, 0.2, 0.0]])
    assert threshold_probability(prob, (4, 1), best_threshold(prob, tight=True)).sum() == 2


def test_tight_threshold_beats_all_others():
    rng = np.random.default_rng(6)
    for shape in ((12, 9), (5, 16)):
        for prob in cv2.GaussianBlur(rng.random((*shape, 8)), (0, 0), 1.5).transpose(2, 0, 1):

            def worth(threshold, prob=prob):
                mask = normalize_probability(prob) > threshold
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                covered = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / mask.size
                return expected_iou(prob, threshold) + 0.5 * covered

            others = [worth(threshold) for threshold in np.arange(256) / 256]
            assert worth(best_threshold(prob, tight=True)) == pytest.approx(max(others), abs=1e-12)
            assert np.ptp(others) > 0.05


def test_best_threshold_of_a_narrow_map():
    # Normalised for the threshold, but rated as they are.
    for prob in 0.25 + 0.3 * np.random.default_rng(4).random((5, 20, 20)):
        others = [expected_iou(prob, threshold) for threshold in np.linspace(0, 0.999, 400)]
        assert expected_iou(prob, best_threshold(prob)) >= max(others) - 0.002
    # The lowest value is never above a threshold, however many pixels have it.
    halves = np.repeat([[0.4, 0.6]], 4, axis=0)
    assert expected_iou(halves, best_threshold(halves)) == expected_iou(halves, 0.5)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_best_threshold_of_a_broken_map(value):
    prob = np.full((3, 3), 0.2)
    prob[1, 1] = value
    assert best_threshold(prob) == 0.5


def test_best_threshold_of_a_flat_map_is_a_half():
    for value, full in ((0.3, False), (0.7, True)):
        assert best_threshold(np.full((3, 3), value)) == 0.5
        mask = mask_of(np.full((3, 3), value), np.array([0, 0, 3, 3]), (3, 3), 'best').window
        assert mask.all() == mask.any() == full


@pytest.mark.parametrize('value', [-0.1, 1.5, float('nan'), 'worst', None, True])
def test_wrong_threshold_is_refused(value):
    with pytest.raises(InputError, match=r"threshold must be in \[0, 1\], 'best' or 'tight', not"):
        check_threshold('threshold', value)


@pytest.mark.parametrize('value', [0, 0.5, 1, 'best', 'tight'])
def test_threshold_is_a_share_or_a_name(value):
    check_threshold('threshold', value)


def test_combined_quality_by_hand():
    qualities = np.array([[0.9, 0.5, 0.0], [0.4, 0.5, 1.0]])
    assert combined_quality(qualities).tolist() == pytest.approx([0.6, 0.5, 0])
    assert combined_quality(np.array([[0.8], [0.8], [0.1]]))[0] == pytest.approx(0.4)
