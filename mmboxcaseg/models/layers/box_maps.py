"""The geometry of boxes and patches: a box drawn into a map, and the part of a map in a box."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def box_maps(bboxes: Tensor, height: int, width: int) -> Tensor:
    """Draw boxes: the share of each pixel that lies in the box.

    Args:
        bboxes: (N, 4) float, xyxy in patch pixels; pixel ``i`` covers ``[i, i + 1]``.
        height: Height of the patches.
        width: Width of the patches.

    Returns:
        (N, 1, height, width) in [0, 1], of the boxes' dtype.

    Example:
        >>> import torch
        >>> box_maps(torch.tensor([[0.5, 0, 2, 1]]), height=2, width=3).tolist()
        [[[[0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]]]
    """
    x1, y1, x2, y2 = bboxes.unsqueeze(-1).unbind(1)
    row = torch.arange(height, device=bboxes.device)
    column = torch.arange(width, device=bboxes.device)
    rows = (torch.minimum(row + 1, y2) - torch.maximum(row, y1)).clamp(min=0)
    columns = (torch.minimum(column + 1, x2) - torch.maximum(column, x1)).clamp(min=0)
    return (rows.unsqueeze(2) * columns.unsqueeze(1)).unsqueeze(1)


def whole_patches(like: Tensor, height: int, width: int) -> Tensor:
    """The boxes of whole patches.

    Args:
        like: N patches or maps, of which number, dtype and device are taken.
        height: Height of the patches.
        width: Width of the patches.

    Returns:
        (N, 4), xyxy, patch pixels.
    """
    return like.new_tensor([0, 0, width, height]).expand(like.shape[0], 4)


def map_of_box(logits: Tensor, size: tuple[int, int], bboxes: Tensor | None = None) -> Tensor:
    """Upsample what lies in a box of each patch; without boxes the whole patch.

    Args:
        logits: (N, 1, h, w), of whole patches.
        size: Height and width of the patches, and of the result.
        bboxes: (N, 4), xyxy, patch pixels.

    Returns:
        (N, 1, height, width).

    Example:
        The right half of a patch of 2x4 pixels:

        >>> import torch
        >>> logits = torch.arange(4.0).expand(1, 1, 2, 4)
        >>> map_of_box(logits, (2, 4), torch.tensor([[2.0, 0, 4, 2]]))[0, 0, 0].tolist()
        [1.75, 2.25, 2.75, 3.0]
    """
    if bboxes is None:
        return _upsample(logits, size)
    logits = logits.float()
    bboxes = bboxes.to(logits)
    whole = whole_patches(logits, *size)
    # A graph has one way for all boxes.
    if not torch.compiler.is_compiling() and torch.equal(bboxes, whole):
        return _upsample(logits, size)
    # affine_grid and grid_sample take a patch as [-1, 1] from edge to edge.
    x1, y1, x2, y2 = (bboxes / whole[:, [2, 3, 2, 3]]).unbind(1)
    zero = torch.zeros_like(x1)
    rows = [x2 - x1, zero, x1 + x2 - 1], [zero, y2 - y1, y1 + y2 - 1]
    theta = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    grid = F.affine_grid(theta, [logits.shape[0], 1, *size], align_corners=False)
    return F.grid_sample(logits, grid, padding_mode='border', align_corners=False)


def _upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, size, mode='bilinear', align_corners=False)
