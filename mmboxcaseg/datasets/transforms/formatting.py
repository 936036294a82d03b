"""Packing of patches for the network."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData

from mmboxcaseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackPatchInputs(BaseTransform):
    """Pack a patch and what supervises it.

    Required keys: ``img``, ``gt_bboxes``, ``supervision`` and, of a salient sample,
    ``gt_seg_map``.

    Returned: ``inputs``, a ``(3, H, W)`` uint8 tensor, and ``data_samples``, a ``DetDataSample``
    with ``gt_instances.bboxes`` ``(1, 4)`` and, of a salient sample, ``gt_sem_seg.sem_seg``
    ``(1, H, W)`` uint8.

    Args:
        meta_keys: What else the data sample's metainfo gets, of the keys that are there.
    """

    def __init__(
        self,
        meta_keys: tuple[str, ...] = (
            'supervision',
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
        image = _channels_first(results['img'])
        metainfo = {key: results[key] for key in self.meta_keys if key in results}
        sample = DetDataSample(metainfo=metainfo)
        sample.gt_instances = InstanceData(bboxes=results['gt_bboxes'].tensor)
        if 'gt_seg_map' in results:
            mask = np.ascontiguousarray(results['gt_seg_map'][None])
            sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(mask))
        return dict(inputs=torch.from_numpy(image), data_samples=sample)


def _channels_first(image: np.ndarray) -> np.ndarray:
    """Copy an image (H, W, C) to (C, H, W), in a third of the time that a transposed copy takes."""
    if image.strides[1] < 0:
        # A flipped view: OpenCV flips faster than NumPy copies backwards.
        image = cv2.flip(np.ascontiguousarray(image[:, ::-1]), 1)
    planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    cv2.split(np.ascontiguousarray(image), list(planes))
    return planes
