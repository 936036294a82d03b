"""Mask2Former on proxy masks."""

from __future__ import annotations

import torch
from mmdet.models.dense_heads import Mask2FormerHead
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmboxcaseg.proxy import is_kept
from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class ProxyMask2FormerHead(Mask2FormerHead):
    """The head of Mask2Former, which does not learn from masks that ``DropProxyMasks`` dropped.

    Queries and objects are matched by classes and masks, and Mask2Former has no boxes: an object
    whose mask is dropped is matched by its filled box. Its query learns the class and no mask; the
    mask losses are the means over the queries whose mask is kept.
    """

    def preprocess_gt(
        self,
        batch_gt_instances: list[InstanceData],
        batch_gt_semantic_segs: list[PixelData | None],
    ) -> list[InstanceData]:
        """Prepare the ground truth; arguments as in mmdet, the ``masks`` being bitmaps."""
        # mmdet makes the masks 0 and 1 next, and dropped ones look like others.
        kept = [torch.from_numpy(is_kept(gt.masks.masks)) for gt in batch_gt_instances]
        targets = super().preprocess_gt(batch_gt_instances, batch_gt_semantic_segs)
        for target, things in zip(targets, kept, strict=True):
            # What stands behind the things is stuff, whose masks are true.
            stuff = things.new_ones(len(target) - len(things))
            target.mask_is_kept = torch.cat([things, stuff]).to(target.labels.device)
        return targets

    def _get_targets_single(
        self, cls_score: Tensor, mask_pred: Tensor, gt_instances: InstanceData, img_meta: dict
    ) -> tuple:
        targets = super()._get_targets_single(cls_score, mask_pred, gt_instances, img_meta)
        labels, label_weights, mask_targets, mask_weights, pos_inds, neg_inds, result = targets
        kept = gt_instances.mask_is_kept[result.pos_assigned_gt_inds]
        mask_weights[pos_inds[~kept]] = 0
        result.avg_factor = int(kept.sum())
        mask_targets = mask_targets[kept]
        return labels, label_weights, mask_targets, mask_weights, pos_inds, neg_inds, result
