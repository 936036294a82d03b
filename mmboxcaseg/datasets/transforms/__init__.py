"""Transforms of patches, and of proxy masks in mmdet's pipelines."""

from .box_variants import BoxFromMask, MoveBox, RandomMoveBox
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
from .proxy_masks import DenoiseProxyMasks, DropProxyMasks, MergeProxyMasks
from .salient_instances import InstanceFromMask

__all__ = [
    'BoxFromMask',
    'BoxPatch',
    'DenoiseProxyMasks',
    'DropProxyMasks',
    'InstanceFromMask',
    'LoadPatchImage',
    'MergeProxyMasks',
    'MoveBox',
    'PackPatchInputs',
    'PasteClutter',
    'RandomBoxPatch',
    'RandomDownscale',
    'RandomMoveBox',
    'RandomSalientPatch',
    'RandomTruncate',
    'WholeImagePatch',
]
