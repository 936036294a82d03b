"""The mask head of BBTP: a Mask R-CNN whose masks learn from boxes alone (Sec. 3.1)."""

from __future__ import annotations

import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmboxcaseg.errors import InputError
from mmboxcaseg.models.losses import MILLoss
from mmboxcaseg.registry import MODELS


def project_bboxes(bboxes: Tensor, rois: Tensor, height: int, width: int) -> Tensor:
    """Express boxes in the pixels of the grids that lie over RoIs.

    Args:
        bboxes: (N, 4) xyxy in image pixels.
        rois: (N, 4) xyxy in image pixels, each with an area.
        height: Height of the grids.
        width: Width of the grids.

    Returns:
        (N, 4) xyxy; (0, 0, width, height) where box and RoI are the same. Not clipped.
    """
    corner = rois[:, :2].repeat(1, 2)
    side = (rois[:, 2:] - rois[:, :2]).repeat(1, 2)
    return (bboxes - corner) / side * bboxes.new_tensor([width, height, width, height])


@MODELS.register_module()
class MILMaskHead(FCNMaskHead):
    """An ``FCNMaskHead`` that learns from the tightness of boxes, after BBTP (Hsu et al., 2019).

    The rows and columns of each positive RoI's mask are bags. One that meets the ground-truth box
    is positive, for the tight box of an object has a pixel of it on each of its lines; every other
    is negative. No mask is needed to train.

    As in BBTP's release: bags for every positive RoI apart, in the channel of its class, along rows
    and columns only, scored by the highest logit on the line; the mean cross-entropy over all
    lines; the smooth term weighted 0.05, which ``border='zero'`` of the loss pads as there.

    Otherwise than there: a line of the grid is positive if it meets the box by however little,
    where the release draws the box as a polygon on the grid; and masks come out as the network
    gives them, where BBTP's reported figures are those after a DenseCRF.

    Args:
        *args: As in ``FCNMaskHead``.
        loss_mask: Config of a :class:`~mmboxcaseg.models.losses.MILLoss`.
        loss_weight: Weight of both its terms against the losses of boxes and classes.
        **kwargs: As in ``FCNMaskHead``.

    Raises:
        InputError: If ``loss_mask`` is of another type.
    """

    def __init__(
        self, *args, loss_mask: dict | None = None, loss_weight: float = 1.0, **kwargs
    ) -> None:
        loss_mask = loss_mask or dict(type='mmboxcaseg.MILLoss')
        super().__init__(*args, loss_mask=loss_mask, **kwargs)
        if not isinstance(self.loss_mask, MILLoss):
            raise InputError(
                f'MILMaskHead needs a MILLoss, and its loss_mask is {loss_mask["type"]!r}: set '
                "loss_mask=dict(_delete_=True, type='mmboxcaseg.MILLoss')"
            )
        self.loss_weight = loss_weight

    def loss_and_target(
        self,
        mask_preds: Tensor,
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
        rcnn_train_cfg: ConfigDict,
    ) -> dict:
        """Compute the two terms of Eq. 1 on the masks of all positives.

        Args:
            mask_preds: (num_pos, num_classes, h, w) mask logits of all positives.
            sampling_results: Sampled RoIs, one result per image.
            batch_gt_instances: Not read; ``masks`` may be missing.
            rcnn_train_cfg: Not read.

        Returns:
            ``loss_mask``, a dict of ``loss_mil`` and ``loss_smooth``, zero where there is no
            positive; ``mask_targets``, (num_pos, 4), the boxes in pixels of the masks, xyxy.
        """
        bboxes = torch.cat([result.pos_gt_bboxes for result in sampling_results])
        rois = torch.cat([result.pos_priors for result in sampling_results])
        labels = torch.cat([result.pos_gt_labels for result in sampling_results])
        bboxes = project_bboxes(bboxes, rois, *mask_preds.shape[-2:])
        if len(mask_preds) == 0:
            # Still a function of every parameter of the head: DDP waits for all their gradients.
            losses = dict.fromkeys(('loss_mil', 'loss_smooth'), mask_preds.sum())
        else:
            channels = torch.zeros_like(labels) if self.class_agnostic else labels
            logits = mask_preds[torch.arange(len(labels), device=labels.device), channels]
            losses = self.loss_mask(logits.unsqueeze(1), bboxes)
        losses = {name: self.loss_weight * loss for name, loss in losses.items()}
        return dict(loss_mask=losses, mask_targets=bboxes)
