"""LabelMe: a JSON file for each image, also as X-AnyLabeling writes it."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from msgspec import Struct

from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_utf8, write_json
from mmboxcaseg.proxy import decode_rle, encode_rle

from .corners import read_number
from .mask_export import MaskExport
from .outlines import join, mask_parts, simplify
from .pictures import Drawn, Picture, Source, as_coco, outlined

# An outline that is written may be beside the mask's by so many pixels, or by so much of the mask's
# side if that is less: a third of the corners are left, at a mean IoU of 0.993.
_MOST_BESIDE, _BESIDE = 1.0, 0.02


class _Shape(Struct):
    label: str
    points: list[tuple[float, float]]
    shape_type: str = 'polygon'
    group_id: int | str | None = None
    mask: str | None = None


class _File(Struct):
    imagePath: str  # noqa: N815 -- the file's own names, as below
    shapes: list[_Shape]
    imageHeight: int | None = None  # noqa: N815
    imageWidth: int | None = None  # noqa: N815


def labelme_files(path: Path) -> Iterator[Path]:
    """The JSON files of LabelMe in a folder; a file is its own."""
    if path.is_file():
        yield path
    for file in sorted(path.glob('*.json')):
        if b'"shapes"' in read_utf8(file):
            yield file


def read_labelme(source: Source) -> Coco:
    """Read the rectangles of LabelMe; polygons and masks are kept as the masks of their boxes.

    Polygons of one label and one ``group_id`` are the parts of one object.

    Args:
        source: Its path is the folder of the JSON files, or one of them.

    Returns:
        The boxes.

    Raises:
        InputError: If a file is none of LabelMe, or its image is missing or of another size.
    """
    files = list(labelme_files(source.path))
    if not files:
        raise InputError(f'{source.path} has no JSON file of LabelMe, one with "shapes"')
    return as_coco(source.pictures(files, lambda file: _read_file(file, source)), source)


def _read_file(path: Path, source: Source) -> Picture:
    try:
        file = msgspec.json.decode(read_utf8(path), type=_File)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f'{path} is no JSON file of LabelMe: {error}') from None
    picture = source.images.picture(file.imagePath, path, _said_shape(file))
    groups: dict[Any, Drawn] = {}
    for number, shape in enumerate(file.shapes, 1):
        where = f'shape {number} of {path}'
        with source.box(where):
            if not shape.label.strip():
                raise InputError(f'{where} has no label')
            if shape.shape_type not in _READERS:
                source.left_out[f'shapes of kind {shape.shape_type!r}'] += 1
                continue
            drawn = _READERS[shape.shape_type](shape, picture.shape, where)
            is_part = shape.shape_type == 'polygon' and shape.group_id is not None
            key = (shape.label, shape.group_id) if is_part else number
            if key in groups:
                outlines = groups[key].fields['segmentation'] + drawn.fields['segmentation']
                drawn = outlined(drawn.category, outlines, where)
            groups[key] = drawn
    picture.boxes += groups.values()
    return picture


def _said_shape(file: _File) -> tuple[int, int] | None:
    sides = file.imageHeight, file.imageWidth
    return None if None in sides else sides


def _read_rectangle(shape: _Shape, img_shape: tuple[int, int], where: str) -> Drawn:
    # Two corners in any order; X-AnyLabeling has all four.
    if len(shape.points) not in (2, 4):
        raise InputError(f'{where} is a rectangle of {len(shape.points)} points, not 2 or 4')
    xs, ys = zip(*shape.points, strict=True)
    bbox = (min(xs), min(ys), max(xs), max(ys))
    return Drawn(shape.label, tuple(read_number(edge, 'a corner', where) for edge in bbox))


def _read_polygon(shape: _Shape, img_shape: tuple[int, int], where: str) -> Drawn:
    return outlined(shape.label, [[edge for point in shape.points for edge in point]], where)


def _read_mask(shape: _Shape, img_shape: tuple[int, int], where: str) -> Drawn:
    try:
        data = np.frombuffer(base64.b64decode(shape.mask or ''), dtype=np.uint8)
    except binascii.Error:
        data = np.zeros(0, dtype=np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    x1, y1 = (round(edge) for edge in shape.points[0]) if shape.points else (-1, -1)
    mask = np.zeros(img_shape, dtype=bool)
    fits = pixels is not None and x1 >= 0 and y1 >= 0
    if not fits or mask[y1 : y1 + len(pixels), x1 : x1 + pixels.shape[1]].shape != pixels.shape:
        raise InputError(f'{where} is a mask that cannot be decoded or does not fit the image')
    mask[y1 : y1 + len(pixels), x1 : x1 + pixels.shape[1]] = pixels > 0
    bbox = x1, y1, x1 + pixels.shape[1], y1 + len(pixels)
    return Drawn(shape.label, bbox, dict(segmentation=encode_rle(mask)))


_READERS = dict(rectangle=_read_rectangle, polygon=_read_polygon, mask=_read_mask)


def write_labelme(export: MaskExport) -> None:
    """Write a JSON file for each image, to correct the masks in.

    Outlines have fewer corners than the masks', so that a person can move them. Holes are cut open;
    the parts of an object are polygons of one ``group_id``. Shapes have the ``ann_id`` and the
    ``quality`` of their masks too, which LabelMe keeps.
    """
    for image, instances in export.masks():
        shapes = []
        for number, instance in enumerate(instances):
            mask = instance.mask
            tolerance = min(_MOST_BESIDE, _BESIDE * np.count_nonzero(mask) ** 0.5)
            outlines = [
                join([simplify(outline, tolerance) for outline in (part.outer, *part.holes)])
                for part in mask_parts(mask)
            ]
            polygons = [outline.ravel().tolist() for outline in outlines]
            export.record(instance, decode_rle(polygons, mask.shape))
            known = dict(ann_id=instance.annotation.id, quality=instance.annotation.quality)
            shapes += [
                dict(
                    label=export.categories[instance.label].name,
                    points=outline.tolist(),
                    group_id=number if len(outlines) > 1 else None,
                    shape_type='polygon',
                    flags={},
                    **known,
                )
                for outline in outlines
            ]
        path = export.file(image.file_name, suffix='.json')
        folder = (export.place / path.relative_to(export.folder)).parent
        picture = export.images / image.file_name
        if not picture.is_file():  # LabelMe looks into no archive
            export.link_image(image, '')
            picture = export.place / image.file_name
        content = dict(
            version='5.0.0',
            flags={},
            shapes=shapes,
            imagePath=os.path.relpath(picture, folder),
            imageData=None,
            imageHeight=image.height,
            imageWidth=image.width,
        )
        write_json(content, path)
