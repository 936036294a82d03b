"""Datasets of box-annotated and of salient images, their transforms and their sampler."""

from .box_instances import BoxInstanceDataset
from .mended_coco import MendedCocoDataset
from .proxy_coco import ProxyCocoDataset
from .salient_objects import SalientObjectDataset
from .samplers import *  # noqa: F403
from .transforms import *  # noqa: F403

__all__ = [
    'BoxInstanceDataset',
    'MendedCocoDataset',
    'ProxyCocoDataset',
    'SalientObjectDataset',
]
