"""Metrics of masks."""

from .box_mask_iou import BoxMaskIoUMetric, mask_iou, summarize_ious
from .coco_ap_metric import CocoAPMetric
from .proxy_quality import (
    KEPT_SHARES,
    ProxyQuality,
    ProxyScores,
    Ranking,
    compare_drops,
    compare_rankings,
    score_proxies,
)
from .salient_object import SalientObjectMetric
from .voc_instance_metric import VOCInstanceMetric

__all__ = [
    'BoxMaskIoUMetric',
    'CocoAPMetric',
    'KEPT_SHARES',
    'ProxyQuality',
    'ProxyScores',
    'Ranking',
    'SalientObjectMetric',
    'VOCInstanceMetric',
    'compare_drops',
    'compare_rankings',
    'mask_iou',
    'score_proxies',
    'summarize_ious',
]
