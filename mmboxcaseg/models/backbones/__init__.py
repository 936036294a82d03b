"""Backbones that mmdet and mmseg do not have."""

from .efficientnet_lite import EfficientNetLite

__all__ = ['EfficientNetLite']
