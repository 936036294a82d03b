"""What ``mmcv._ext`` is where mmcv has no compiled ops: the ops that Mask R-CNN calls.

They come from torchvision where it is installed and fits torch, else from
:mod:`mmboxcaseg.ops.plain`. Half precision is computed in single precision, as torchvision does
under autocast. Every other op of mmcv can be imported, and raises when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from mmboxcaseg.errors import InputError
from mmboxcaseg.ops import plain

try:
    import torchvision.ops as torchvision_ops
except (ImportError, RuntimeError):  # RuntimeError: torchvision was built for another torch
    torchvision_ops = None

#: Where the ops come from, as mmcv shows it among its build information.
SOURCE = 'plain torch' if torchvision_ops is None else 'torchvision'


def nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """The boxes that stay, see :func:`mmboxcaseg.ops.plain.nms`.

    Args:
        bboxes: (K, 4) xyxy.
        scores: (K,).
        iou_threshold: A box whose IoU with a better one that stays is above this goes.
        offset: A box is x2 - x1 + offset wide: 0, or 1 where x2 is the box's last pixel.

    Returns:
        (M,) int64, best first.
    """
    bboxes = _in_single(bboxes)
    bboxes = bboxes + bboxes.new_tensor([0, 0, offset, offset])
    op = plain.nms if torchvision_ops is None else torchvision_ops.nms
    return op(bboxes, _in_single(scores), iou_threshold)


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write into ``output`` what :func:`mmboxcaseg.ops.plain.roi_align` gives.

    Args:
        features: (N, C, H, W).
        rois: (K, 5): number of the image in the batch, then xyxy.
        output: (K, C, aligned_height, aligned_width).
        argmax_y: Of another pooling; not touched, and so is ``argmax_x``.
        argmax_x: See ``argmax_y``.
        aligned_height: Rows of the grid over a box.
        aligned_width: Columns of it.
        spatial_scale: Of the feature map to the image.
        sampling_ratio: Samples of a cell in each direction; 0 for about one a pixel of the map.
        pool_mode: 1 for the mean; 0, the maximum, is not there.
        aligned: Whether pixel centres lie at half coordinates.

    Raises:
        InputError: If the pooling is the maximum.
    """
    if pool_mode != 1:
        _refuse("roi_align with pool_mode='max'")
    op = plain.roi_align if torchvision_ops is None else torchvision_ops.roi_align
    size = (aligned_height, aligned_width)
    features = _in_single(features)
    rois = rois.to(features.dtype)
    output.copy_(op(features, rois, size, spatial_scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of the features into ``grad_input``; see :func:`roi_align_forward`."""
    grad_output = _in_single(grad_output)
    rois = rois.to(grad_output.dtype)
    settings = (spatial_scale, sampling_ratio, aligned)
    if torchvision_ops is None:
        gradient = plain.roi_align_gradient(grad_output, rois, grad_input.shape, *settings)
    else:
        with torch.enable_grad():
            # The op is linear in the features: the gradient is the same whatever they are.
            features = grad_output.new_zeros(grad_input.shape, requires_grad=True)
            size = (aligned_height, aligned_width)
            output = torchvision_ops.roi_align(features, rois, size, *settings)
        gradient = torch.autograd.grad(output, features, grad_output)[0]
    grad_input.copy_(gradient)


def get_compiler_version() -> str:
    """What stands in the place of the compiler in mmcv's report of the environment."""
    return f'none, nms and roi_align by {SOURCE}'


def get_compiling_cuda_version() -> str:
    """What stands in the place of the CUDA compiler in mmcv's report of the environment."""
    return 'none'


def __getattr__(name: str) -> Callable[..., Any]:
    # mmcv asserts at import that each op is there.
    if name.startswith('__'):
        raise AttributeError(name)
    return lambda *args, **kwargs: _refuse(name)


def _refuse(op: str) -> NoReturn:
    raise InputError(
        f'mmcv has no compiled ops here, and {op} is one that mmboxcaseg does not bring: compile '
        'mmcv, see docs/install.md (make install OPS=compiled in a clone)'
    )


def _in_single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
