"""COCO, also as Roboflow, Objects365 and LVIS write it."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct

from mmboxcaseg.coco.annotations import Coco, parse_coco
from mmboxcaseg.datasets.transforms.loading import read_image_shape
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_bytes

from .pictures import ImageFolder


class _Member(Struct, gc=False):
    category_id: int | str | None = None


def read_coco(path: Path, images: Path, origin: int = 0) -> Coco:
    """Read a COCO file.

    LVIS names images by ``coco_url`` alone, Objects365 with folders that are not there, and some
    leave their sizes out; Roboflow adds a root category, often with another's name. Annotations
    stay as they are.

    Args:
        path: The file.
        images: Folder of the images.
        origin: Has no meaning here: boxes are edges.

    Returns:
        Its content, each ``file_name`` as it lies below the folder.

    Raises:
        InputError: If it is no COCO file, see :func:`mmboxcaseg.coco.load_coco`, or an image is
            missing.
    """
    folder = ImageFolder(images)
    data = read_bytes(path)
    try:
        top = msgspec.json.decode(data, type=dict[str, Raw])
        entries = msgspec.json.decode(top['images'], type=list[dict])
        categories = msgspec.json.decode(top['categories'], type=list[dict])
        members = msgspec.json.decode(top['annotations'], type=list[_Member])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, RecursionError):
        return parse_coco(data, path)  # says what is wrong
    entries = [_with_place(entry, folder, path) for entry in entries]
    top['images'] = _raw(entries)
    top['categories'] = _raw(_without_root(categories, {member.category_id for member in members}))
    return parse_coco(msgspec.json.encode(top), path)


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


def _without_root(categories: list[dict], used: set[int | str | None]) -> list[dict]:
    """Leave Roboflow's root out: the first one, unused, which is all others' supercategory."""
    root, others = (categories or [{}])[0], categories[1:]
    is_root = others and all(c.get('supercategory') == root.get('name') for c in others)
    return others if is_root and all(root.get('id') != id_ for id_ in used) else categories


def _raw(content: list[dict]) -> Raw:
    return Raw(json.dumps(content).encode())
