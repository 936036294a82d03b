"""Scores of salient-object detection, for the paper's remark on U2-Net (Sec. 4.2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import normalize_probability
from mmboxcaseg.registry import METRICS

# Weight of the precision in the F-measure, beta squared.
_BETA2 = 0.3
_LIBRARY = 'py_sod_metrics'


@dataclass
class SalientScores:
    """Scores of one map.

    Attributes:
        precision: (256,) float, at thresholds from 255/255 down to 0.
        recall: (256,) float.
        mae: Mean absolute error.
        s_measure: Structure measure, see :func:`score_salient_map`.
    """

    precision: np.ndarray
    recall: np.ndarray
    mae: float
    s_measure: float


def score_salient_map(prob: np.ndarray, target: np.ndarray) -> SalientScores:
    """Compare a probability map with the mask of the salient objects, by PySODMetrics.

    Nothing is normalised. Where object or ground is a single pixel, or the object's centre lies
    in the last row or column, the S-measure is not defined and the library gives 0.

    Args:
        prob: (H, W) float32 in [0, 1].
        target: (H, W) bool.

    Returns:
        The scores.

    Example:
        >>> target = np.array([[1, 1, 1, 1, 0, 0, 0, 0]] * 8, dtype=bool)
        >>> score_salient_map(target * np.float32(0.5), target).mae
        0.25
    """
    from py_sod_metrics import MAE, FmeasureV2, PrecisionHandler, RecallHandler, Smeasure

    handlers = {
        name: handler(with_dynamic=True, with_adaptive=False)
        for name, handler in (('precision', PrecisionHandler), ('recall', RecallHandler))
    }
    curves, mae, s_measure = FmeasureV2(handlers), MAE(), Smeasure()
    for metric in (curves, mae, s_measure):
        metric.step(prob, target, normalize=False)
    return SalientScores(
        **{name: curve['dynamic'] for name, curve in curves.get_results().items()},
        mae=float(mae.get_results()['mae']),
        s_measure=float(s_measure.get_results()['sm']),
    )


def summarize_salient_scores(scores: Sequence[SalientScores]) -> dict[str, float]:
    """Sum up the scores of images.

    Args:
        scores: One for each image.

    Returns:
        ``maxF``: the highest F-measure, beta squared 0.3, on the curve of the mean precision and
        the mean recall over the images; ``MAE`` and ``Sm``: the means over the images.

    Example:
        >>> right, wrong = np.array([1.0, 0.5]), np.array([0.0, 0.5])
        >>> summarize_salient_scores(
        ...     [SalientScores(right, right, 0.0, 1.0), SalientScores(wrong, wrong, 0.5, 0.0)])
        {'maxF': 0.5, 'MAE': 0.25, 'Sm': 0.5}
    """
    precision, recall = (
        np.mean([getattr(s, name) for s in scores], axis=0) for name in ('precision', 'recall')
    )
    weighted = _BETA2 * precision + recall
    f_measure = (1 + _BETA2) * precision * recall / np.where(weighted > 0, weighted, 1)
    return dict(
        maxF=float(f_measure.max()),
        MAE=float(np.mean([s.mae for s in scores])),
        Sm=float(np.mean([s.s_measure for s in scores])),
    )


@METRICS.register_module()
class SalientObjectMetric(BaseMetric):
    """Max F-measure, MAE and S-measure of every map that the network predicts.

    Works on ``SalientObjectDataset(test_mode=True)`` with patches of :class:`WholeImagePatch`:
    each map is resized to its image. Results are named ``<map>/maxF``, ``<map>/MAE`` and
    ``<map>/Sm``. The max F-measure is that of U2-Net's authors: precision and recall are averaged
    over the images before F is taken, where others average F.

    Args:
        normalize: Whether each map is stretched to [0, 1] first, as U2-Net's own maps and those
            of the usual toolboxes are, and as it is done for proxy masks.
        **kwargs: As in mmengine's ``BaseMetric``.

    Raises:
        InputError: If PySODMetrics is not installed.
    """

    default_prefix = None

    def __init__(self, normalize: bool = True, **kwargs) -> None:
        super().__init__(**kwargs)
        if find_spec(_LIBRARY) is None:
            raise InputError(
                'SalientObjectMetric needs PySODMetrics: install it as requirements/no-deps.txt '
                'says'
            )
        self.normalize = normalize

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Score a batch; one entry for each data sample."""
        for sample in data_samples:
            target = sample['gt_sem_seg']['sem_seg'][0].cpu().numpy().astype(bool)
            if target.shape != tuple(sample['ori_shape']):
                raise InputError(
                    f'the mask of {sample["img_path"]} was cut or resized: '
                    'SalientObjectMetric needs mmboxcaseg.WholeImagePatch in the test pipeline'
                )
            entry = {}
            for name, prob in sample['pred_maps'].items():
                prob = cv2.resize(prob[0].cpu().numpy(), target.shape[::-1])
                prob = normalize_probability(prob) if self.normalize else prob.clip(0, 1)
                entry[name] = score_salient_map(prob, target)
            self.results.append(entry)

    def compute_metrics(self, results: list[dict[str, SalientScores]]) -> dict[str, float]:
        """Sum up all entries; raises :class:`InputError` if there is none."""
        if not results:
            raise InputError('SalientObjectMetric has nothing to score: the data set has no image')
        return {
            f'{name}/{key}': value
            for name in sorted(results[0])
            for key, value in summarize_salient_scores([entry[name] for entry in results]).items()
        }
