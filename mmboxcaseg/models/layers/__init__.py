"""Building blocks of the network."""

from .box_prompt import box_maps, widen_stem
from .concat_scales import concat_scales
from .same_conv import SameConv2d
from .weight_transfer import WeightTransfer

__all__ = ['SameConv2d', 'WeightTransfer', 'box_maps', 'concat_scales', 'widen_stem']
