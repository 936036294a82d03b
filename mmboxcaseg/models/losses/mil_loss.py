"""Multiple-instance loss on rows and columns, and the smooth term (Eq. 1 and 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import MODELS


def line_labels(bboxes: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Which rows and columns of a patch are positive bags (Sec. 3.1, Fig. 3).

    A bag is a whole row or column of the patch. It is positive if it meets the box, that is, if
    pixels and box share an area; every other one is negative. An empty box meets nothing.

    Args:
        bboxes: ``(N, 4)``, xyxy in patch pixels; pixel ``i`` covers ``[i, i + 1)``.
        height: Height of the patches.
        width: Width of the patches.

    Returns:
        Bool tensors ``(N, height)`` and ``(N, width)``.
    """
    x1, y1, x2, y2 = bboxes.unsqueeze(-1).unbind(1)
    nonempty = (x2 > x1) & (y2 > y1)
    row = torch.arange(height, device=bboxes.device)
    column = torch.arange(width, device=bboxes.device)
    rows = (row < y2) & (row + 1 > y1) & nonempty
    columns = (column < x2) & (column + 1 > x1) & nonempty
    return rows, columns


def mil_loss(logits: Tensor, bboxes: Tensor, reduction: str = 'mean') -> Tensor:
    """Unary part of Eq. 1: cross-entropy of each line's highest score with the line's label.

    Args:
        logits: ``(N, 1, H, W)`` float.
        bboxes: ``(N, 4)``, xyxy in patch pixels.
        reduction: ``'mean'`` over all rows and columns of all patches (the released code) or
            ``'sum'`` over them (Eq. 1).

    Returns:
        Scalar.
    """
    height, width = logits.shape[-2:]
    scores = logits.squeeze(1)
    bags = torch.cat([scores.max(dim=2).values, scores.max(dim=1).values], dim=1)
    labels = torch.cat(line_labels(bboxes, height, width), dim=1)
    return F.binary_cross_entropy_with_logits(bags, labels.to(bags), reduction=reduction)


def smooth_loss(probs: Tensor, reduction: str = 'mean') -> Tensor:
    """Eq. 2: squared differences of the probabilities of eight-connected neighbours.

    Only pairs that both lie in the patch count; the released code pads with zeros instead, which
    pulls the probabilities at the border to zero.

    Args:
        probs: ``(N, 1, H, W)`` float.
        reduction: ``'mean'`` over all pairs, or ``'sum'`` over them, in which each pair counts
            twice, once from each of its pixels, as Eq. 2 has it.

    Returns:
        Scalar; zero for a patch of one pixel.
    """
    height, width = probs.shape[-2:]
    total = probs.new_zeros(())
    pairs = 0
    # Half of the directions suffice: the other half is the same pairs from their other end.
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        left, right = max(0, -dx), max(0, dx)
        start = probs[..., : height - dy, left : width - right]
        end = probs[..., dy:, right : width - left]
        total = total + (start - end).square().sum()
        pairs += start.numel()
    return total / max(pairs, 1) if reduction == 'mean' else 2 * total


@MODELS.register_module()
class MILLoss(nn.Module):
    """Loss of the weak head (Eq. 1): bags of rows and columns, and the smooth term.

    Args:
        smooth_weight: Weight of the smooth term.
        reduction: ``'mean'`` (the released code) or ``'sum'`` (as Eq. 1 is written); see
            :func:`mil_loss` and :func:`smooth_loss`.
    """

    def __init__(self, smooth_weight: float = 0.05, reduction: str = 'mean') -> None:
        super().__init__()
        if reduction not in ('mean', 'sum'):
            raise InputError(f"reduction must be 'mean' or 'sum', not {reduction!r}")
        self.smooth_weight = smooth_weight
        self.reduction = reduction

    def forward(self, logits: Tensor, bboxes: Tensor) -> dict[str, Tensor]:
        """Compute the two terms.

        Args:
            logits: ``(N, 1, H, W)``.
            bboxes: ``(N, 4)``, xyxy in patch pixels.

        Returns:
            ``loss_mil`` and the weighted ``loss_smooth``, scalars; Eq. 1 is their sum.
        """
        # Half precision would lose the small differences that the smooth term is made of.
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits if logits.dtype == torch.float64 else logits.float()
            smooth = smooth_loss(logits.sigmoid(), self.reduction)
            return dict(
                loss_mil=mil_loss(logits, bboxes.to(logits), self.reduction),
                loss_smooth=self.smooth_weight * smooth,
            )
