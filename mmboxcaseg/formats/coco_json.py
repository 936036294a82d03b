"""COCO, also as Roboflow, Objects365 and LVIS write it."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from mmboxcaseg.coco.annotations import Coco, parse_coco, sound_rows, write_coco
from mmboxcaseg.coco.checks import UNREADABLE
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_utf8, write_json
from mmboxcaseg.images import read_image_shape
from mmboxcaseg.proxy import decode_rle

from .mask_export import Instance, MaskExport
from .outlines import join, mask_parts
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
    path, wrong = source.path, source.wrong
    data = read_utf8(path)
    try:
        top, entries = _decode(data)
    except (msgspec.DecodeError, KeyError, RecursionError):
        data = wrong.skip and sound_rows(data, path, {}, wrong) or data
        try:
            top, entries = _decode(data)
        except (msgspec.DecodeError, KeyError, RecursionError):
            return parse_coco(data, path)  # says what is wrong
    images = []
    for entry in entries:
        with wrong.noting(UNREADABLE, dict(image=entry.get('id'))):
            images.append(_with_place(entry, source.images, path))
    top['images'] = Raw(json.dumps(images).encode())
    coco = parse_coco(msgspec.json.encode(top), path, wrong=wrong)
    if coco.root:
        categories = msgspec.json.decode(coco.top['categories'], type=list[Raw])
        coco.top['categories'] = Raw(msgspec.json.encode(categories[1:]))
        coco.root = None
    return coco


def _decode(data: bytes) -> tuple[dict[str, Raw], list[dict]]:
    top = msgspec.json.decode(data, type=dict[str, Raw])
    return top, msgspec.json.decode(top['images'], type=list[dict])


def _with_place(image: dict, folder: ImageFolder, path: Path) -> dict:
    name = image.get('file_name') or urlsplit(str(image.get('coco_url') or '')).path
    if not isinstance(name, str) or not name:
        raise InputError(f"image {image.get('id')} of {path} has no 'file_name'")
    name = folder.find(name, path)
    sizes = {}
    if not image.get('width') or not image.get('height'):
        height, width = read_image_shape(folder.path / name, folder.reader)
        sizes = dict(width=width, height=height)
    return image | dict(file_name=name) | sizes


def write_coco_polygons(export: MaskExport) -> None:
    """Write ``annotations.json``, the same file with polygons in place of RLEs.

    Holes are cut open, so that pycocotools fills a polygon to the very mask. A mask that is a list
    of polygons already stays so to the byte; an empty one stays an RLE, for which polygons have no
    word.
    """
    segmentations = {
        instance.annotation.id: _polygons_of(instance, export)
        for _, instances in export.masks()
        for instance in instances
    }
    texts = (
        json.dumps(a.content() | dict(segmentation=segmentations[a.id])).encode()
        if a.id in segmentations
        else bytes(a.text)
        for a in export.coco.annotations
    )
    write_coco(export.coco.top, texts, export.file('annotations.json'))


def write_rf_detr(export: MaskExport) -> None:
    """Write ``train`` and ``valid``, each with its images and ``_annotations.coco.json``.

    Categories are numbered from 1 on, as RF-DETR takes their ids for labels. A dropped or empty
    mask is not written, nor is its box, as an empty mask would be learned.
    """
    images = {image['id']: image for image in json.loads(bytes(export.coco.top['images']))}
    categories = json.loads(bytes(export.coco.top['categories']))
    names = {category.name for category in export.categories}
    listed = [
        dict(supercategory='object') | category | dict(id=label)
        for label, category in enumerate((c for c in categories if c['name'] in names), 1)
    ]
    parts = {
        part: dict(images=[], annotations=[], categories=listed) for part in ('train', 'valid')
    }
    for image, good, _ in export.good_masks():
        part = export.part(image, 'valid')
        export.link_image(image, part)
        parts[part]['images'].append(images[image.id])
        for instance in good:
            polygons = _polygons_of(instance, export)
            fields = dict(segmentation=polygons, area=int(instance.mask.sum()), iscrowd=0)
            own = instance.annotation.content() | fields | dict(category_id=instance.label + 1)
            parts[part]['annotations'].append(own)
    for part, content in parts.items():
        write_json(content, export.file(part, '_annotations.coco.json'))


def _polygons_of(instance: Instance, export: MaskExport) -> list[list[float]]:
    given = instance.annotation.segmentation
    mask = instance.mask
    if isinstance(given, list):
        polygons = given
    else:
        outlines = (join([part.outer, *part.holes]) for part in mask_parts(mask))
        polygons = [outline.ravel().tolist() for outline in outlines]
    export.record(instance, decode_rle(polygons, mask.shape))
    return polygons
