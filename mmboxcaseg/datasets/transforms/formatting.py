"""Packing of patches for the network."""

from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData

from mmboxcaseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackPatchInputs(BaseTransform):
    """Pack a patch and what supervises it.

    Required keys: ``img``, ``gt_bboxes``, the patch's own box first, and, of a sample with a mask,
    ``gt_seg_map``.

    Returned: ``inputs``, a (3, H, W) uint8 tensor, and ``data_samples``, a ``DetDataSample``
    with ``gt_instances.bboxes`` (1, 4), ``other_instances.bboxes`` (K, 4), of all other
    boxes, and, with a mask, ``gt_sem_seg.sem_seg`` (1, H, W) uint8.

    Args:
        meta_keys: What else the data sample's metainfo gets, of the keys that are there.
    """

    def __init__(
        self,
        meta_keys: tuple[str, ...] = (
            'supervision',
            'loose',
            'img_path',
            'img_id',
            'ann_id',
            'label',
            'area',
            'bbox',
            'segmentation',
            'ori_shape',
            'img_shape',
            'patch_bbox',
            'flip',
            'flip_direction',
        ),
    ) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack."""
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        sample = DetDataSample()
        for key in self.meta_keys:
            if key in results:  # one by one: given as a whole, all would be copied in depth
                sample.set_field(results[key], key, field_type='metainfo')
        bboxes = results['gt_bboxes'].tensor
        sample.gt_instances = InstanceData(bboxes=bboxes[:1])
        sample.other_instances = InstanceData(bboxes=bboxes[1:])
        if 'gt_seg_map' in results:
            mask = np.ascontiguousarray(results['gt_seg_map'][None])
            sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(mask))
        return dict(inputs=torch.from_numpy(image), data_samples=sample)
