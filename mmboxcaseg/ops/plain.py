"""``nms`` and ``roi_align`` in plain torch: on any device, without a compiler, in any dtype.

K boxes, C channels, output cells of (height, width). Slower than compiled ops; the results are the
same to rounding. Tests take them as the reference.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def nms(bboxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Non-maximum suppression.

    Args:
        bboxes: (K, 4) xyxy.
        scores: (K,).
        iou_threshold: A box whose IoU with a better one that stays is above this goes.

    Returns:
        (M,) int64: the boxes that stay, best first; of equal scores the earlier box first.

    Example:
        >>> bboxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3], [4, 0, 8, 4]])
        >>> nms(bboxes, torch.tensor([0.9, 0.8, 0.7]), iou_threshold=0.7)
        tensor([0, 2])
    """
    areas = (bboxes[:, 2] - bboxes[:, 0]) * (bboxes[:, 3] - bboxes[:, 1])
    left = scores.argsort(descending=True, stable=True)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        top_left = torch.maximum(bboxes[best, :2], bboxes[left, :2])
        bottom_right = torch.minimum(bboxes[best, 2:], bboxes[left, 2:])
        overlap = (bottom_right - top_left).clamp(min=0).prod(dim=1)
        iou = overlap / (areas[best] + areas[left] - overlap)
        # Two boxes without area have an IoU of NaN; both stay.
        left = left[~(iou > iou_threshold)]
    return torch.stack(kept) if kept else scores.new_zeros(0, dtype=torch.int64)


def roi_align(
    features: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """The mean of bilinear samples in each cell of a grid over each box (Mask R-CNN, section 3).

    Args:
        features: (N, C, H, W).
        rois: (K, 5): number of the image in the batch, then xyxy in image pixels.
        output_size: Cells of the grid, (height, width).
        spatial_scale: Of the feature map to the image.
        sampling_ratio: Samples of a cell in each direction; 0 for about one a pixel of the map.
        aligned: Whether pixel centres lie at half coordinates; otherwise at whole ones, and no box
            is smaller than a pixel of the map.

    Returns:
        (K, C, height, width).
    """
    output = features.new_zeros(len(rois), features.shape[1], *output_size)
    windows = _windows(features, rois, output_size, spatial_scale, sampling_ratio, aligned)
    # Autocast would multiply in half precision.
    with torch.autocast(features.device.type, enabled=False):
        for k, image, rows, cols, row_weights, col_weights in windows:
            output[k] = row_weights @ features[image, :, rows, cols] @ col_weights.T
    return output


def roi_align_gradient(
    grad_output: Tensor,
    rois: Tensor,
    shape: tuple[int, int, int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """The gradient of :func:`roi_align` with respect to the features.

    Args:
        grad_output: (K, C, height, width).
        rois: (K, 5), as in :func:`roi_align`.
        shape: (N, C, H, W) of the features.
        spatial_scale: As in :func:`roi_align`.
        sampling_ratio: As in :func:`roi_align`.
        aligned: As in :func:`roi_align`.

    Returns:
        (N, C, H, W).
    """
    grad = grad_output.new_zeros(shape)
    size = grad_output.shape[2:]
    windows = _windows(grad, rois, size, spatial_scale, sampling_ratio, aligned)
    with torch.autocast(grad.device.type, enabled=False):
        for k, image, rows, cols, row_weights, col_weights in windows:
            grad[image, :, rows, cols] += row_weights.T @ grad_output[k] @ col_weights
    return grad


def _windows(
    features: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Iterator[tuple[int, int, slice, slice, Tensor, Tensor]]:
    """What each box reads: the mean over a grid of samples is one over rows, then over columns.

    Yields:
        Number of the box and of its image, the rows and columns of the map that it touches, their
        weights (height, rows) and (width, columns).
    """
    corners = rois[:, 1:] * spatial_scale - 0.5 * aligned
    starts, sides = corners[:, :2], corners[:, 2:] - corners[:, :2]
    if not aligned:
        sides = sides.clamp(min=1)
    images = rois[:, 0].long().tolist()
    (height, width), (rows_out, cols_out) = features.shape[2:], output_size
    steps = sides / sides.new_tensor([cols_out, rows_out])
    counts = steps.ceil().clamp(min=0).long() if sampling_ratio <= 0 else None
    for k, image in enumerate(images):
        col_count, row_count = (sampling_ratio,) * 2 if counts is None else counts[k].tolist()
        cols, col_weights = _weights(starts[k, 0], steps[k, 0], cols_out, col_count, width)
        rows, row_weights = _weights(starts[k, 1], steps[k, 1], rows_out, row_count, height)
        yield k, image, rows, cols, row_weights, col_weights


def _weights(
    start: Tensor, step: Tensor, cells: int, samples: int, length: int
) -> tuple[slice, Tensor]:
    """Weights of the pixels of one axis in each cell, and the pixels that have any.

    Args:
        start: Where the first cell begins.
        step: Length of a cell.
        cells: Number of cells.
        samples: Number of samples in a cell.
        length: Number of pixels.

    Returns:
        The pixels, and (cells, pixels).
    """
    cell = torch.arange(cells, dtype=start.dtype, device=start.device)[:, None]
    sample = torch.arange(samples, dtype=start.dtype, device=start.device)
    places = start + cell * step + (sample + 0.5) * step / max(samples, 1)
    # Up to a pixel outside the map a sample has the border's value, farther out it is zero.
    inside = (places >= -1) & (places <= length)
    places = places.clamp(0, length - 1)
    if not inside.any():
        return slice(0, 0), start.new_zeros(cells, 0)
    first, last = int(places[inside].min()), int(places[inside].max().ceil()) + 1
    pixels = torch.arange(first, last, dtype=start.dtype, device=start.device)
    tents = (1 - (places[..., None] - pixels).abs()).clamp(min=0) * inside[..., None]
    return slice(first, last), tents.sum(dim=1) / max(samples, 1)
