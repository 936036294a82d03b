"""Building blocks of the network."""

from .box_maps import box_maps, map_of_box, whole_patches
from .box_prompt import BoxPrompt, other_boxes_maps, widen_stem
from .concat_scales import concat_scales
from .fuse_logits import fuse_logits
from .normal_init import NormalInit
from .same_conv import SameConv2d
from .scales import find_scales, run_once
from .weight_transfer import WeightTransfer

__all__ = [
    'BoxPrompt',
    'NormalInit',
    'SameConv2d',
    'WeightTransfer',
    'box_maps',
    'concat_scales',
    'find_scales',
    'fuse_logits',
    'map_of_box',
    'other_boxes_maps',
    'run_once',
    'whole_patches',
    'widen_stem',
]
