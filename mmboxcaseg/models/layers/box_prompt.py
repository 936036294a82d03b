"""The box, and the other boxes of its image, as an input of the network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import MODELS

from .box_maps import box_maps

_IMAGE_CHANNELS = 3


def other_boxes_maps(
    bboxes: Tensor, others: Sequence[Tensor] | Tensor, height: int, width: int
) -> Tensor:
    """Draw the boxes of other objects.

    What lies in a box often belongs to an object that has a box of its own. A box is drawn as
    ``own / (own + other)`` of the two areas, near 1 if it is much the smaller one: of two boxes
    that overlap, the smaller one's object is more often in front. Where several are, the greatest
    value stands; a pixel that is covered in part has that part of its value.

    Args:
        bboxes: (N, 4) float, xyxy, patch pixels, the patches' own boxes.
        others: For each patch the others, (K, 4) float, xyxy, patch pixels, of as many as there
            are; they may leave the patch. Or one tensor (N, K, 4), filled up with boxes without
            area, for graphs: all are drawn at once, in K times the memory.
        height: Height of the patches.
        width: Width of the patches.

    Returns:
        (N, 1, height, width) in [0, 1], of the boxes' dtype.

    Example:
        Own area 2, the other's 6 of which 2 lie in the patch:

        >>> import torch
        >>> own, others = torch.tensor([[0.0, 0, 1, 2]]), torch.tensor([[2.0, 0, 5, 2]])
        >>> other_boxes_maps(own, [others], height=2, width=3).tolist()
        [[[[0.0, 0.0, 0.25], [0.0, 0.0, 0.25]]]]
    """
    if isinstance(others, Tensor):
        return _padded_boxes_maps(bboxes, others, height, width)
    maps = bboxes.new_zeros(len(bboxes), 1, height, width)
    counts = np.array([len(boxes) for boxes in others])
    if not counts.any():
        return maps
    flat = torch.cat([boxes.to(bboxes) for boxes in others])
    starts = counts.cumsum() - counts
    own, areas = _areas(bboxes), _areas(flat)
    # The first of all patches, then the second of those that have two: the boxes of all patches at
    # once are many, and patch by patch a GPU waits.
    for number in range(counts.max()):
        patches = np.flatnonzero(counts > number)
        boxes = torch.from_numpy(starts[patches] + number).to(flat.device)
        patches = torch.from_numpy(patches).to(flat.device)
        values = _values(own[patches], areas[boxes]).view(-1, 1, 1, 1)
        drawn = values * box_maps(flat[boxes], height, width)
        maps[patches] = torch.maximum(maps[patches], drawn)
    return maps


def _padded_boxes_maps(bboxes: Tensor, others: Tensor, height: int, width: int) -> Tensor:
    # One without area more, for there may be none.
    others = F.pad(others.to(bboxes), (0, 0, 0, 1))
    values = _values(_areas(bboxes).unsqueeze(1), _areas(others))
    drawn = box_maps(others.flatten(0, 1), height, width).unflatten(0, values.shape)
    return (values[..., None, None, None] * drawn).amax(1)


def _values(own: Tensor, areas: Tensor) -> Tensor:
    # Of two boxes without area neither has a pixel, whatever is divided by.
    return own / (own + areas).clamp(min=torch.finfo(areas.dtype).tiny)


def _areas(bboxes: Tensor) -> Tensor:
    return (bboxes[..., 2:] - bboxes[..., :2]).clamp(min=0).prod(-1)


@MODELS.register_module()
class BoxPrompt(nn.Module):
    """Tells the network, as channels beside those of the image, which object is asked for.

    The paper has none. Channels stand in this order.

    Args:
        own: Whether the box is one, as :func:`box_maps` draws it.
        others: Whether the other boxes of the image are one, as :func:`other_boxes_maps` draws
            them.
        loose: Whether own boxes that may lie beside their object are drawn at half the value: the
            network is told which boxes it can trust to the pixel, and loses nothing on those.
            Training on both kinds (:class:`mmboxcaseg.RandomMoveBox`) teaches it the difference; in
            a test boxes are loose if there is a slack.

    Attributes:
        channels: How many channels these are.

    Raises:
        InputError: If neither is asked for, or ``loose`` without ``own``.
    """

    def __init__(self, own: bool = True, others: bool = False, loose: bool = False) -> None:
        super().__init__()
        if not (own or others):
            raise InputError('a BoxPrompt draws own or others or both: without, write prompt=None')
        if loose and not own:
            raise InputError('BoxPrompt(loose=True) says how its own box is drawn: add own=True')
        self.loose = loose
        self.own = own
        self.others = others

    @property
    def channels(self) -> int:
        """See the class."""
        return self.own + self.others

    def forward(
        self,
        size: tuple[int, int],
        bboxes: Tensor,
        others: Sequence[Tensor] | Tensor | None = None,
        loose: Tensor | None = None,
    ) -> Tensor:
        """Draw.

        Args:
            size: Height and width of the patches.
            bboxes: (N, 4), xyxy, patch pixels.
            others: See :func:`other_boxes_maps`; by default there are none.
            loose: (N,) bool, which boxes may lie beside their object; by default none.

        Returns:
            (N, channels, height, width) float32 in [0, 1].
        """
        # Half precision does not hold the edges of large patches.
        bboxes = bboxes.float()
        maps = [box_maps(bboxes, *size)] if self.own else []
        if self.loose and loose is not None:
            maps[0] = maps[0] * torch.where(loose.to(bboxes.device), 0.5, 1.0).view(-1, 1, 1, 1)
        if self.others:
            others = bboxes.new_zeros(bboxes.shape[0], 0, 4) if others is None else others
            maps.append(other_boxes_maps(bboxes, others, *size))
        return torch.cat(maps, dim=1)


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
            'and a prompt needs exactly one: take another backbone or leave the prompt out'
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
