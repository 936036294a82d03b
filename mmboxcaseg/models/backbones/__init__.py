"""Backbones that mmdet and mmseg do not have."""

from .efficientnet_lite import EfficientNetLite
from .timm_backbone import TIMMBackbone

__all__ = ['EfficientNetLite', 'TIMMBackbone']
