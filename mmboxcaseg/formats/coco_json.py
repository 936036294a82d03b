"""COCO, also as Roboflow, Objects365 and LVIS write it."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from mmboxcaseg.coco.annotations import Coco, parse_coco
from mmboxcaseg.datasets.transforms.loading import read_image_shape
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_utf8

from .pictures import ImageFolder, Source


def read_coco(source: Source) -> Coco:
    """Read a COCO file.

    LVIS names images by ``coco_url`` alone, Objects365 with folders that are not there, and some
    leave their sizes out; Roboflow's root category is left out. Annotations stay as they are.

    Args:
        source: Its path is the file.

    Returns:
        Its content, each ``file_name`` as it lies below the folder.

    Raises:
        InputError: If it is no COCO file, see :func:`mmboxcaseg.coco.load_coco`, or an image is
            missing.
    """
    path = source.path
    data = read_utf8(path)
    try:
        top = msgspec.json.decode(data, type=dict[str, Raw])
        entries = msgspec.json.decode(top['images'], type=list[dict])
    except (msgspec.DecodeError, KeyError):
        return parse_coco(data, path)  # says what is wrong
    top['images'] = _raw([_with_place(entry, source.images, path) for entry in entries])
    coco = parse_coco(msgspec.json.encode(top), path)
    if coco.root:
        categories = msgspec.json.decode(coco.top['categories'], type=list[Raw])
        coco.top['categories'] = Raw(msgspec.json.encode(categories[1:]))
        coco.root = None
    return coco


def _with_place(image: dict, folder: ImageFolder, path: Path) -> dict:
    name = image.get('file_name') or urlsplit(str(image.get('coco_url') or '')).path
    if not isinstance(name, str) or not name:
        raise InputError(f"image {image.get('id')} of {path} has no 'file_name'")
    name = folder.find(name, path)
    sizes = {}
    if not image.get('width') or not image.get('height'):
        height, width = read_image_shape(folder.path / name)
        sizes = dict(width=width, height=height)
    return image | dict(file_name=name) | sizes


def _raw(content: list[dict]) -> Raw:
    return Raw(json.dumps(content).encode())
