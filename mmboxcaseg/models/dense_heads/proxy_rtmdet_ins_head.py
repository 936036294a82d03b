"""RTMDet-Ins on proxy masks."""

from __future__ import annotations

import torch
from mmdet.models.dense_heads import RTMDetInsSepBNHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmengine.structures import InstanceData
from torch import Tensor

from mmboxcaseg.proxy import is_kept
from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class ProxyRTMDetInsSepBNHead(RTMDetInsSepBNHead):
    """The head of RTMDet-Ins, which does not learn from masks that ``DropProxyMasks`` dropped.

    The mask loss is the mean over the positives whose mask is kept. Priors are assigned to objects
    with dropped masks as well, by the centres of their boxes, and train boxes and classes.
    """

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        kernel_preds: list[Tensor],
        mask_feat: Tensor,
        batch_gt_instances: list[InstanceData],
        *args,
        **kwargs,
    ) -> dict:
        """Compute the losses; arguments as in mmdet, the ``masks`` being bitmaps."""
        for instances in batch_gt_instances:
            # mmdet makes the masks bool next, and dropped ones look like others.
            kept = torch.from_numpy(is_kept(instances.masks.masks))
            instances.mask_is_kept = kept.to(mask_feat.device)
        return super().loss_by_feat(
            cls_scores, bbox_preds, kernel_preds, mask_feat, batch_gt_instances, *args, **kwargs
        )

    def loss_mask_by_feat(
        self,
        mask_feats: Tensor,
        flatten_kernels: Tensor,
        sampling_results_list: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
    ) -> Tensor:
        """Compute the mask loss of the kept positives; arguments as in mmdet."""
        results = [
            _select_positives(result, instances.mask_is_kept[result.pos_assigned_gt_inds])
            for result, instances in zip(sampling_results_list, batch_gt_instances, strict=True)
        ]
        loss = super().loss_mask_by_feat(mask_feats, flatten_kernels, results, batch_gt_instances)
        # Where none is kept, still a function of every parameter: DDP waits for all gradients.
        return loss + 0 * flatten_kernels.sum()


def _select_positives(result: SamplingResult, valid: Tensor) -> InstanceData:
    """What the mask loss reads of a sampling result, for some of the positives."""
    return InstanceData(
        pos_inds=result.pos_inds[valid],
        pos_priors=result.pos_priors[valid],
        pos_assigned_gt_inds=result.pos_assigned_gt_inds[valid],
    )
