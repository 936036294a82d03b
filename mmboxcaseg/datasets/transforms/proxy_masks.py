"""Merge and drop of Sec. 3.4 in an mmdet pipeline, and what Simple Does It does to masks."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import get_box_tensor
from mmdet.structures.mask import BitmapMasks
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from mmboxcaseg.coco.proxies import MASK_TOOL
from mmboxcaseg.errors import InputError, check_share
from mmboxcaseg.proxy import (
    box_agreement,
    decode_rle,
    denoise_masks,
    drop_masks,
    encode_rle,
    ignore_disagreement,
    refine_rles,
)
from mmboxcaseg.registry import TRANSFORMS

# Left in the results by transforms that move pixels: Resize, RandomFlip, RandomCrop, affine ones.
_GEOMETRY_KEYS = ('scale_factor', 'flip', 'homography_matrix')


@TRANSFORMS.register_module()
class MergeProxyMasks(BaseTransform):
    """Give each pixel that several raw masks claim to the object with the smallest box.

    Stands right after ``LoadAnnotations(with_bbox=True, with_mask=True)``. It does what
    ``tools/refine_proxy_masks.py`` does to a file, for raw masks that are trained on as they are,
    and says so once. Where the file has been through the tools, ``mmboxcaseg.ProxyCocoDataset``
    tells by the ``box_agreement`` of the instances, and nothing is done a second time. Crowds and
    other ignored instances neither take pixels nor lose any.

    Required Keys:

    - gt_bboxes (BaseBoxes[torch.float32])
    - gt_masks (BitmapMasks)
    - gt_ignore_flags (bool) (optional)
    - instances

    Modified Keys:

    - gt_masks
    - instances, each with the ``box_agreement`` of its mask
    """

    def __init__(self) -> None:
        self._said = False

    def transform(self, results: dict) -> dict:
        """Merge the masks of one image.

        Raises:
            InputError: If the masks are no bitmaps, not as loaded, or dropped before.
        """
        masks, bboxes = _masks_and_bboxes(results, type(self).__name__)
        _check_not_dropped(results, type(self).__name__)
        if (masks > 1).any():
            raise InputError(
                f'the masks of {results.get("img_path", "an image")} hold {masks.max()}, where 1 '
                'is object and 0 ground'
            )
        if _numbers(results, 'box_agreement', len(masks)) is not None:
            return results
        self._say()
        shape = masks.shape[1:]
        objects = ~np.asarray(results.get('gt_ignore_flags', np.zeros(len(masks))), dtype=bool)
        rles, agreement = refine_rles(
            [encode_rle(mask) for mask in masks[objects]], bboxes[objects], shape
        )
        merged = masks.copy()
        measured = np.zeros(len(masks))
        measured[objects] = agreement
        for index, rle in zip(np.flatnonzero(objects), rles, strict=True):
            merged[index] = decode_rle(rle, shape)
        for instance, value in zip(results['instances'], measured.tolist(), strict=True):
            instance['box_agreement'] = value
        results['gt_masks'] = BitmapMasks(merged, *shape)
        return results

    def _say(self) -> None:
        worker = get_worker_info()
        if not self._said and (worker is None or worker.id == 0):
            print_log(
                'MergeProxyMasks: the masks have no box_agreement, so they are merged and measured '
                'in training; mmboxcaseg refine does so once for all',
                'current',
            )
        self._said = True

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class DropProxyMasks(BaseTransform):
    """Drop the masks that do not agree with their box: the box still trains, the mask does not.

    Stands after :class:`MergeProxyMasks` and before any transform that moves pixels. The numbers
    are those of the file, which ``mmboxcaseg.ProxyCocoDataset`` hands on; where there is no
    ``box_agreement``, as with a stock ``CocoDataset`` and no merge, it is measured here.

    That a mask is dropped is written in its pixels (:func:`mmboxcaseg.proxy.drop_masks`), so it
    stays with its box whatever transform follows. Use it with ``mmboxcaseg.ProxyMaskHead``, which
    leaves dropped masks out of the loss; a stock mask head would learn the filled boxes.

    Required Keys:

    - gt_bboxes (BaseBoxes[torch.float32])
    - gt_masks (BitmapMasks)
    - instances, each with ``box_agreement`` and, for ``min_quality``, ``quality``

    Modified Keys:

    - gt_masks

    Added Keys:

    - masks_dropped

    Args:
        min_agreement: A mask is kept if its box agreement is above this. The paper's is 0.95.
        min_quality: If given, a mask is kept only if its quality is above this too
            (:func:`mmboxcaseg.proxy.expected_iou`). The paper has none.
        inclusive_boxes: Whether the agreement is that of the released code, by which the paper's
            thresholds are to be read; see :func:`mmboxcaseg.proxy.box_agreement`. It is then
            measured here, whatever the file says, of true masks too.
    """

    def __init__(
        self,
        min_agreement: float = 0.95,
        min_quality: float | None = None,
        inclusive_boxes: bool = False,
    ) -> None:
        check_share('min_agreement', min_agreement)
        if min_quality is not None:
            check_share('min_quality', min_quality)
        self.min_agreement = min_agreement
        self.min_quality = min_quality
        self.inclusive_boxes = inclusive_boxes

    def transform(self, results: dict) -> dict:
        """Drop masks of one image.

        Raises:
            InputError: If the masks are no bitmaps or not as loaded, or their quality is asked for
                and not there.
        """
        masks, bboxes = _masks_and_bboxes(results, type(self).__name__)
        agreement = _numbers(results, 'box_agreement', len(masks))
        if agreement is None or self.inclusive_boxes:
            agreement = box_agreement(masks, bboxes, self.inclusive_boxes)
        dropped = drop_masks(masks, bboxes, agreement, self.min_agreement)
        if self.min_quality is not None:
            quality = _numbers(results, 'quality', len(masks))
            if quality is None:
                raise InputError(
                    'DropProxyMasks(min_quality=...) needs the quality of every mask: load proxy '
                    f'masks of {MASK_TOOL} with mmboxcaseg.ProxyCocoDataset'
                )
            dropped = drop_masks(dropped, bboxes, quality, self.min_quality)
        results['gt_masks'] = BitmapMasks(dropped, *masks.shape[1:])
        results['masks_dropped'] = True
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(min_agreement={self.min_agreement}, '
            f'min_quality={self.min_quality}, inclusive_boxes={self.inclusive_boxes})'
        )


@TRANSFORMS.register_module()
class DenoiseProxyMasks(BaseTransform):
    """Correct masks by their boxes, and ignore pixels on which the two disagree.

    What Simple Does It (Khoreva et al., 2017) does to its targets: to GrabCut's masks in its first
    round, and to the masks of the network itself in the later ones, which it calls recursive
    training. Stands after ``LoadAnnotations`` and before any transform that moves pixels. That a
    pixel is ignored is written in the mask; use it with ``mmboxcaseg.ProxyMaskHead``, which leaves
    it out of the loss.

    Required Keys:

    - gt_bboxes (BaseBoxes[torch.float32])
    - gt_masks (BitmapMasks)

    Modified Keys:

    - gt_masks

    Args:
        min_iou: See :func:`mmboxcaseg.proxy.denoise_masks`.
        ignore: Whether pixels of a box that are not of its mask are ignored, see
            :func:`mmboxcaseg.proxy.ignore_disagreement`; otherwise they are ground.
    """

    def __init__(self, min_iou: float = 0.5, ignore: bool = False) -> None:
        check_share('min_iou', min_iou)
        self.min_iou = min_iou
        self.ignore = ignore

    def transform(self, results: dict) -> dict:
        """Correct the masks of one image.

        Raises:
            InputError: If the masks are no bitmaps, not as loaded, or dropped before.
        """
        masks, bboxes = _masks_and_bboxes(results, type(self).__name__)
        _check_not_dropped(results, type(self).__name__)
        masks = denoise_masks(masks, bboxes, self.min_iou)
        if self.ignore:
            masks = ignore_disagreement(masks, bboxes)
        results['gt_masks'] = BitmapMasks(masks, *masks.shape[1:])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(min_iou={self.min_iou}, ignore={self.ignore})'


def _numbers(results: dict, name: str, count: int) -> np.ndarray | None:
    """One number (N,) of each mask of an image; None unless all have it."""
    numbers = [instance.get(name) for instance in results.get('instances', ())]
    if len(numbers) != count or None in numbers:
        return None
    return np.array(numbers, dtype=np.float64)


def _check_not_dropped(results: dict, name: str) -> None:
    if results.get('masks_dropped'):
        raise InputError(f'{name} stands after DropProxyMasks in the pipeline: put it before')


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
