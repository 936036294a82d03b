"""Losses of the weak head and of the fused heads."""

from .mil_loss import MILLoss, line_labels, mil_loss, smooth_loss
from .pixel_loss import PixelLoss, fuse_probs, pixel_loss

__all__ = [
    'MILLoss',
    'PixelLoss',
    'fuse_probs',
    'line_labels',
    'mil_loss',
    'pixel_loss',
    'smooth_loss',
]
