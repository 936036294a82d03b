"""Metrics of masks."""

from .box_mask_iou import BoxMaskIoUMetric, mask_iou, summarize_ious
from .coco_ap_metric import CocoAPMetric
from .proxy_quality import ProxyQuality, compare_drops, score_proxies
from .salient_object import SalientObjectMetric
from .voc_instance_metric import VOCInstanceMetric

__all__ = [
    'BoxMaskIoUMetric',
    'CocoAPMetric',
    'ProxyQuality',
    'SalientObjectMetric',
    'VOCInstanceMetric',
    'compare_drops',
    'mask_iou',
    'score_proxies',
    'summarize_ious',
]
