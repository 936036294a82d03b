"""Metrics of masks."""

from .box_mask_iou import BoxMaskIoUMetric, mask_iou, summarize_ious
from .calibration import calibration_error, fit_calibration, rank_correlation
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
    'calibration_error',
    'compare_drops',
    'fit_calibration',
    'mask_iou',
    'rank_correlation',
    'score_proxies',
    'summarize_ious',
]
