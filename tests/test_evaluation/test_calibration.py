import numpy as np
import pytest
from scipy.stats import spearmanr

from mmboxcaseg.evaluation import calibration_error, fit_calibration
from mmboxcaseg.evaluation.calibration import rank_correlation


def calibrated(quality, slope, offset):
    odds = (quality / (1 - quality)) ** slope * np.exp(offset)
    return odds / (1 + odds)


def test_a_known_calibration_is_found():
    quality = np.linspace(0.05, 0.95, 40)
    for known in ((1.0, 0.0), (0.6, -0.4), (1.3, 0.2)):
        assert fit_calibration(quality, calibrated(quality, *known)) == pytest.approx(
            known, abs=1e-4
        )


def test_the_mean_is_met_where_no_curve_fits():
    rng = np.random.default_rng(0)
    quality, ious = rng.random((2, 200))
    fitted = calibrated(np.clip(quality, 1e-3, 1 - 1e-3), *fit_calibration(quality, ious))
    assert fitted.mean() == pytest.approx(ious.mean(), abs=1e-5)


def test_certain_masks():
    assert np.isfinite(fit_calibration(np.array([0.0, 0.5, 1.0]), np.array([0.1, 0.5, 0.8]))).all()


def test_calibration_error_by_hand():
    quality = np.array([0.9, 0.1, 0.7, 0.3])
    ious = np.array([0.5, 0.2, 0.8, 0.4])
    # Bins of two: 0.2 promised and 0.3 kept, 0.8 and 0.65.
    assert calibration_error(quality, ious, bins=2) == pytest.approx((0.1 + 0.15) / 2)
    assert calibration_error(quality, ious) == pytest.approx((0.4 + 0.1 + 0.1 + 0.1) / 4)
    # Bins of two and one: 0.2 and 0.3, 0.9 and 0.5.
    assert calibration_error(quality[[0, 1, 3]], ious[[0, 1, 3]], bins=2) == pytest.approx(
        (2 * 0.1 + 0.4) / 3
    )


@pytest.mark.parametrize('seed', range(3))
def test_rank_correlation_is_spearman_s(seed):
    rng = np.random.default_rng(seed)
    # Rounded: many are alike.
    values, others = rng.random((2, 50)).round(1)
    assert rank_correlation(values, others) == pytest.approx(spearmanr(values, others).statistic)
    assert np.isnan(rank_correlation(values, np.ones(50)))  # all of one rank
