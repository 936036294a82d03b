"""Boxes in the formats that people have, read as COCO; each format has a module.

A reader is a function from a path, and the folder of the images, to what the file says.
"""

from .checks import check_plausible, similar_classes
from .reading import FORMATS, Reading, read_boxes

__all__ = ['FORMATS', 'Reading', 'check_plausible', 'read_boxes', 'similar_classes']
