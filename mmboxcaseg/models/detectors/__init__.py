"""Detectors that learn from images with boxes and from salient images together, and their maps."""

from .attribution import BBAM
from .salient_mask_rcnn import SalientMaskRCNN

__all__ = ['BBAM', 'SalientMaskRCNN']
