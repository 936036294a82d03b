"""RoI heads that train on proxy masks."""

from .proxy_mask_head import ProxyMaskHead

__all__ = ['ProxyMaskHead']
