"""Losses of the weak head and of the fused heads."""

from .mil_loss import MILLoss, line_labels, mil_loss, smooth_loss
from .pixel_loss import PixelLoss, fuse_logits, fuse_probs, pixel_loss
from .projection_loss import ProjectionAffinityLoss, affinity_loss, projection_loss

__all__ = [
    'MILLoss',
    'PixelLoss',
    'ProjectionAffinityLoss',
    'affinity_loss',
    'fuse_logits',
    'fuse_probs',
    'line_labels',
    'mil_loss',
    'pixel_loss',
    'projection_loss',
    'smooth_loss',
]
