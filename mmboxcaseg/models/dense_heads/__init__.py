"""Heads of single-stage and of query-based segmenters that train on proxy masks."""

from .proxy_mask2former_head import ProxyMask2FormerHead
from .proxy_rtmdet_ins_head import ProxyRTMDetInsSepBNHead

__all__ = ['ProxyMask2FormerHead', 'ProxyRTMDetInsSepBNHead']
