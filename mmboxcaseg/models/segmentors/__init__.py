"""Segmentors that turn a box patch into a mask."""

from .box_caseg import BoxCaseg
from .box_caseg_tta import FLIP_AXES, BoxCasegTTAModel

__all__ = ['FLIP_AXES', 'BoxCaseg', 'BoxCasegTTAModel']
