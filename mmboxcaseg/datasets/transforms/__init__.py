"""Transforms of patches, and of proxy masks in mmdet's pipelines."""

from .formatting import PackPatchInputs
from .loading import LoadPatchImage
from .patches import BoxPatch, RandomBoxPatch, RandomSalientPatch, crop_patches

__all__ = [
    'BoxPatch',
    'LoadPatchImage',
    'PackPatchInputs',
    'RandomBoxPatch',
    'RandomSalientPatch',
    'crop_patches',
]
