"""The box as an input of the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmboxcaseg.errors import InputError

_IMAGE_CHANNELS = 3


def box_maps(bboxes: Tensor, height: int, width: int) -> Tensor:
    """Draw boxes: the share of each pixel that lies in the box.

    Args:
        bboxes: ``(N, 4)`` float, xyxy in patch pixels; pixel ``i`` covers ``[i, i + 1]``.
        height: Height of the patches.
        width: Width of the patches.

    Returns:
        ``(N, 1, height, width)`` in [0, 1], of the boxes' dtype.
    """
    x1, y1, x2, y2 = bboxes.unsqueeze(-1).unbind(1)
    row = torch.arange(height, device=bboxes.device)
    column = torch.arange(width, device=bboxes.device)
    rows = (torch.minimum(row + 1, y2) - torch.maximum(row, y1)).clamp(min=0)
    columns = (torch.minimum(column + 1, x2) - torch.maximum(column, x1)).clamp(min=0)
    return (rows.unsqueeze(2) * columns.unsqueeze(1)).unsqueeze(1)


def widen_stem(backbone: nn.Module, channels: int) -> None:
    """Let the first convolution of a backbone take more channels behind those of the image.

    It loads weights of the image's channels alone, such as pretrained ones, with zeros for the
    others: the network is then at first what it was.

    Args:
        backbone: Any network of which one convolution takes images of three channels.
        channels: How many more.

    Raises:
        InputError: If not exactly one convolution takes three channels.
    """
    stems = [
        module
        for module in backbone.modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == _IMAGE_CHANNELS
    ]
    if len(stems) != 1:
        raise InputError(
            f'{type(backbone).__name__} has {len(stems)} convolutions that take three channels '
            'and prompt and neighbours need exactly one: take another backbone or leave them out'
        )
    (stem,) = stems
    stem.in_channels += channels
    stem.weight = nn.Parameter(_pad_channels(stem.weight.data, stem.in_channels))
    stem.register_load_state_dict_pre_hook(_pad_loaded_weight)


def _pad_loaded_weight(stem: nn.Conv2d, state_dict: dict, prefix: str, *_: object) -> None:
    # A function of the module and no closure: copies of the network, as of EMAHook, have their own.
    key = f'{prefix}weight'
    if key in state_dict and state_dict[key].shape[1] == _IMAGE_CHANNELS:
        state_dict[key] = _pad_channels(state_dict[key], stem.in_channels)


def _pad_channels(weight: Tensor, channels: int) -> Tensor:
    """Append zeros to a weight (O, C, h, w) until it takes that many channels."""
    zeros = weight.new_zeros(len(weight), channels - weight.shape[1], *weight.shape[2:])
    return torch.cat([weight, zeros], dim=1)
