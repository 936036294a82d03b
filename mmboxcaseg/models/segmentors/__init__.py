"""Segmentors that turn a box patch into a mask."""

from .box_caseg import BoxCaseg
from .box_caseg_graph import BoxCasegGraph
from .box_caseg_tta import BoxCasegTTAModel

__all__ = ['BoxCaseg', 'BoxCasegGraph', 'BoxCasegTTAModel']
