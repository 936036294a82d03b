"""Detectors that learn from images with boxes and from salient images together."""

from .salient_mask_rcnn import SalientMaskRCNN

__all__ = ['SalientMaskRCNN']
