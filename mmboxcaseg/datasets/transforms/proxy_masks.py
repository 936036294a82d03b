"""Merge and drop of Sec. 3.4 in an mmdet pipeline."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import get_box_tensor
from mmdet.structures.mask import BitmapMasks

from mmboxcaseg.errors import InputError, check_share
from mmboxcaseg.proxy import DROPPED, box_agreement, drop_masks, merge_masks
from mmboxcaseg.registry import TRANSFORMS

# Left in the results by transforms that move pixels: Resize, RandomFlip, RandomCrop, affine ones.
_GEOMETRY_KEYS = ('scale_factor', 'flip', 'homography_matrix')


@TRANSFORMS.register_module()
class MergeProxyMasks(BaseTransform):
    """Give each pixel that several masks claim to the object with the smallest box.

    Stands right after ``LoadAnnotations(with_bbox=True, with_mask=True)``. Crowds and other
    ignored instances neither take pixels nor lose any. Masks that are merged already, as
    ``tools/generate_proxy_masks.py`` writes them, come out as they were.

    Required Keys:

    - gt_bboxes (BaseBoxes[torch.float32])
    - gt_masks (BitmapMasks)
    - gt_ignore_flags (bool) (optional)

    Modified Keys:

    - gt_masks
    """

    def transform(self, results: dict) -> dict:
        """Merge the masks of one image.

        Raises:
            InputError: If the masks are no bitmaps, not as loaded, or dropped before.
        """
        masks, bboxes = _masks_and_bboxes(results, type(self).__name__)
        if (masks == DROPPED).any():
            raise InputError(
                'MergeProxyMasks stands after DropProxyMasks in the pipeline: put it before'
            )
        merging = ~np.asarray(results.get('gt_ignore_flags', np.zeros(len(masks))), dtype=bool)
        merged = masks.copy()
        merged[merging] = merge_masks(masks[merging], bboxes[merging])
        results['gt_masks'] = BitmapMasks(merged, *masks.shape[1:])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class DropProxyMasks(BaseTransform):
    """Drop the masks that do not agree with their box: the box still trains, the mask does not.

    Stands after :class:`MergeProxyMasks` and before any transform that moves pixels. That a mask
    is dropped is written in its pixels (:func:`mmboxcaseg.proxy.drop_masks`), so it stays with its
    box whatever transform follows. Use it with ``mmboxcaseg.ProxyMaskHead``, which leaves dropped
    masks out of the loss; a stock mask head would learn the filled boxes.

    Required Keys:

    - gt_bboxes (BaseBoxes[torch.float32])
    - gt_masks (BitmapMasks)
    - instances, each with ``quality``, of ``mmboxcaseg.ProxyCocoDataset`` (for ``min_quality``)

    Modified Keys:

    - gt_masks

    Args:
        min_agreement: A mask is kept if its box agreement is above this. The paper's is 0.95.
        inclusive_boxes: Whether boxes are read as the released code reads them; see
            :func:`mmboxcaseg.proxy.box_agreement`.
        min_quality: If given, a mask is kept only if its quality is above this too
            (:func:`mmboxcaseg.proxy.expected_iou`). The paper has none.
    """

    def __init__(
        self,
        min_agreement: float = 0.95,
        inclusive_boxes: bool = False,
        min_quality: float | None = None,
    ) -> None:
        if min_quality is not None:
            check_share('min_quality', min_quality)
        self.min_agreement = min_agreement
        self.inclusive_boxes = inclusive_boxes
        self.min_quality = min_quality

    def transform(self, results: dict) -> dict:
        """Drop masks of one image.

        Raises:
            InputError: If the masks are no bitmaps or not as loaded, or their quality is asked for
                and not there.
        """
        masks, bboxes = _masks_and_bboxes(results, type(self).__name__)
        agreement = box_agreement(masks, bboxes, self.inclusive_boxes)
        dropped = drop_masks(masks, bboxes, agreement, self.min_agreement)
        if self.min_quality is not None:
            dropped = drop_masks(dropped, bboxes, _quality(results, len(masks)), self.min_quality)
        results['gt_masks'] = BitmapMasks(dropped, *masks.shape[1:])
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(min_agreement={self.min_agreement}, '
            f'inclusive_boxes={self.inclusive_boxes}, min_quality={self.min_quality})'
        )


def _quality(results: dict, count: int) -> np.ndarray:
    """Quality (N,) of the masks of an image."""
    quality = [instance.get('quality') for instance in results.get('instances', ())]
    if len(quality) != count or None in quality:
        raise InputError(
            'DropProxyMasks(min_quality=...) needs the quality of every mask: load proxy masks of '
            'tools/generate_proxy_masks.py with mmboxcaseg.ProxyCocoDataset'
        )
    return np.array(quality, dtype=np.float64)


def _masks_and_bboxes(results: dict, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Masks (N, H, W) uint8 and boxes (N, 4) xyxy of an image whose pixels have not moved yet."""
    masks = results.get('gt_masks')
    if not isinstance(masks, BitmapMasks) or 'gt_bboxes' not in results:
        raise InputError(
            f'{name} needs boxes and bitmap masks: put it right after LoadAnnotations with '
            'with_bbox=True, with_mask=True and poly2mask=True'
        )
    moved = [key for key in _GEOMETRY_KEYS if key in results]
    if moved:
        raise InputError(
            f'{name} stands after a transform that moves pixels (it set {moved[0]!r}): put it '
            'right after LoadAnnotations'
        )
    return masks.masks, np.asarray(get_box_tensor(results['gt_bboxes']), dtype=np.float64)
