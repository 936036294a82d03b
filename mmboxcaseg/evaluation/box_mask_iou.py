"""mIoU* and IoU@k of masks predicted inside ground-truth boxes (Sec. 4, evaluation metric)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import decode_rle, paste_probability
from mmboxcaseg.registry import METRICS

# COCO's sizes: lower bounds of the area in pixels of small, medium and large objects.
_SIZE_BOUNDS = (0, 32**2, 96**2)
_SIZE_NAMES = ('S', 'M', 'L')


def mask_iou(prediction: np.ndarray, target: np.ndarray) -> float:
    """Intersection over union of two masks.

    Args:
        prediction: ``(H, W)`` bool.
        target: ``(H, W)`` bool.

    Returns:
        IoU in [0, 1]; 0 if both are empty.
    """
    union = np.count_nonzero(prediction | target)
    return np.count_nonzero(prediction & target) / union if union else 0.0


def summarize_ious(
    ious: np.ndarray, labels: np.ndarray, thresholds: Sequence[float]
) -> dict[str, float]:
    """Sum up the IoUs of instances as the paper does.

    Args:
        ious: ``(N,)`` float.
        labels: ``(N,)`` int, class of each instance.
        thresholds: The k of IoU@k, in [0, 1].

    Returns:
        ``mIoU``: the mean over the classes that occur of the class's mean IoU (mIoU* of the
        paper); ``IoU@k``: the share of all instances whose IoU is at least k.
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
    turned into a mask as proxy masks are, and compared with the truth over the whole image.
    Results are named ``<map>/mIoU``, ``<map>/IoU@50`` and so on.

    Args:
        thresholds: The k of IoU@k.
        by_size: Whether to give mIoU* of small, medium and large objects too (COCO's bounds on
            the annotation's ``area``).
        classwise: Whether to give each class's mean IoU too, as ``<map>/mIoU_<class>``.
        **kwargs: As in mmengine's ``BaseMetric``.
    """

    default_prefix = None

    def __init__(
        self,
        thresholds: Sequence[float] = (0.25, 0.5, 0.7, 0.75),
        by_size: bool = False,
        classwise: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.thresholds = tuple(thresholds)
        self.by_size = by_size
        self.classwise = classwise

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Score a batch; one entry for each data sample."""
        for sample in data_samples:
            try:
                target = decode_rle(sample['segmentation'], sample['ori_shape'])
            except ValueError as error:
                raise InputError(
                    f'the segmentation of annotation {sample["ann_id"]} is broken: {error}'
                ) from None
            ious = {}
            for name, prob in sample['pred_maps'].items():
                prob = prob[0].cpu().numpy()
                mask = paste_probability(prob, sample['bbox'], sample['ori_shape'])
                ious[name] = mask_iou(mask, target)
            self.results.append(dict(label=sample['label'], area=sample['area'], ious=ious))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Sum up all entries."""
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
            metrics.update({f'{name}/{key}': value for key, value in summary.items()})
        return metrics
