"""Weights of the transferred head, made from those of the weak head (Sec. 3.3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightTransfer(nn.Module):
    """Make one convolution's parameters from another's by a two-layer MLP.

    Each output channel's flattened weight vector goes through the MLP; the bias is carried over
    by a learned scale ``k`` and shift ``b``. The source is detached: no gradient reaches it.

    Args:
        features: Length of a weight vector, ``in_channels * kernel height * kernel width``.
        expansion: Width of the hidden layer as a multiple of ``features``.
        negative_slope: Slope of the leaky ReLU.
    """

    def __init__(self, features: int, expansion: int = 4, negative_slope: float = 0.1) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, expansion * features)
        self.act = nn.LeakyReLU(negative_slope)
        self.fc2 = nn.Linear(expansion * features, features)
        self.k = nn.Parameter(torch.ones(1))
        self.b = nn.Parameter(torch.zeros(1))
        for layer in (self.fc1, self.fc2):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Make the parameters.

        Args:
            weight: (out, in, kh, kw), of the source convolution.
            bias: (out,), of the source convolution.

        Returns:
            Weight and bias of the same shapes.
        """
        vectors = weight.detach().flatten(1)
        transferred = self.fc2(self.act(self.fc1(vectors)))
        return transferred.view_as(weight), self.k * bias.detach() + self.b
