"""Boxes other than the annotated ones, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import encode_rle, tight_bboxes
from mmboxcaseg.registry import TRANSFORMS

from .patches import jitter_bbox


@TRANSFORMS.register_module()
class BoxFromMask(BaseTransform):
    """Turn a salient sample into one with a box and a truth, which ``BoxMaskIoUMetric`` scores.

    Stands after ``LoadPatchImage``.

    Required key: ``gt_seg_map``. Added keys: ``bbox`` (xyxy, image pixels, the tight box),
    ``segmentation`` (the mask as compressed RLE), ``area`` (in pixels) and ``label`` (0).

    Raises:
        InputError: If a sample has no mask.
    """

    def transform(self, results: dict) -> dict:
        """Draw the box around the mask."""
        if 'gt_seg_map' not in results:
            raise InputError('BoxFromMask needs samples with a mask: leave it out for other ones')
        mask = results['gt_seg_map']
        results['bbox'] = tight_bboxes(mask[None])[0].tolist()
        results['segmentation'] = encode_rle(mask)
        results['area'] = int(np.count_nonzero(mask))
        results['label'] = 0
        return results


@TRANSFORMS.register_module()
class MoveBox(BaseTransform):
    """Shift and scale the box, as people do who draw it in a hurry.

    Stands before ``BoxPatch``. The mask is predicted in the moved box; the truth stays.

    Required and changed keys: ``bbox``, and ``other_bboxes`` if they are there.

    Args:
        shift: Of the centre in x and y, in parts of the box's width and height.
        scale: Factor of width and height.

    Raises:
        InputError: If nothing would be left of the box.
    """

    def __init__(self, shift: Sequence[float] = (0.0, 0.0), scale: float = 1.0) -> None:
        if scale <= 0:
            raise InputError(f'scale must be above 0, not {scale!r}')
        self.shift = np.asarray(shift, dtype=np.float64)
        self.scale = scale

    def transform(self, results: dict) -> dict:
        """Move the box; where it would leave the image, it ends at the border."""
        height, width = results['img_shape']
        border = [width, height, width, height]

        def move(bbox: Sequence[float]) -> list[float]:
            moved = jitter_bbox(np.asarray(bbox), self.shift, np.full(2, self.scale))
            return np.clip(moved, 0, border).tolist()

        results['bbox'] = move(results['bbox'])
        if 'other_bboxes' in results:
            results['other_bboxes'] = list(map(move, results['other_bboxes']))
        return results
