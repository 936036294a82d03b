"""COCO files: annotations, results and proxy masks, read, checked and written."""

from .annotations import (
    Annotation,
    Category,
    Coco,
    Image,
    annotation_bboxes,
    annotations_by_image,
    decode_annotation,
    load_coco,
)
from .proxies import (
    MASK_TOOL,
    Proxy,
    load_masks,
    load_proxies,
    rank_proxies,
    refine_annotations,
    refine_proxy_masks,
)
from .results import Result, load_results, mask_result, match_results

__all__ = [
    'Annotation',
    'Category',
    'Coco',
    'Image',
    'MASK_TOOL',
    'Proxy',
    'Result',
    'annotation_bboxes',
    'annotations_by_image',
    'decode_annotation',
    'load_coco',
    'load_masks',
    'load_proxies',
    'load_results',
    'mask_result',
    'match_results',
    'rank_proxies',
    'refine_annotations',
    'refine_proxy_masks',
]
