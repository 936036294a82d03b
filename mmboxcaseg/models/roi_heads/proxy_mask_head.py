"""The mask head of the Proxy Mask R-CNN (Sec. 3.4)."""

from __future__ import annotations

import numpy as np
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import DROPPED, IGNORED, is_kept
from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class ProxyMaskHead(FCNMaskHead):
    """An ``FCNMaskHead`` that does not learn from masks that ``DropProxyMasks`` dropped.

    The loss is the mean over the positives whose mask is kept; boxes and classes are the other
    heads' and train as before. Nor does it learn from pixels that ``DenoiseProxyMasks`` ignores:
    where there are some, the loss is the mean over the pixels that are left. Put before another
    head derived from ``FCNMaskHead``, it does the same for that one:
    ``class ProxyHTCMaskHead(ProxyMaskHead, HTCMaskHead)``.
    """

    def loss_and_target(
        self,
        mask_preds: Tensor,
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
        rcnn_train_cfg: ConfigDict,
    ) -> dict:
        """Compute the mask loss of the kept positives.

        Args:
            mask_preds: (num_pos, num_classes, h, w) mask logits of all positives.
            sampling_results: Sampled RoIs, one result per image.
            batch_gt_instances: Ground truth per image, with bitmap ``masks``.
            rcnn_train_cfg: ``train_cfg`` of the RoI head.

        Returns:
            ``loss_mask``, a dict of the loss, zero where none is kept; ``mask_targets``,
            (num_kept, h, w).

        Raises:
            InputError: If the masks are no bitmaps.
        """
        kept = [
            _kept_positives(result, instances)
            for result, instances in zip(sampling_results, batch_gt_instances, strict=True)
        ]
        kept_preds = mask_preds[torch.cat(kept)]
        if len(kept_preds) == 0:
            # Still a function of every parameter of the head: DDP waits for all their gradients.
            empty = mask_preds.new_zeros((0, *mask_preds.shape[2:]))
            return dict(loss_mask=dict(loss_mask=(mask_preds * 0).sum()), mask_targets=empty)
        # Before targets are cut: that takes a full-size float map for every positive.
        sampling_results = [
            _select_positives(result, valid)
            for result, valid in zip(sampling_results, kept, strict=True)
        ]
        if not any((instances.masks.masks == IGNORED).any() for instances in batch_gt_instances):
            return super().loss_and_target(
                kept_preds, sampling_results, batch_gt_instances, rcnn_train_cfg
            )
        targets, ignored = (
            self.get_targets(sampling_results, chosen, rcnn_train_cfg)
            for chosen in (_objects(batch_gt_instances), _ignored(batch_gt_instances))
        )
        labels = torch.cat([result.pos_gt_labels for result in sampling_results])
        labels = torch.zeros_like(labels) if self.class_agnostic else labels
        logits = kept_preds[torch.arange(len(labels), device=labels.device), labels]
        learnt = ignored == 0
        if not learnt.any():
            loss = (mask_preds * 0).sum()
        else:
            # To the loss each pixel is a mask of its own.
            pixels = logits[learnt].view(-1, 1, 1)
            loss = self.loss_mask(pixels, targets[learnt], labels.new_zeros(len(pixels)))
        return dict(loss_mask=dict(loss_mask=loss), mask_targets=targets)


def _objects(batch_gt_instances: list[InstanceData]) -> list[InstanceData]:
    return [_with_masks(instances.masks, 1, 1) for instances in batch_gt_instances]


def _ignored(batch_gt_instances: list[InstanceData]) -> list[InstanceData]:
    # Whatever interpolation has made of ignored pixels.
    return [_with_masks(instances.masks, 2, DROPPED - 1) for instances in batch_gt_instances]


def _with_masks(masks: BitmapMasks, low: int, high: int) -> InstanceData:
    """Masks of the pixels whose value is in [low, high]."""
    chosen = (masks.masks >= low) & (masks.masks <= high)
    return InstanceData(masks=BitmapMasks(chosen.astype(np.uint8), masks.height, masks.width))


def _kept_positives(result: SamplingResult, instances: InstanceData) -> Tensor:
    """(num_pos,) bool: whether the mask of the object that a positive is assigned to is kept."""
    if not isinstance(instances.masks, BitmapMasks):
        raise InputError('ProxyMaskHead needs bitmap masks: set poly2mask=True in LoadAnnotations')
    inds = result.pos_assigned_gt_inds
    return torch.from_numpy(is_kept(instances.masks.masks)).to(inds.device)[inds]


def _select_positives(result: SamplingResult, valid: Tensor) -> InstanceData:
    """What a mask head reads of a sampling result, for some of the positives."""
    return InstanceData(
        pos_priors=result.pos_priors[valid],
        pos_assigned_gt_inds=result.pos_assigned_gt_inds[valid],
        pos_gt_labels=result.pos_gt_labels[valid],
    )
