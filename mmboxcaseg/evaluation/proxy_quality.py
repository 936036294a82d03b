"""How good proxy masks are where the true masks are known: merge and drop compared (Sec. 4.2.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmboxcaseg.proxy import AGREEMENTS, box_agreement, decode_rle, merge_masks, pixel_bboxes
from mmboxcaseg.proxy.coco import annotation_bboxes, annotations_by_image, wants_mask

from .box_mask_iou import mask_iou


@dataclass
class ProxyScores:
    """IoU with the truth and box agreement of the masks of one kind, ``(N,)`` float each."""

    ious: np.ndarray
    agreement: np.ndarray


@dataclass
class ProxyQuality:
    """One row of a comparison: ``kept`` share of the boxes and ``mean_iou`` of those kept."""

    masks: str
    min_agreement: float | None
    kept: float
    mean_iou: float


def score_proxies(truth: dict, raw: dict[int, dict | list]) -> dict[str, ProxyScores]:
    """Compare filled boxes, raw masks and merged masks with the truth.

    Args:
        truth: Content of a COCO file with true masks.
        raw: Annotation id to raw ``segmentation``; a missing one counts as an empty mask.

    Returns:
        Scores of ``'filled box'``, ``'raw'`` and ``'merged'`` masks, of the boxes that want a
        mask (no crowds), in the order of the images.
    """
    kinds = ('filled box', 'raw', 'merged')
    ious = {kind: [] for kind in kinds}
    agreement = {kind: [] for kind in kinds}
    images = {image['id']: image for image in truth['images']}
    for img_id, group in annotations_by_image(truth).items():
        shape = images[img_id]['height'], images[img_id]['width']
        objects = list(filter(wants_mask, group))
        bboxes = annotation_bboxes(objects)
        true_masks = [decode_rle(annotation['segmentation'], shape) for annotation in objects]
        masks = {kind: np.zeros((len(objects), *shape), dtype=bool) for kind in kinds}
        for index, (x1, y1, x2, y2) in enumerate(pixel_bboxes(bboxes, shape)):
            masks['filled box'][index, y1:y2, x1:x2] = True
            if segmentation := raw.get(objects[index]['id']):
                masks['raw'][index] = decode_rle(segmentation, shape)
        masks['merged'] = merge_masks(masks['raw'], bboxes)
        for kind in kinds:
            pairs = zip(masks[kind], true_masks, strict=True)
            ious[kind] += [mask_iou(mask, target) for mask, target in pairs]
            agreement[kind] += box_agreement(masks[kind], bboxes).tolist()
    return {kind: ProxyScores(np.array(ious[kind]), np.array(agreement[kind])) for kind in kinds}


def compare_drops(
    scores: dict[str, ProxyScores], thresholds: Sequence[float] = AGREEMENTS
) -> list[ProxyQuality]:
    """Sum up the scores without and with drop.

    Args:
        scores: Of :func:`score_proxies`.
        thresholds: A mask is kept if its agreement is above this.

    Returns:
        A row for filled boxes, then for raw and for merged masks one without drop and one for
        each threshold; ``mean_iou`` is NaN where nothing is kept.
    """
    rows = [ProxyQuality('filled box', None, 1.0, float(scores['filled box'].ious.mean()))]
    for kind in ('raw', 'merged'):
        ious, agreement = scores[kind].ious, scores[kind].agreement
        for threshold in (None, *thresholds):
            kept = np.ones(len(ious), bool) if threshold is None else agreement > threshold
            mean_iou = float(ious[kept].mean()) if kept.any() else float('nan')
            rows.append(ProxyQuality(kind, threshold, float(kept.mean()), mean_iou))
    return rows
