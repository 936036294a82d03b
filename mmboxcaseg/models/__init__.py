"""Networks, losses and heads."""

from .backbones import EfficientNetLite
from .heads import PatchHead, TransferredHead
from .layers import WeightTransfer
from .losses import MILLoss, PixelLoss
from .roi_heads import MILMaskHead, ProxyMaskHead
from .segmentors import BoxCaseg

__all__ = [
    'BoxCaseg',
    'EfficientNetLite',
    'MILLoss',
    'MILMaskHead',
    'PatchHead',
    'PixelLoss',
    'ProxyMaskHead',
    'TransferredHead',
    'WeightTransfer',
]
