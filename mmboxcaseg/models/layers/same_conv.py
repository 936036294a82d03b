"""A convolution with TensorFlow's padding."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's ``'same'``: a side of n pixels becomes ceil(n / stride).

    What mmcv's ``Conv2dAdaptivePadding`` computes. Here a padding that is the same on both sides
    is left to the convolution, without a copy of the input. So is an uneven one on CPUs, unless in
    training: a kernel that begins with zeros is even. Depthwise convolutions stay in single
    precision under autocast on CPUs, where the backward pass of half precision takes several times
    as long.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width of the kernel, or one number for both.
        stride: The same of the stride.
        padding: Not used: it follows from the input's size. ``ConvModule`` gives one.
        dilation: The same of the dilation.
        groups: As in ``nn.Conv2d``.
        bias: As in ``nn.Conv2d``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        rows, columns = map(
            _same_padding, x.shape[-2:], self.kernel_size, self.stride, self.dilation
        )
        top, left = rows // 2, columns // 2
        on_cpu = x.device.type == 'cpu'
        # Whoever compiles or exports has paddings of their own for uneven sides.
        evens = on_cpu and not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        weight, padding = self.weight, (top, left)
        if rows % 2 or columns % 2:
            if evens and self.dilation == (1, 1):
                padding = (rows - top, columns - left)
                weight = F.pad(weight, (columns % 2, 0, rows % 2, 0))
            else:
                x = F.pad(x, (left, columns - left, top, rows - top))
                padding = (0, 0)
        depthwise = 1 < self.groups == self.in_channels
        if not (depthwise and on_cpu and torch.is_autocast_enabled('cpu')):
            return self._convolve(x, weight, padding)
        with torch.autocast('cpu', enabled=False):
            return self._convolve(x.to(weight), weight, padding)

    def _convolve(self, x: Tensor, weight: Tensor, padding: tuple[int, int]) -> Tensor:
        return F.conv2d(x, weight, self.bias, self.stride, padding, self.dilation, self.groups)


def _same_padding(side: int, kernel_size: int, stride: int, dilation: int) -> int:
    """Pixels to add to a side, at both ends together."""
    covered = (math.ceil(side / stride) - 1) * stride + (kernel_size - 1) * dilation + 1
    return max(covered - side, 0)
