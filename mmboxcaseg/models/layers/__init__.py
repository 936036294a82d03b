"""Building blocks of the network."""

from .concat_scales import concat_scales
from .weight_transfer import WeightTransfer

__all__ = ['WeightTransfer', 'concat_scales']
