"""From predictions to proxy masks: pure functions on arrays, boxes and COCO files (Sec. 3.4)."""

from .agreement import box_agreement
from .boxes import (
    bbox_areas,
    bbox_iou,
    inclusive_bboxes,
    pairwise_iou,
    pixel_bboxes,
    tight_bboxes,
)
from .dropping import DROPPED, drop_masks, is_kept
from .masks import decode_rle, encode_rle, normalize_probability, paste_probability
from .merging import merge_masks
from .refine import AGREEMENTS, refine_annotations, refine_masks
from .sources import box_mask, ellipse_mask, grabcut_mask

__all__ = [
    'AGREEMENTS',
    'DROPPED',
    'bbox_areas',
    'bbox_iou',
    'box_agreement',
    'box_mask',
    'decode_rle',
    'drop_masks',
    'ellipse_mask',
    'encode_rle',
    'grabcut_mask',
    'inclusive_bboxes',
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
