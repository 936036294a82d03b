"""One feature map from the several scales of a backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def concat_scales(features: Sequence[Tensor]) -> Tensor:
    """Resize every scale to the first one's size, bilinearly, and concatenate the channels.

    Args:
        features: (N, C_i, H_i, W_i) each, the finest first.

    Returns:
        (N, sum of C_i, H_0, W_0).
    """
    size = features[0].shape[-2:]
    resized = [
        f if f.shape[-2:] == size else F.interpolate(f, size, mode='bilinear', align_corners=False)
        for f in features
    ]
    return torch.cat(resized, dim=1)
