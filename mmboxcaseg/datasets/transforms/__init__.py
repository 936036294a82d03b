"""Transforms of patches, and of proxy masks in mmdet's pipelines."""

from .clutter import PasteClutter, RandomTruncate
from .formatting import PackPatchInputs
from .loading import LoadPatchImage
from .neighbours import NeighbourChannel
from .other_boxes import BoxFromMask, MoveBox
from .patches import (
    BoxPatch,
    RandomBoxPatch,
    RandomDownscale,
    RandomSalientPatch,
    WholeImagePatch,
    crop_patches,
)
from .proxy_masks import DropProxyMasks, MergeProxyMasks

__all__ = [
    'BoxFromMask',
    'BoxPatch',
    'DropProxyMasks',
    'LoadPatchImage',
    'MergeProxyMasks',
    'MoveBox',
    'NeighbourChannel',
    'PackPatchInputs',
    'PasteClutter',
    'RandomBoxPatch',
    'RandomDownscale',
    'RandomSalientPatch',
    'RandomTruncate',
    'WholeImagePatch',
    'crop_patches',
]
