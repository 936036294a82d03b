"""Boxes in the formats that people have, and masks in those that they want; each has a module.

A reader makes COCO of a :class:`~mmboxcaseg.formats.pictures.Source`, a writer files of an
:class:`~mmboxcaseg.formats.mask_export.MaskExport`.
"""

from .reading import FORMATS, Reading, read_boxes
from .writing import MASK_FORMATS, check_convertible, convert_masks

__all__ = [
    'FORMATS',
    'MASK_FORMATS',
    'Reading',
    'check_convertible',
    'convert_masks',
    'read_boxes',
]
