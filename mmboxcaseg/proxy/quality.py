"""How good a mask probably is, told by the map that it was made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real

import numpy as np

from mmboxcaseg.errors import InputError

#: In place of a number: the threshold of each map that :func:`best_threshold` finds.
BEST = 'best'
#: The same, of masks that reach the edges of their boxes where it costs little.
TIGHT = 'tight'

# Worth of a mask that fills its box, beside its expected IoU. Chosen on the boxes of COCO val with
# an even image id (docs/results.md); from 0.3 to 1 it hardly matters.
TIGHTNESS = 0.5

# Thresholds that are compared; between two of them a mask hardly changes.
LEVELS = 256


def check_threshold(name: str, value: float | str) -> None:
    """Check a setting that is the threshold of a mask.

    Args:
        name: The setting, for the message.
        value: What was given.

    Raises:
        InputError: If it is neither a number in [0, 1] nor ``'best'`` nor ``'tight'``.

    Example:
        >>> check_threshold('threshold', 2)
        Traceback (most recent call last):
        mmboxcaseg.errors.InputError: threshold must be in [0, 1], 'best' or 'tight', not 2
    """
    is_share = isinstance(value, Real) and not isinstance(value, bool) and 0 <= value <= 1
    if not is_share and not (isinstance(value, str) and value in (BEST, TIGHT)):
        raise InputError(f"{name} must be in [0, 1], 'best' or 'tight', not {value!r}")


def best_threshold(prob: np.ndarray, tight: bool = False) -> float:
    """Find the threshold whose mask has the greatest expected IoU.

    Of a map that is unsure it lies well below a half: to take in a pixel that is object by 0.4
    costs less than to miss it, as long as the IoU of the whole mask is below 0.4 / 0.6.

    An annotated box ends where its object ends. Who knows that a box is such a one asks for a
    ``tight`` mask: the expected IoU and half of the share of the box that the mask's own tight box
    covers are then the greatest together.

    Args:
        prob: (h, w) float probabilities of a patch cropped at its box.
        tight: Whether the box is known to end where its object does.

    Returns:
        The threshold of the normalised map, a multiple of 1/256 below 1; 0.5 of a flat map.

    Example:
        >>> prob = np.array([[1.0, 0.75], [0.5, 0.0]])
        >>> (prob > best_threshold(prob)).tolist()
        [[True, True], [True, False]]
        >>> prob = np.array([[1.0, 1.0, 0.4, 0.0]])
        >>> (prob > best_threshold(prob)).tolist(), (prob > best_threshold(prob, True)).tolist()
        ([[True, True, False, False]], [[True, True, True, False]])
    """
    values = prob.astype(np.float64)
    low, high = values.min(), values.max()
    if not low < high < np.inf:  # flat, or of a network that has diverged
        return 0.5
    # A pixel lies above the thresholds 0 to level - 1, that of the lowest value above none.
    levels = np.ceil((values - low) / (high - low) * LEVELS).astype(np.intp)
    # Of the mask of each threshold: its pixels, and the probability in them.
    area = np.bincount(levels.ravel(), minlength=LEVELS + 1)[:0:-1].cumsum()[::-1]
    common = np.bincount(levels.ravel(), values.ravel(), LEVELS + 1)[:0:-1].cumsum()[::-1]
    worth = common / (area + values.sum() - common)
    if tight:
        worth += TIGHTNESS * _covered(levels.max(axis=0)) * _covered(levels.max(axis=1))
    return float(worth.argmax() / LEVELS)


def _covered(levels: np.ndarray) -> np.ndarray:
    """The share of a line, by threshold, from its first pixel above to its last one."""
    thresholds = np.arange(LEVELS)
    before, behind = (
        np.searchsorted(np.maximum.accumulate(line), thresholds, side='right')
        for line in (levels, levels[::-1])
    )
    return (len(levels) - before - behind) / len(levels)


#: The expected IoU as it is, in place of a calibration.
UNCALIBRATED = (1.0, 0.0)


def check_calibration(name: str, value: Sequence[float]) -> None:
    """Check a setting that is the calibration of a quality.

    Args:
        name: The setting, for the message.
        value: What was given.

    Raises:
        InputError: If it is not a slope above 0 and an offset, both finite.

    Example:
        >>> check_calibration('calibration', (0, 1))
        Traceback (most recent call last):
        mmboxcaseg.errors.InputError: calibration must be a slope above 0 and an offset, not (0, 1)
    """
    pair = tuple(value) if isinstance(value, list | tuple) else ()
    are_numbers = all(
        isinstance(number, Real) and not isinstance(number, bool) and math.isfinite(number)
        for number in pair
    )
    if len(pair) != 2 or not are_numbers or pair[0] <= 0:
        raise InputError(f'{name} must be a slope above 0 and an offset, not {value!r}')


# Of a quality, before its odds are taken.
LEAST = 1e-3


def log_odds(quality: np.ndarray) -> np.ndarray:
    """The logarithm of the odds of qualities, which a calibration maps.

    Args:
        quality: Float in [0, 1], of any shape; taken as 0.001 to 0.999.

    Returns:
        Float64 of the same shape.

    Example:
        >>> log_odds(np.array([0.5, 0.9])).round(3).tolist()
        [0.0, 2.197]
    """
    quality = np.clip(np.asarray(quality, dtype=np.float64), LEAST, 1 - LEAST)
    return np.log(quality / (1 - quality))


def expected_iou(
    prob: np.ndarray, threshold: float, calibration: tuple[float, float] = UNCALIBRATED
) -> float:
    """Expect the IoU of a map's mask with its object from the map's own probabilities.

    If every pixel of a box were object by its probability ``p``, a mask ``m`` would share
    ``sum(p m)`` pixels with the object on average, and cover ``sum(m) + sum(p (1 - m))`` together
    with it: their quotient. Beside the box agreement of the paper, which looks at the outline
    alone, this sees what the network is unsure of inside it. A network is surer than it should be;
    by a calibration (:func:`mmboxcaseg.evaluation.fit_calibration`) the number is the mean IoU of
    masks that have it.

    Args:
        prob: (h, w) float probabilities of a patch cropped at its box, not normalised.
        threshold: That of the mask, as in :class:`BoxMask`: it is where the normalised map is
            above it.
        calibration: Slope and offset, by which the logarithm of the odds is mapped.

    Returns:
        In [0, 1]; 0 for an empty mask.

    Example:
        >>> prob = np.array([[0.9, 0.5], [0.7, 0.1]])
        >>> round(expected_iou(prob, 0.5), 3)
        0.615
        >>> round(expected_iou(prob, 0.5, calibration=(1.0, -0.5)), 3)
        0.493
    """
    low, high = prob.min(), prob.max()
    # A flat map is not normalised, as in normalize_probability.
    mask = ((prob - low) / (high - low) if high > low else prob) > threshold
    common = np.where(mask, prob, 0).sum(dtype=np.float64)
    union = np.count_nonzero(mask) + prob.sum(dtype=np.float64) - common
    if not union > 0 or not common > 0:
        return 0.0
    expected = common / union
    if tuple(calibration) != UNCALIBRATED:
        slope, offset = calibration
        expected = 1 / (1 + np.exp(-slope * log_odds(expected) - offset))
    return float(expected)


def combined_quality(qualities: np.ndarray) -> np.ndarray:
    """Rate masks by the quality that each of several rounds of training gave to its own.

    Args:
        qualities: (R, N) float in [0, 1], of R rounds.

    Returns:
        (N,) float64: their geometric mean, low where any round was unsure.

    Example:
        >>> combined_quality(np.array([[0.9, 0.4], [0.4, 0.4]])).round(3).tolist()
        [0.6, 0.4]
    """
    return np.prod(np.asarray(qualities, dtype=np.float64) ** (1 / len(qualities)), axis=0)
