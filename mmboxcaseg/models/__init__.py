"""Networks, losses and heads."""

from .backbones import EfficientNetLite, TIMMBackbone
from .data_preprocessors import PatchPreprocessor
from .dense_heads import ProxyMask2FormerHead, ProxyRTMDetInsSepBNHead
from .detectors import BBAM, SalientMaskRCNN
from .heads import PatchHead, TransferredHead
from .layers import BoxPrompt, WeightTransfer
from .losses import MILLoss, PixelLoss
from .necks import FineNeck
from .roi_heads import MILMaskHead, ProxyMaskHead, ShapePropMaskHead, ShapePropRoIHead
from .segmentors import BoxCaseg, BoxCasegTTAModel

__all__ = [
    'BBAM',
    'BoxCaseg',
    'BoxCasegTTAModel',
    'BoxPrompt',
    'EfficientNetLite',
    'FineNeck',
    'MILLoss',
    'MILMaskHead',
    'PatchHead',
    'PatchPreprocessor',
    'PixelLoss',
    'ProxyMask2FormerHead',
    'ProxyMaskHead',
    'ProxyRTMDetInsSepBNHead',
    'SalientMaskRCNN',
    'ShapePropMaskHead',
    'ShapePropRoIHead',
    'TIMMBackbone',
    'TransferredHead',
    'WeightTransfer',
]
