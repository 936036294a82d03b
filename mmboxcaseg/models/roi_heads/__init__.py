"""RoI heads that train on proxy masks, or on boxes alone."""

from .mil_mask_head import MILMaskHead
from .proxy_mask_head import ProxyMaskHead
from .shapeprop import ShapePropMaskHead, ShapePropRoIHead

__all__ = ['MILMaskHead', 'ProxyMaskHead', 'ShapePropMaskHead', 'ShapePropRoIHead']
