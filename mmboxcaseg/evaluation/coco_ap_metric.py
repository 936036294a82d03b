"""COCO AP at thresholds that mmdet does not report, such as the 0.25 and 0.7 of Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from mmdet.evaluation import CocoMetric
from mmengine.fileio import load
from pycocotools.cocoeval import COCOeval

from mmboxcaseg.coco.annotations import check_masks, load_coco
from mmboxcaseg.datasets.mended_coco import MendedCOCO
from mmboxcaseg.errors import InputError, check_share
from mmboxcaseg.registry import METRICS


@METRICS.register_module()
class CocoAPMetric(CocoMetric):
    """mmdet's ``CocoMetric`` with AP at further thresholds.

    What mmdet reports stays as it is. For boxes and for masks, whichever ``metric`` names, AP at
    each of ``further_iou_thrs`` is added, as ``coco/segm_mAP_25``, by COCO's rules: crowds are
    ignored, the curve is read at 101 points. mmdet's ``iou_thrs`` is no way to them: it changes
    what the mean is over. The annotation file is mended in memory
    (:func:`mmboxcaseg.coco.repairs.mended`); where nothing at all is detected each AP is 0.

    Args:
        ann_file: As in ``CocoMetric``.
        metric: As in ``CocoMetric``.
        further_iou_thrs: Further IoU thresholds, in [0, 1].
        **kwargs: As in ``CocoMetric``.

    Raises:
        InputError: If a threshold is not in [0, 1], the file is no COCO file, or an object in it
            has no mask, or a broken one, where masks are scored.
    """

    def __init__(
        self,
        ann_file: str | None = None,
        metric: str | list[str] = 'bbox',
        further_iou_thrs: Sequence[float] = (0.25, 0.7),
        **kwargs,
    ) -> None:
        super().__init__(None, metric, **kwargs)
        if ann_file is not None:
            masks = 'segm' in self.metrics
            if masks:
                check_masks(load_coco(ann_file), ' to score against')
            self._coco_api = MendedCOCO(
                ann_file,
                scoring=True,
                masks=masks,
                sort_categories=kwargs.get('sort_categories', False),
            )
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
        if not self.format_only and not any(len(p['scores']) for _, p in results):
            return self._nothing_detected()
        metrics = super().compute_metrics(results)
        if not metrics:
            return metrics
        with TemporaryDirectory() as folder:
            files = self.results2json([prediction for _, prediction in results], f'{folder}/r')
            for kind in ('bbox', 'segm'):
                if kind in self.metrics:
                    metrics.update(self._further_aps(kind, files[kind]))
        return metrics

    def _nothing_detected(self) -> dict[str, float]:
        # mmdet gives no figures then, and a run that keeps its best checkpoint by one stops.
        items = self.metric_items or ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l']
        items = [*items, *(f'mAP_{round(100 * t)}' for t in self.further_iou_thrs)]
        kinds = [kind for kind in self.metrics if kind in ('bbox', 'segm')]
        return {f'{kind}_{item}': 0.0 for kind in kinds for item in items}

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
