"""mIoU* and IoU@k of masks predicted inside ground-truth boxes (Sec. 4, evaluation metric)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import (
    Edges,
    expected_iou,
    mask_edges,
    mask_of,
    read_edges,
)
from mmboxcaseg.registry import METRICS

from .calibration import calibration_error, fit_calibration, rank_correlation

# COCO's sizes: lower bounds of the area in pixels of small, medium and large objects.
_SIZE_BOUNDS = (0, 32**2, 96**2)
_SIZE_NAMES = ('S', 'M', 'L')


def mask_iou(prediction: np.ndarray, target: np.ndarray) -> float:
    """Intersection over union of two masks.

    Args:
        prediction: (H, W) bool.
        target: (H, W) bool.

    Returns:
        IoU in [0, 1]; 0 if both are empty.

    Example:
        >>> float(mask_iou(np.array([[True, True, False]]), np.array([[False, True, False]])))
        0.5
    """
    union = np.count_nonzero(prediction | target)
    return np.count_nonzero(prediction & target) / union if union else 0.0


def edges_ious(predictions: Edges, targets: Edges) -> np.ndarray:
    """Intersection over union of each mask with its partner, as :func:`mask_iou`.

    Args:
        predictions: Of N masks.
        targets: Of the N other masks, of the same images.

    Returns:
        (N,) float64 in [0, 1]; 0 where both are empty.

    Example:
        >>> shapes = [(1, 3)]
        >>> drawn = read_edges([dict(size=[1, 3], counts=[0, 2, 1])], shapes)
        >>> true = read_edges([dict(size=[1, 3], counts=[1, 1, 1])], shapes)
        >>> edges_ious(drawn, true).tolist()
        [0.5]
    """
    # One image behind the other: no pixel of one has a number of another's.
    length = 1 + max(edges.positions.max(initial=0) for edges in (predictions, targets))
    firsts = length * np.arange(len(predictions.counts))
    own, true = (e.positions + firsts.repeat(e.counts) for e in (predictions, targets))
    # How many pixels of the targets come before a pixel: a line from edge to edge, of slope 1
    # inside a target and 0 outside.
    before = np.zeros(len(true) + 1)
    before[2::2] = (true[1::2] - true[::2]).cumsum()
    before[3::2] = before[2:-1:2]
    passed = np.interp(own, np.append(-1, true), before)
    common = _sum_runs(passed, predictions.counts)
    union = _sum_runs(own, predictions.counts) + _sum_runs(true, targets.counts) - common
    return np.divide(common, union, out=np.zeros(len(union)), where=union > 0)


def _sum_runs(positions: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sum, for every mask, what lies between the edges where a run begins and where it ends."""
    sums = np.zeros(len(positions) // 2 + 1)
    (positions[1::2] - positions[::2]).cumsum(out=sums[1:])
    stops = counts.cumsum() // 2
    return sums[stops] - sums[stops - counts // 2]


def summarize_ious(
    ious: np.ndarray, labels: np.ndarray, thresholds: Sequence[float]
) -> dict[str, float]:
    """Sum up the IoUs of instances as the paper does.

    Args:
        ious: (N,) float.
        labels: (N,) int, class of each instance.
        thresholds: The k of IoU@k, in [0, 1].

    Returns:
        ``mIoU``: the mean over the classes that occur of the class's mean IoU (mIoU* of the
        paper); ``IoU@k``: the share of all instances whose IoU is at least k.

    Example:
        >>> summarize_ious(np.array([0.5, 1.0, 0.25]), np.array([0, 0, 1]), thresholds=[0.5])
        {'mIoU': 0.5, 'IoU@50': 0.6666666666666666}
    """
    means = [ious[labels == label].mean() for label in np.unique(labels)]
    summary = dict(mIoU=float(np.mean(means)))
    for threshold in thresholds:
        summary[f'IoU@{round(100 * threshold)}'] = float((ious >= threshold).mean())
    return summary


@METRICS.register_module()
class BoxMaskIoUMetric(BaseMetric):
    """mIoU* and IoU@k of every map that the network predicts.

    Works on the test patches of ``BoxInstanceDataset(with_segmentation=True)``: each map is
    turned into a mask as proxy masks are, and compared with the truth over the whole image. So
    what a network's slack lets a mask take beyond its box counts, and so does what a box leaves out
    of its object.
    Results are named ``<map>/mIoU``, ``<map>/IoU@50`` and so on.

    Args:
        thresholds: The k of IoU@k.
        by_size: Whether to give mIoU* of small, medium and large objects too (COCO's bounds on
            the annotation's ``area``).
        classwise: Whether to give each class's mean IoU too, as ``<map>/mIoU_<class>``.
        quality: Whether to rate the quality of the masks too: ``<map>/quality_spearman``, its rank
            correlation with the true IoU, ``<map>/quality_error``, its expected calibration error,
            and ``<map>/calibration_slope`` and ``_offset``, which a ``calibration`` would be of
            these masks if the config had none.
        **kwargs: As in mmengine's ``BaseMetric``.
    """

    default_prefix = None

    def __init__(
        self,
        thresholds: Sequence[float] = (0.25, 0.5, 0.7, 0.75),
        by_size: bool = False,
        classwise: bool = False,
        quality: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.quality = quality
        self.thresholds = tuple(thresholds)
        self.by_size = by_size
        self.classwise = classwise

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Score a batch; one entry for each data sample."""
        targets = _read_targets(data_samples)
        shapes = [sample['ori_shape'] for sample in data_samples]
        ious, qualities = {}, {}
        for name in data_samples[0]['pred_maps']:
            maps = [sample['pred_maps'][name][0].cpu().numpy() for sample in data_samples]
            masks = [
                mask_of(
                    prob,
                    sample['bbox'],
                    sample['ori_shape'],
                    sample['threshold'],
                    sample.get('slack', 0.0),
                )
                for prob, sample in zip(maps, data_samples, strict=True)
            ]
            ious[name] = edges_ious(mask_edges(masks, shapes), targets).tolist()
            if self.quality:
                qualities[name] = [
                    expected_iou(prob, mask.threshold, sample['calibration'])
                    for prob, mask, sample in zip(maps, masks, data_samples, strict=True)
                ]
        for index, sample in enumerate(data_samples):
            entry = dict(label=sample['label'], area=sample['area'])
            for kind, values in (('ious', ious), ('quality', qualities)):
                entry[kind] = {name: numbers[index] for name, numbers in values.items()}
            self.results.append(entry)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Sum up all entries."""
        if not results:
            raise InputError('BoxMaskIoUMetric has nothing to score: the data set has no box')
        labels = np.array([entry['label'] for entry in results])
        areas = np.array([entry['area'] for entry in results])
        sizes = np.searchsorted(_SIZE_BOUNDS, areas, side='right') - 1
        metrics = {}
        for name in sorted(results[0]['ious']):
            ious = np.array([entry['ious'][name] for entry in results])
            summary = summarize_ious(ious, labels, self.thresholds)
            if self.by_size:
                for index, size in enumerate(_SIZE_NAMES):
                    chosen = sizes == index
                    if chosen.any():
                        part = summarize_ious(ious[chosen], labels[chosen], ())
                        summary[f'mIoU_{size}'] = part['mIoU']
            if self.classwise:
                for label in np.unique(labels):
                    class_ = self.dataset_meta['classes'][label]
                    summary[f'mIoU_{class_}'] = float(ious[labels == label].mean())
            if self.quality:
                quality = np.array([entry['quality'][name] for entry in results])
                slope, offset = fit_calibration(quality, ious)
                summary.update(
                    quality_spearman=rank_correlation(quality, ious),
                    quality_error=calibration_error(quality, ious),
                    calibration_slope=slope,
                    calibration_offset=offset,
                )
            metrics.update({f'{name}/{key}': value for key, value in summary.items()})
        return metrics


def _read_targets(samples: Sequence[dict]) -> Edges:
    """Read the true masks of data samples."""
    segmentations = [sample['segmentation'] for sample in samples]
    shapes = [sample['ori_shape'] for sample in samples]
    try:
        return read_edges(segmentations, shapes)
    except ValueError:
        for sample in samples:
            try:
                read_edges([sample['segmentation']], [sample['ori_shape']])
            except ValueError as error:
                raise InputError(
                    f'the segmentation of annotation {sample["ann_id"]} is broken: {error}'
                ) from None
        raise
