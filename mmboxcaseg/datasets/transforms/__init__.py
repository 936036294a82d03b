"""Transforms of patches, and of proxy masks in mmdet's pipelines."""

from .clutter import PasteClutter, RandomTruncate
from .formatting import PackPatchInputs
from .loading import LoadPatchImage
from .patches import (
    BoxPatch,
    RandomBoxPatch,
    RandomDownscale,
    RandomSalientPatch,
    WholeImagePatch,
)
from .proxy_masks import DropProxyMasks, MergeProxyMasks
from .test_boxes import BoxFromMask, MoveBox

__all__ = [
    'BoxFromMask',
    'BoxPatch',
    'DropProxyMasks',
    'LoadPatchImage',
    'MergeProxyMasks',
    'MoveBox',
    'PackPatchInputs',
    'PasteClutter',
    'RandomBoxPatch',
    'RandomDownscale',
    'RandomSalientPatch',
    'RandomTruncate',
    'WholeImagePatch',
]
