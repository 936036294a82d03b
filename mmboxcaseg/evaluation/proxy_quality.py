"""How good proxy masks are where the true masks are known: merge and drop compared (Sec. 4.2.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmboxcaseg.coco.annotations import (
    Coco,
    Id,
    annotation_bboxes,
    decode_annotation,
    naming_mask,
)
from mmboxcaseg.coco.proxies import Proxy
from mmboxcaseg.proxy import (
    AGREEMENTS,
    box_agreement,
    decode_rle,
    merge_masks,
    pixel_bboxes,
)

from .box_mask_iou import mask_iou, summarize_ious
from .calibration import calibration_error, rank_correlation

#: Shares of the masks that :func:`compare_rankings` keeps, the best ones by some measure.
KEPT_SHARES = (1.0, 0.75, 0.5, 0.25)


@dataclass
class ProxyScores:
    """IoU with the truth, box agreement and quality of masks of one kind, (N,) float each.

    The quality is NaN where it is not known.
    """

    ious: np.ndarray
    agreement: np.ndarray
    quality: np.ndarray


@dataclass
class ProxyQuality:
    """One row of a comparison: ``kept`` share of the boxes and ``mean_iou`` of those kept."""

    masks: str
    min_agreement: float | None
    kept: float
    mean_iou: float


@dataclass
class Ranking:
    """How well a measure tells good masks from poor ones.

    Attributes:
        masks: Kind of the masks.
        measure: ``'agreement'`` or ``'quality'``.
        correlation: Spearman's rank correlation with the true IoU; NaN if all masks rank alike.
        error: Expected calibration error; NaN of the agreement, which promises no IoU.
        mean_ious: Mean IoU of the best of them, for each share of :data:`KEPT_SHARES`.
    """

    masks: str
    measure: str
    correlation: float
    error: float
    mean_ious: tuple[float, ...]


def score_proxies(
    truth: Coco, raw: Mapping[Id, Proxy], path: str | Path = 'the raw masks'
) -> dict[str, ProxyScores]:
    """Compare filled boxes, raw masks and merged masks with the truth.

    Args:
        truth: COCO file with true masks.
        raw: Annotation id to raw mask, as of :func:`mmboxcaseg.coco.load_masks`; a missing one
            counts as an empty mask.
        path: The file of the raw masks, for the message.

    Returns:
        Scores of ``'filled box'``, ``'raw'`` and ``'merged'`` masks, of the objects (no crowds),
        in the order of the images.

    Raises:
        InputError: If a mask is missing or broken; names the annotation and the file.

    Example:
        >>> import json
        >>> from mmboxcaseg.coco.annotations import parse_coco
        >>> image = dict(id=1, file_name='a.jpg', width=4, height=1)
        >>> true = dict(size=[1, 4], counts=[0, 1, 3])
        >>> thing = dict(id=5, image_id=1, category_id=7, bbox=[0, 0, 2, 1], segmentation=true)
        >>> content = dict(images=[image], annotations=[thing], categories=[dict(id=7, name='cat')])
        >>> truth = parse_coco(json.dumps(content).encode(), 'truth.json')
        >>> scores = score_proxies(truth, {5: Proxy(dict(size=[1, 4], counts=[0, 4]))})
        >>> {kind: score.ious.tolist() for kind, score in scores.items()}
        {'filled box': [0.5], 'raw': [0.25], 'merged': [0.25]}
    """
    kinds = ('filled box', 'raw', 'merged')
    ious = {kind: [] for kind in kinds}
    agreement = {kind: [] for kind in kinds}
    ids: list[Id] = []
    for image, objects in truth.objects_by_image():
        shape = image.shape
        bboxes = annotation_bboxes(objects)
        ids += [annotation.id for annotation in objects]
        true_masks = [decode_annotation(a, shape, truth.path) for a in objects]
        masks = {kind: np.zeros((len(objects), *shape), dtype=bool) for kind in kinds}
        for index, (x1, y1, x2, y2) in enumerate(pixel_bboxes(bboxes, shape)):
            masks['filled box'][index, y1:y2, x1:x2] = True
            if proxy := raw.get(objects[index].id):
                with naming_mask(f'mask of annotation {objects[index].id}', path):
                    masks['raw'][index] = decode_rle(proxy.rle, shape)
        masks['merged'] = merge_masks(masks['raw'], bboxes)
        for kind in kinds:
            pairs = zip(masks[kind], true_masks, strict=True)
            ious[kind] += [mask_iou(mask, target) for mask, target in pairs]
            agreement[kind] += box_agreement(masks[kind], bboxes).tolist()
    unknown = np.full(len(ids), np.nan)
    # No mask is known to be no good; float turns None into NaN.
    known = np.array([raw[id_].quality if id_ in raw else 0.0 for id_ in ids], dtype=np.float64)
    qualities = dict(zip(kinds, (unknown, known, known), strict=True))
    return {
        kind: ProxyScores(np.array(ious[kind]), np.array(agreement[kind]), qualities[kind])
        for kind in kinds
    }


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

    Example:
        >>> ious, agreement = np.array([0.2, 0.6, 0.9]), np.array([0.5, 0.9, 1.0])
        >>> masks = ProxyScores(ious, agreement, quality=np.array([0.1, 0.8, 0.7]))
        >>> scores = {kind: masks for kind in ('filled box', 'raw', 'merged')}
        >>> compare_drops(scores, thresholds=[0.8])[2]
        ProxyQuality(masks='raw', min_agreement=0.8, kept=0.6666666666666666, mean_iou=0.75)
    """
    rows = [ProxyQuality('filled box', None, 1.0, float(scores['filled box'].ious.mean()))]
    for kind in ('raw', 'merged'):
        ious, agreement = scores[kind].ious, scores[kind].agreement
        for threshold in (None, *thresholds):
            kept = np.ones(len(ious), bool) if threshold is None else agreement > threshold
            mean_iou = float(ious[kept].mean()) if kept.any() else float('nan')
            rows.append(ProxyQuality(kind, threshold, float(kept.mean()), mean_iou))
    return rows


def compare_rankings(scores: dict[str, ProxyScores]) -> list[Ranking]:
    """Compare the box agreement with the quality, where it is known, as measures of masks.

    Args:
        scores: Of :func:`score_proxies`.

    Returns:
        For raw and for merged masks a row by agreement and, if all qualities are known, one by
        quality. Of masks that rank alike the first ones are kept.

    Example:
        >>> ious, agreement = np.array([0.2, 0.6, 0.9]), np.array([0.5, 0.9, 1.0])
        >>> masks = ProxyScores(ious, agreement, quality=np.array([0.1, 0.8, 0.7]))
        >>> scores = {kind: masks for kind in ('filled box', 'raw', 'merged')}
        >>> [(row.measure, round(row.correlation, 3)) for row in compare_rankings(scores)[:2]]
        [('agreement', 1.0), ('quality', 0.5)]
    """
    rows = []
    for kind in ('raw', 'merged'):
        ious = scores[kind].ious
        for measure in ('agreement', 'quality'):
            values = getattr(scores[kind], measure)
            if np.isnan(values).any():
                continue
            best = ious[np.argsort(-values, kind='stable')]
            counts = [max(round(share * len(best)), 1) for share in KEPT_SHARES]
            means = tuple(float(best[:count].mean()) for count in counts)
            error = calibration_error(values, ious) if measure == 'quality' else float('nan')
            rows.append(Ranking(kind, measure, rank_correlation(values, ious), error, means))
    return rows


def proxy_tables(
    scores: dict[str, ProxyScores], truth: Coco, thresholds: Sequence[float] = AGREEMENTS
) -> list[str]:
    """Tables in Markdown: what drop does, what ranks masks well, and the paper's figures (Sec. 4).

    Args:
        scores: Of :func:`score_proxies`.
        truth: The file that they were scored against.
        thresholds: See :func:`compare_drops`.

    Returns:
        The lines.
    """
    lines = [
        '| masks | kept if the agreement is above | kept | mean IoU of the kept |',
        '|---|---|---|---|',
    ]
    for row in compare_drops(scores, thresholds):
        threshold = '-' if row.min_agreement is None else f'{row.min_agreement:.2f}'
        lines.append(f'| {row.masks} | {threshold} | {row.kept:.1%} | {row.mean_iou:.3f} |')
    shares = ' | '.join(f'best {share:.0%}' for share in KEPT_SHARES)
    lines += [
        '',
        '| masks | ranked by | Spearman with the true IoU | calibration error '
        f'| mean IoU of the {shares} |',
        '|---|---|---|---|' + '---|' * len(KEPT_SHARES),
    ]
    for row in compare_rankings(scores):
        means = ' | '.join(f'{mean:.3f}' for mean in row.mean_ious)
        error = '-' if np.isnan(row.error) else f'{row.error:.3f}'
        lines.append(f'| {row.masks} | {row.measure} | {row.correlation:.2f} | {error} | {means} |')
    lines += ['', '| masks | mIoU* | IoU@50 | IoU@75 |', '|---|---|---|---|']
    labels = np.array([a.category_id for _, objects in truth.objects_by_image() for a in objects])
    for masks, score in scores.items():
        values = summarize_ious(score.ious, labels, (0.5, 0.75)).values()
        lines.append(f'| {masks} | ' + ' | '.join(f'{value:.3f}' for value in values) + ' |')
    return lines
