"""Pixel loss on the fused salient and transferred maps (Eq. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.models.losses.dice_loss import dice_loss
from torch import Tensor, nn

from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import MODELS


def fuse_probs(salient: Tensor, transferred: Tensor, alpha: float, fuse: str) -> Tensor:
    """Fuse the logits of the salient and the transferred head to one probability map.

    Args:
        salient: Logits ``l_a``, any shape.
        transferred: Logits ``l_t`` of the same shape.
        alpha: Weight of the salient head, in [0, 1].
        fuse: ``'logit'`` for ``sigmoid(alpha l_a + (1 - alpha) l_t)`` (the released code) or
            ``'prob'`` for ``alpha sigmoid(l_a) + (1 - alpha) sigmoid(l_t)`` (Eq. 3).

    Returns:
        Probabilities of the same shape.
    """
    if fuse == 'logit':
        return torch.sigmoid(alpha * salient + (1 - alpha) * transferred)
    return alpha * salient.sigmoid() + (1 - alpha) * transferred.sigmoid()


def fuse_logits(salient: Tensor, transferred: Tensor, alpha: float, fuse: str) -> Tensor:
    """Logits of the map that :func:`fuse_probs` gives, without its rounding; arguments as there."""
    if fuse == 'logit':
        return alpha * salient + (1 - alpha) * transferred
    log_object, log_ground = _fused_logs(salient, transferred, alpha)
    return log_object - log_ground


def pixel_loss(
    salient: Tensor, transferred: Tensor, target: Tensor, alpha: float, fuse: str
) -> Tensor:
    """Eq. 3: mean binary cross-entropy of the fused map with the mask.

    Args:
        salient: Logits ``l_a``, ``(N, 1, H, W)``.
        transferred: Logits ``l_t`` of the same shape.
        target: Masks of the same shape, 0 or 1.
        alpha: Weight of the salient head, in [0, 1].
        fuse: See :func:`fuse_probs`.

    Returns:
        Scalar.
    """
    target = target.to(salient)
    if fuse == 'logit':
        logits = fuse_logits(salient, transferred, alpha, fuse)
        return F.binary_cross_entropy_with_logits(logits, target)
    log_object, log_ground = _fused_logs(salient, transferred, alpha)
    return -(target * log_object + (1 - target) * log_ground).mean()


def _fused_logs(salient: Tensor, transferred: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Logarithms of what ``'prob'`` fuses, and of one minus it."""
    # log(alpha S_a + (1 - alpha) S_t) from log-sigmoids: sigmoid saturates, its logarithm not.
    weights = salient.new_tensor([alpha, 1 - alpha]).log()
    log_object = torch.logaddexp(
        F.logsigmoid(salient) + weights[0], F.logsigmoid(transferred) + weights[1]
    )
    log_ground = torch.logaddexp(
        F.logsigmoid(-salient) + weights[0], F.logsigmoid(-transferred) + weights[1]
    )
    return log_object, log_ground


@MODELS.register_module()
class PixelLoss(nn.Module):
    """Loss of the salient and transferred heads on salient patches (Eq. 3).

    Args:
        fuse: What is fused: ``'logit'`` (the released code) or ``'prob'`` (Eq. 3). The same
            fusion serves training and test.
        dice_weight: Weight of a soft dice loss of the fused map, beside the cross-entropy: one
            minus ``(2 sum(p m) + 1) / (sum(p) + sum(m) + 1)``, the mean over patches. Each object
            counts the same in it, whatever its share of the patch. The paper has none.

    Raises:
        InputError: If ``fuse`` is none of these.
    """

    def __init__(self, fuse: str = 'logit', dice_weight: float = 0.0) -> None:
        super().__init__()
        if fuse not in ('logit', 'prob'):
            raise InputError(f"fuse must be 'logit' or 'prob', not {fuse!r}")
        self.fuse = fuse
        self.dice_weight = dice_weight

    def forward(self, salient: Tensor, transferred: Tensor, target: Tensor, alpha: float) -> Tensor:
        """Compute the loss; arguments as in :func:`pixel_loss`."""
        with torch.autocast(salient.device.type, enabled=False):
            if salient.dtype != torch.float64:
                salient, transferred = salient.float(), transferred.float()
            loss = pixel_loss(salient, transferred, target, alpha, self.fuse)
            if self.dice_weight:
                probs = fuse_probs(salient, transferred, alpha, self.fuse)
                dice = dice_loss(probs, target, eps=1, naive_dice=True)
                loss = loss + self.dice_weight * dice
            return loss

    def fuse_probs(self, salient: Tensor, transferred: Tensor, alpha: float) -> Tensor:
        """Fuse the two maps as the loss does; see :func:`fuse_probs`."""
        return fuse_probs(salient, transferred, alpha, self.fuse)

    def fuse_logits(self, salient: Tensor, transferred: Tensor, alpha: float) -> Tensor:
        """Fuse the two maps as the loss does; see :func:`fuse_logits`."""
        return fuse_logits(salient, transferred, alpha, self.fuse)
