"""Metrics of masks."""

from .box_mask_iou import BoxMaskIoUMetric, mask_iou, summarize_ious
from .proxy_quality import ProxyQuality, ProxyScores, compare_drops, score_proxies

__all__ = [
    'BoxMaskIoUMetric',
    'ProxyQuality',
    'ProxyScores',
    'compare_drops',
    'mask_iou',
    'score_proxies',
    'summarize_ious',
]
