"""What scales a backbone gives, found by asking it."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log
from typing import Any

import torch
from torch import Tensor, nn

from mmboxcaseg.errors import InputError

# Not square, to tell rows from columns and both from channels.
_PROBE = (64, 96)
# The logarithms of the strides of rows and of columns may differ by as much.
_MISFIT = 0.2


def find_scales(
    backbone: nn.Module, in_channels: int = 3, size: int | Sequence[int] | None = None
) -> tuple[list[Tensor], bool]:
    """Run a backbone once to find the number, the channels and the layout of its scales.

    Args:
        backbone: Any backbone; it runs in eval mode and is left as it was.
        in_channels: Of its input.
        size: Height and width of its input, or one number for both, of a backbone that takes one
            size alone.

    Returns:
        The scales (1, C_i, H_i, W_i) of a black image, the finest first, and whether the backbone
        gives them as (N, H, W, C) and the caller has to turn them.

    Raises:
        InputError: If what it gives are no such maps, or the first one is not the finest.

    Example:
        >>> from mmseg.models import MixVisionTransformer
        >>> scales, behind = find_scales(MixVisionTransformer(embed_dims=8))
        >>> [scale.shape[1] for scale in scales], behind
        ([8, 16, 32, 64], False)
    """
    name = type(backbone).__name__
    size = (size, size) if isinstance(size, int) else tuple(size or _PROBE)
    device = next(backbone.parameters()).device
    try:
        scales = run_once(backbone, torch.zeros(1, in_channels, *size, device=device))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise InputError(
            f'{name} does not take an image of {size[0]}x{size[1]} to find its channels by: give '
            'it img_size, as large as the patches, or write in_channels into neck and heads '
            f'({reason[0] if reason else type(error).__name__})'
        ) from error
    maps = isinstance(scales, list | tuple) and all(isinstance(s, Tensor) for s in scales)
    shapes = [tuple(scale.shape) for scale in scales] if maps else []
    misfits = [
        max((_misfit(shape[place], size) for shape in shapes), default=inf)
        for place in (slice(2, None), slice(1, -1))
    ]
    behind = misfits[1] < misfits[0]
    if min(misfits) > _MISFIT:
        raise InputError(
            f'{name} gives {shapes or type(scales).__name__} of an image of {size[0]}x{size[1]} '
            'and a BoxCaseg needs a list of maps (N, C, H, W) or (N, H, W, C): set what it gives '
            'out, such as by out_indices'
        )
    scales = [scale.permute(0, 3, 1, 2) if behind else scale for scale in scales]
    heights = [scale.shape[2] for scale in scales]
    if heights != sorted(heights, reverse=True):
        raise InputError(
            f'{name} gives maps of {heights} rows, and a BoxCaseg needs the finest first: set its '
            'out_indices in this order'
        )
    return scales, behind


@torch.no_grad()
def run_once(module: nn.Module, inputs: Any) -> Any:
    """What a module gives; it runs in eval mode and is left as it was."""
    training = module.training
    module.eval()
    try:
        return module(inputs)
    finally:
        module.train(training)


def _misfit(shape: Sequence[int], size: tuple[int, int]) -> float:
    """How far two sides are from those of the image by one stride; padding may add a little."""
    if len(shape) != 2 or shape[0] > size[0]:
        return inf
    (rows, columns), (height, width) = shape, size
    return abs(log(height / rows) - log(width / columns))
