"""The heads of BoxCaseg: one architecture, own or transferred parameters (Fig. 4)."""

from __future__ import annotations

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmboxcaseg.models.layers import WeightTransfer
from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class PatchHead(BaseModule):
    """Weak or salient head: 1x1 conv, norm, ReLU, 1x1 conv to one channel of logits.

    Both convolutions have a bias, the first in spite of its norm: the transfer carries it over.

    Args:
        in_channels: Channels of the concatenated features.
        norm_cfg: Config of the norm layer.
        init_cfg: Initialisation, as in mmengine.
    """

    def __init__(
        self, in_channels: int, norm_cfg: dict | None = None, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg)
        self.conv1 = nn.Conv2d(in_channels, in_channels, 1)
        self.norm = build_norm_layer(norm_cfg or dict(type='BN'), in_channels)[1]
        self.conv2 = nn.Conv2d(in_channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, C, H, W) to logits (N, 1, H, W)."""
        return self.conv2(F.relu(self.norm(self.conv1(x))))


@MODELS.register_module()
class TransferredHead(BaseModule):
    """Transferred head: the weak head's convolutions through the weight transfer, an own norm.

    Args:
        in_channels: Channels of the concatenated features.
        norm_cfg: Config of the norm layer.
        expansion: Width of the transfer's hidden layer as a multiple of ``in_channels``.
        init_cfg: Initialisation, as in mmengine.
    """

    def __init__(
        self,
        in_channels: int,
        norm_cfg: dict | None = None,
        expansion: int = 4,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.transfer1 = WeightTransfer(in_channels, expansion)
        self.norm = build_norm_layer(norm_cfg or dict(type='BN'), in_channels)[1]
        self.transfer2 = WeightTransfer(in_channels, expansion)

    def forward(self, x: Tensor, weak_head: PatchHead) -> Tensor:
        """Map features (N, C, H, W) to logits (N, 1, H, W).

        No gradient reaches ``weak_head``.
        """
        weight1, bias1 = self.transfer1(weak_head.conv1.weight, weak_head.conv1.bias)
        weight2, bias2 = self.transfer2(weak_head.conv2.weight, weak_head.conv2.bias)
        return F.conv2d(F.relu(self.norm(F.conv2d(x, weight1, bias1))), weight2, bias2)
