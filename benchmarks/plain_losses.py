"""The losses, done the plain way: labels of the patch's size and eight convolutions a call."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainMILLoss(nn.Module):
    """Rows and columns from filled label maps; the smooth term pads with zeros at the border."""

    smooth_weight = 0.05

    def forward(self, logits: Tensor, bboxes: Tensor) -> dict[str, Tensor]:
        """Compute the two terms; arguments and result as of ``mmboxcaseg.MILLoss``."""
        labels = torch.zeros_like(logits[:, 0])
        for label, (x1, y1, x2, y2) in zip(labels, bboxes.tolist(), strict=True):
            label[int(y1) : math.ceil(y2), int(x1) : math.ceil(x2)] = 1
        bags = torch.cat([logits[:, 0].max(2)[0], logits[:, 0].max(1)[0]], 1)
        targets = torch.cat([labels.max(2)[0], labels.max(1)[0]], 1)
        probs = logits.sigmoid()
        smooth = 0
        for neighbour in (0, 1, 2, 3, 5, 6, 7, 8):
            kernel = torch.zeros(9)
            kernel[4], kernel[neighbour] = 1, -1
            difference = nn.Conv2d(1, 1, 3, padding=1, bias=False)
            difference.weight = nn.Parameter(kernel.view(1, 1, 3, 3), requires_grad=False)
            smooth = smooth + difference(probs).square().mean() / 8
        return dict(
            loss_mil=F.binary_cross_entropy_with_logits(bags, targets),
            loss_smooth=self.smooth_weight * smooth,
        )
