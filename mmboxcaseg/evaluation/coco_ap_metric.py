"""COCO AP at thresholds that mmdet does not report, such as the 0.25 and 0.7 of Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from mmdet.evaluation import CocoMetric
from mmengine.fileio import load
from pycocotools.cocoeval import COCOeval

from mmboxcaseg.errors import InputError, check_share
from mmboxcaseg.registry import METRICS


@METRICS.register_module()
class CocoAPMetric(CocoMetric):
    """mmdet's ``CocoMetric`` with AP at further thresholds.

    What mmdet reports stays as it is. For boxes and for masks, whichever ``metric`` names, AP at
    each of ``further_iou_thrs`` is added, as ``coco/segm_mAP_25``, by COCO's rules: crowds are
    ignored, the curve is read at 101 points. mmdet's ``iou_thrs`` is no way to them: it changes
    what the mean is over.

    Args:
        *args: As in ``CocoMetric``.
        further_iou_thrs: Further IoU thresholds, in [0, 1].
        **kwargs: As in ``CocoMetric``.

    Raises:
        InputError: If a threshold is not in [0, 1].
    """

    def __init__(self, *args, further_iou_thrs: Sequence[float] = (0.25, 0.7), **kwargs) -> None:
        super().__init__(*args, **kwargs)
        for threshold in further_iou_thrs:
            check_share('further_iou_thrs', threshold)
        self.further_iou_thrs = np.array(further_iou_thrs)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Sum up all entries; nothing is added where mmdet gives nothing.

        Raises:
            InputError: If there is no entry, of which mmdet makes a ValueError without a word.
        """
        if not results:
            raise InputError('CocoAPMetric has nothing to score: the data set has no image')
        metrics = super().compute_metrics(results)
        if not metrics:
            return metrics
        with TemporaryDirectory() as folder:
            files = self.results2json([prediction for _, prediction in results], f'{folder}/r')
            for kind in ('bbox', 'segm'):
                if kind in self.metrics:
                    metrics.update(self._further_aps(kind, files[kind]))
        return metrics

    def _further_aps(self, kind: str, file: str | Path) -> dict[str, float]:
        evaluation = COCOeval(self._coco_api, self._coco_api.loadRes(load(file)), kind)
        evaluation.params.catIds = self.cat_ids
        evaluation.params.maxDets = self.proposal_nums
        evaluation.params.iouThrs = self.further_iou_thrs
        # All sizes of objects.
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        evaluation.evaluate()
        evaluation.accumulate()
        aps = {}
        for threshold, precision in zip(
            self.further_iou_thrs, evaluation.eval['precision'][..., 0, -1], strict=True
        ):
            # -1 stands for a class without objects.
            known = precision[precision > -1]
            # Rounded like mmdet's own figures.
            aps[f'{kind}_mAP_{round(100 * threshold)}'] = round(
                float(known.mean()) if known.size else -1.0, 3
            )
        return aps
