"""RoI heads that train on proxy masks, or on boxes alone."""

from .mil_mask_head import MILMaskHead
from .proxy_mask_head import ProxyMaskHead

__all__ = ['MILMaskHead', 'ProxyMaskHead']
