"""From predictions to proxy masks: pure functions on boxes, masks and RLEs (Sec. 3.4)."""

from .agreement import box_agreement, tight_bbox_agreement
from .boxes import (
    bbox_areas,
    bbox_iou,
    bboxes_in_window,
    grow_bboxes,
    inclusive_bboxes,
    mask_windows,
    pairwise_iou,
    pixel_bboxes,
    tight_bboxes,
)
from .cleaning import clean_mask
from .denoising import denoise_masks, ignore_disagreement
from .dropping import DROPPED, IGNORED, drop_masks, is_kept
from .exclusion import exclusive_maps
from .flaws import FLAWS, mask_flaws
from .masks import (
    BoxMask,
    mask_edges,
    mask_of,
    mask_rles,
    normalize_probability,
    threshold_probability,
)
from .merging import merge_masks, merge_rles
from .quality import (
    BEST,
    TIGHT,
    UNCALIBRATED,
    best_threshold,
    check_threshold,
    combined_quality,
    expected_iou,
    log_odds,
)
from .refine import AGREEMENTS, refine_rles
from .rle import (
    MOST_PIXELS,
    Edges,
    check_segmentation,
    check_segmentations,
    decode_rle,
    empty_rle,
    encode_edges,
    encode_rle,
    read_edges,
    read_rles,
    rle_areas,
    rle_bboxes,
    window_edges,
)
from .sources import box_mask, ellipse_mask, grabcut_mask

__all__ = [
    'MOST_PIXELS',
    'AGREEMENTS',
    'BEST',
    'TIGHT',
    'UNCALIBRATED',
    'BoxMask',
    'DROPPED',
    'FLAWS',
    'IGNORED',
    'Edges',
    'bbox_areas',
    'bbox_iou',
    'bboxes_in_window',
    'best_threshold',
    'box_agreement',
    'box_mask',
    'check_segmentation',
    'check_segmentations',
    'check_threshold',
    'clean_mask',
    'combined_quality',
    'decode_rle',
    'denoise_masks',
    'drop_masks',
    'ellipse_mask',
    'empty_rle',
    'encode_edges',
    'encode_rle',
    'exclusive_maps',
    'expected_iou',
    'grabcut_mask',
    'grow_bboxes',
    'ignore_disagreement',
    'inclusive_bboxes',
    'is_kept',
    'log_odds',
    'mask_edges',
    'mask_flaws',
    'mask_of',
    'mask_rles',
    'mask_windows',
    'merge_masks',
    'merge_rles',
    'normalize_probability',
    'pairwise_iou',
    'pixel_bboxes',
    'read_edges',
    'read_rles',
    'refine_rles',
    'rle_areas',
    'rle_bboxes',
    'threshold_probability',
    'tight_bbox_agreement',
    'tight_bboxes',
    'window_edges',
]
