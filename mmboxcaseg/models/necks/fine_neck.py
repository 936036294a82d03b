"""The scales of a backbone at the stride of its stem, for outlines that are half as coarse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmboxcaseg.errors import InputError
from mmboxcaseg.models.layers import concat_scales
from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class FineNeck(BaseModule):
    """Bring all scales together at the finest one, with few channels where there are many pixels.

    The coarser scales are brought to ``channels`` each, concatenated at the finest of them and
    mixed; the result is enlarged and joined with the finest scale by one 3x3 convolution. Off in
    the paper's configs, whose maps have a quarter of the patch's resolution; with a scale of stride
    2 in front, maps have a half.

    Args:
        in_channels: Of each scale, the finest first.
        channels: Of each coarser scale before they are mixed.
        mixed_channels: Of their mixture.
        out_channels: Of the result.
        mix_kernel_size: Of the convolution that mixes the coarser scales.
        norm_cfg: Config of the norm layers.
        init_cfg: Initialisation, as in mmengine.

    Raises:
        InputError: If there is one scale alone.

    Example:
        >>> import torch
        >>> neck = FineNeck([4, 8, 8])
        >>> scales = [torch.ones(1, 4, 16, 16), torch.ones(1, 8, 8, 8), torch.ones(1, 8, 4, 4)]
        >>> [scale.shape for scale in neck(scales)]
        [torch.Size([1, 32, 16, 16])]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 64,
        mixed_channels: int = 48,
        out_channels: int = 32,
        mix_kernel_size: int = 1,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='BN')
        fine, *coarse = in_channels
        if not coarse:
            raise InputError(
                'FineNeck joins the finest scale with coarser ones, and the backbone gives one '
                'alone: set its out_indices, or leave the neck out'
            )
        self.laterals = nn.ModuleList(
            ConvModule(number, channels, 1, norm_cfg=norm_cfg) for number in coarse
        )
        self.mix = ConvModule(
            channels * len(coarse),
            mixed_channels,
            mix_kernel_size,
            padding=mix_kernel_size // 2,
            norm_cfg=norm_cfg,
        )
        self.join = ConvModule(mixed_channels + fine, out_channels, 3, padding=1, norm_cfg=norm_cfg)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        """Map scales (N, C_i, H_i, W_i), the finest first, to one, (N, out_channels, H_0, W_0)."""
        fine, *coarse = features
        coarse = [conv(scale) for conv, scale in zip(self.laterals, coarse, strict=True)]
        mixed = self.mix(concat_scales(coarse))
        mixed = F.interpolate(mixed, fine.shape[-2:], mode='bilinear', align_corners=False)
        return (self.join(torch.cat([mixed, fine], dim=1)),)
