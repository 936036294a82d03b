"""Transforms of patches, and of proxy masks in mmdet's pipelines."""

from .formatting import PackPatchInputs
from .loading import LoadPatchImage
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
    'BoxPatch',
    'DropProxyMasks',
    'LoadPatchImage',
    'MergeProxyMasks',
    'PackPatchInputs',
    'RandomBoxPatch',
    'RandomDownscale',
    'RandomSalientPatch',
    'WholeImagePatch',
    'crop_patches',
]
