"""Losses of the weak head and of the fused heads."""

from .mil_loss import MILLoss, line_labels, mil_loss, smooth_loss
from .pixel_loss import PixelLoss

__all__ = ['MILLoss', 'PixelLoss', 'line_labels', 'mil_loss', 'smooth_loss']
