"""Pixel loss on the fused map of the salient and the transferred head (Eq. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.models.losses.dice_loss import dice_loss
from torch import Tensor, nn

from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class PixelLoss(nn.Module):
    """Mean binary cross-entropy of the fused map with the masks of salient patches (Eq. 3).

    Args:
        dice_weight: Weight of a soft dice loss of the map, beside the cross-entropy: one minus
            ``(2 sum(p m) + 1) / (sum(p) + sum(m) + 1)``, the mean over patches. Each object counts
            the same in it, whatever its share of the patch. The paper has none.
    """

    def __init__(self, dice_weight: float = 0.0) -> None:
        super().__init__()
        self.dice_weight = dice_weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: (N, 1, H, W), of :func:`mmboxcaseg.models.layers.fuse_logits`.
            target: Masks of the same shape, 0 or 1.

        Returns:
            Scalar.
        """
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits if logits.dtype == torch.float64 else logits.float()
            loss = F.binary_cross_entropy_with_logits(logits, target.to(logits))
            if self.dice_weight:
                dice = dice_loss(logits.sigmoid(), target, eps=1, naive_dice=True)
                loss = loss + self.dice_weight * dice
            return loss
