"""From predictions to proxy masks: pure functions on arrays, boxes and COCO files (Sec. 3.4)."""

from .agreement import box_agreement
from .boxes import bbox_areas, bbox_iou, pairwise_iou, pixel_bboxes, tight_bboxes
from .dropping import DROPPED, drop_masks, is_kept
from .masks import decode_rle, encode_rle, normalize_probability, paste_probability
from .merging import merge_masks
from .refine import AGREEMENTS, refine_annotations, refine_masks

__all__ = [
    'AGREEMENTS',
    'DROPPED',
    'bbox_areas',
    'bbox_iou',
    'box_agreement',
    'decode_rle',
    'drop_masks',
    'encode_rle',
    'is_kept',
    'merge_masks',
    'normalize_probability',
    'pairwise_iou',
    'paste_probability',
    'pixel_bboxes',
    'refine_annotations',
    'refine_masks',
    'tight_bboxes',
]
