"""Projection and colour affinity: what a box says of one map (BoxInst).

After Tian et al., "BoxInst: High-Performance Instance Segmentation with Box Annotations", CVPR
2021.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.models.losses.dice_loss import dice_loss
from torch import Tensor, nn

from mmboxcaseg.errors import InputError, check_count
from mmboxcaseg.registry import MODELS

from .mil_loss import line_labels


def projection_loss(probs: Tensor, bboxes: Tensor) -> Tensor:
    """Dice loss of the map's shadow on either axis with the box's.

    A shadow is the highest probability of each row, or of each column.

    Args:
        probs: ``(N, 1, H, W)`` float.
        bboxes: ``(N, 4)``, xyxy in patch pixels.

    Returns:
        Scalar: the sum over the two axes, the mean over patches.
    """
    rows, columns = line_labels(bboxes, *probs.shape[-2:])
    probs = probs.squeeze(1)
    # As in BoxInst: of squares, and a box without area teaches nothing.
    by_row = dice_loss(probs.max(dim=2).values, rows, eps=5e-6)
    by_column = dice_loss(probs.max(dim=1).values, columns, eps=5e-6)
    return by_row + by_column


def affinity_loss(
    logits: Tensor, bboxes: Tensor, images: Tensor, max_distance: float, dilation: int
) -> Tensor:
    """Cross-entropy of neighbours of like colour having the same label.

    A pair of pixels counts if their colours are near and at least one of them lies in the box.

    Args:
        logits: ``(N, 1, H, W)`` float.
        bboxes: ``(N, 4)``, xyxy in pixels of the map.
        images: ``(N, C, H, W)`` float, the colours.
        max_distance: Greatest Euclidean distance of colours that are near, in their unit.
        dilation: Pixels from a pixel to its eight neighbours, along either axis.

    Returns:
        Scalar, the mean over the pairs that count; zero if there is none.
    """
    height, width = logits.shape[-2:]
    rows, columns = line_labels(bboxes, height, width)
    inside = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)
    log_object, log_ground = F.logsigmoid(logits), F.logsigmoid(-logits)
    total, count = logits.new_zeros(()), 0
    for dy, dx in ((0, dilation), (dilation, 0), (dilation, dilation), (dilation, -dilation)):
        left, right = max(0, -dx), max(0, dx)
        start = (..., slice(0, max(height - dy, 0)), slice(left, max(width - right, left)))
        end = (..., slice(dy, None), slice(right, max(width - left, right)))
        near = (images[start] - images[end]).square().sum(1, keepdim=True) <= max_distance**2
        pairs = near & (inside[start] | inside[end])
        same = torch.logaddexp(
            log_object[start] + log_object[end], log_ground[start] + log_ground[end]
        )
        total = total - (same * pairs).sum()
        count = count + pairs.sum()
    return total / count.clamp(min=1)


@MODELS.register_module()
class ProjectionAffinityLoss(nn.Module):
    """What BoxInst learns from boxes: projection and colour affinity of one map.

    The paper has none. Unlike BoxInst, colours are compared as the network reads them, not in Lab,
    and there is no warm-up.

    Args:
        projection_weight: Weight of :func:`projection_loss`.
        affinity_weight: Weight of :func:`affinity_loss`.
        max_distance: See there. The colours' unit is the standard deviation that the data
            preprocessor divides by; 0.6 are about 35 grey levels along one channel.
        dilation: See there; in pixels of the shrunken map.
        stride: By how much map and image are shrunk, by averaging, to compare neighbours.

    Raises:
        InputError: If ``dilation`` or ``stride`` is no whole number of at least 1, or
            ``max_distance`` is negative.
    """

    def __init__(
        self,
        projection_weight: float = 1.0,
        affinity_weight: float = 1.0,
        max_distance: float = 0.6,
        dilation: int = 2,
        stride: int = 2,
    ) -> None:
        super().__init__()
        check_count('dilation', dilation)
        check_count('stride', stride)
        if max_distance < 0:
            raise InputError(f'max_distance must be at least 0, not {max_distance!r}')
        self.projection_weight = projection_weight
        self.affinity_weight = affinity_weight
        self.max_distance = max_distance
        self.dilation = dilation
        self.stride = stride

    def forward(self, logits: Tensor, bboxes: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Compute the two terms.

        Args:
            logits: ``(N, 1, H, W)``.
            bboxes: ``(N, 4)``, xyxy in patch pixels.
            images: Patches ``(N, C, H, W)``, as the network reads them.

        Returns:
            The weighted ``loss_projection`` and ``loss_affinity``, scalars.
        """
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits if logits.dtype == torch.float64 else logits.float()
            bboxes = bboxes.to(logits)
            affinity = affinity_loss(
                F.avg_pool2d(logits, self.stride),
                bboxes / self.stride,
                F.avg_pool2d(images.to(logits), self.stride),
                self.max_distance,
                self.dilation,
            )
            return dict(
                loss_projection=self.projection_weight * projection_loss(logits.sigmoid(), bboxes),
                loss_affinity=self.affinity_weight * affinity,
            )
