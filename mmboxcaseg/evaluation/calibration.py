"""Whether the quality of masks is what it says: their IoU, on average."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from mmboxcaseg.proxy import UNCALIBRATED, log_odds


def fit_calibration(expected: np.ndarray, ious: np.ndarray) -> tuple[float, float]:
    """Find the calibration of expected IoUs by true ones, as Platt does for classes.

    Args:
        expected: (N,) float in [0, 1], of :func:`mmboxcaseg.proxy.expected_iou` without a
            calibration.
        ious: (N,) float in [0, 1], the true IoUs.

    Returns:
        Slope and offset, of which the cross-entropy of the IoUs with the calibrated numbers is
        least. The mean of these is then that of the IoUs.

    Example:
        Masks of 0.8 have 0.6 in truth, those of 0.9 have 0.75:

        >>> slope, offset = fit_calibration(np.array([0.8, 0.9]), np.array([0.6, 0.75]))
        >>> round(slope, 3), round(offset, 3)
        (0.855, -0.779)
    """
    odds = log_odds(expected)
    ious = np.asarray(ious, dtype=np.float64)

    def loss(calibration: np.ndarray) -> float:
        values = calibration[0] * odds + calibration[1]
        return float((np.logaddexp(0, values) - ious * values).mean())

    slope, offset = minimize(
        loss, UNCALIBRATED, method='Nelder-Mead', options=dict(xatol=1e-7, fatol=1e-12)
    ).x
    return float(slope), float(offset)


def calibration_error(quality: np.ndarray, ious: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: how far qualities are from the IoUs that they promise.

    Args:
        quality: (N,) float in [0, 1].
        ious: (N,) float in [0, 1], the true IoUs.
        bins: Of as many masks each, by quality.

    Returns:
        The mean over the bins of the distance between mean quality and mean IoU, in [0, 1].

    Example:
        >>> calibration_error(np.array([0.2, 0.4, 0.9]), np.array([0.3, 0.4, 0.6]), bins=3)
        0.13333333333333333
    """
    order = np.argsort(quality, kind='stable')
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [abs(np.mean(quality[part]) - np.mean(ious[part])) * len(part) for part in parts]
    return float(sum(gaps) / len(order))


def rank_correlation(values: np.ndarray, others: np.ndarray) -> float:
    """Spearman's rank correlation.

    Args:
        values: (N,) float.
        others: (N,) float.

    Returns:
        In [-1, 1]; NaN if all values of one side are alike.

    Example:
        >>> round(rank_correlation(np.array([1, 2, 3]), np.array([10, 40, 20])), 3)
        0.5
    """
    # Takes a quarter of a second to import, which who only wants masks would wait for too.
    from scipy.stats import rankdata

    if np.ptp(values) == 0 or np.ptp(others) == 0:
        return float('nan')
    return float(np.corrcoef(rankdata(values), rankdata(others))[0, 1])
