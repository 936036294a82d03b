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
        bboxes: (N, 4), xyxy in patch pixels; pixel ``i`` covers ``[i, i + 1)``.
        height: Height of the patches.
        width: Width of the patches.

    Returns:
        Bool tensors (N, height) and (N, width).
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
        logits: (N, 1, H, W) float.
        bboxes: (N, 4), xyxy in patch pixels.
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


def smooth_loss(probs: Tensor, reduction: str = 'mean', border: str = 'ignore') -> Tensor:
    """Eq. 2: squared differences of the probabilities of eight-connected neighbours.

    The paper does not say what the neighbours of a pixel at the patch's border are.

    Args:
        probs: (N, 1, H, W) float.
        reduction: ``'mean'`` over all pixels and neighbours that count, or ``'sum'`` over them, in
            which a pair of pixels counts twice, once from each end, as Eq. 2 has it.
        border: ``'ignore'``: only neighbours in the patch count. ``'zero'`` (the released code):
            every pixel has eight, of probability 0 where they lie outside the patch, which pulls
            the probabilities at the border to zero.

    Returns:
        Scalar; zero for a patch of one pixel under ``'ignore'``.
    """
    total, count = _neighbour_differences(probs)
    if border == 'ignore':
        # The other half of the directions is the same pairs from their other end.
        total, count = 2 * total, 2 * count
    else:
        # Outside the patch there are no pixels: of the pairs that reach there, one end counts.
        total = total + _neighbour_differences(F.pad(probs, (1, 1, 1, 1)))[0]
        count = 8 * probs.numel()
    return total / max(count, 1) if reduction == 'mean' else total


def _neighbour_differences(maps: Tensor) -> tuple[Tensor, int]:
    """Sum of the squared differences of all pairs of neighbours, each taken once; their number."""
    height, width = maps.shape[-2:]
    total = maps.new_zeros(())
    pairs = 0
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        left, right = max(0, -dx), max(0, dx)
        start = maps[..., : height - dy, left : width - right]
        end = maps[..., dy:, right : width - left]
        total = total + (start - end).square().sum()
        pairs += start.numel()
    return total, pairs


@MODELS.register_module()
class MILLoss(nn.Module):
    """Loss of the weak head (Eq. 1): bags of rows and columns, and the smooth term.

    Args:
        smooth_weight: Weight of the smooth term.
        reduction: ``'mean'`` (the released code) or ``'sum'`` (as Eq. 1 is written); see
            :func:`mil_loss` and :func:`smooth_loss`.
        border: What the smooth term makes of neighbours outside the patch: they do not count
            (``'ignore'``, the default) or have probability 0 (``'zero'``, the released code); see
            :func:`smooth_loss`.

    Raises:
        InputError: If ``reduction`` or ``border`` is none of these.
    """

    def __init__(
        self, smooth_weight: float = 0.05, reduction: str = 'mean', border: str = 'ignore'
    ) -> None:
        super().__init__()
        if reduction not in ('mean', 'sum'):
            raise InputError(f"reduction must be 'mean' or 'sum', not {reduction!r}")
        if border not in ('ignore', 'zero'):
            raise InputError(f"border must be 'ignore' or 'zero', not {border!r}")
        self.smooth_weight = smooth_weight
        self.reduction = reduction
        self.border = border

    def forward(self, logits: Tensor, bboxes: Tensor) -> dict[str, Tensor]:
        """Compute the two terms.

        Args:
            logits: (N, 1, H, W).
            bboxes: (N, 4), xyxy in patch pixels.

        Returns:
            ``loss_mil`` and the weighted ``loss_smooth``, scalars; Eq. 1 is their sum.
        """
        # Half precision would lose the small differences that the smooth term is made of.
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits if logits.dtype == torch.float64 else logits.float()
            smooth = smooth_loss(logits.sigmoid(), self.reduction, self.border)
            return dict(
                loss_mil=mil_loss(logits, bboxes.to(logits), self.reduction),
                loss_smooth=self.smooth_weight * smooth,
            )
