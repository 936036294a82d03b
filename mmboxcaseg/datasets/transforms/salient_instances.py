"""Salient objects as the instances of mmdet's pipelines."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks

from mmboxcaseg.proxy import tight_bboxes
from mmboxcaseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class InstanceFromMask(BaseTransform):
    """Make the object of a salient image the one instance of an mmdet sample.

    Stands right after ``mmboxcaseg.LoadPatchImage``. The box is the tight one of the mask; the
    label is 0 and means nothing.

    Required Keys:

    - gt_seg_map (np.uint8), (H, W), 0 or 1; it is removed

    Added Keys:

    - gt_bboxes (HorizontalBoxes[torch.float32])
    - gt_bboxes_labels (np.int64)
    - gt_ignore_flags (bool)
    - gt_masks (BitmapMasks)
    """

    def transform(self, results: dict) -> dict:
        """Make it."""
        masks = results.pop('gt_seg_map')[None]
        results['gt_bboxes'] = HorizontalBoxes(tight_bboxes(masks).astype(np.float32))
        results['gt_bboxes_labels'] = np.zeros(1, dtype=np.int64)
        results['gt_ignore_flags'] = np.zeros(1, dtype=bool)
        results['gt_masks'] = BitmapMasks(masks, *masks.shape[1:])
        return results
