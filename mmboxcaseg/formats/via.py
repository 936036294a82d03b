"""VIA, the VGG Image Annotator 2: its JSON and CSV files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.errors import InputError, listing
from mmboxcaseg.fileio import read_text

from .corners import read_number
from .pictures import NO_CLASS, Drawn, Picture, Source, as_coco, named_groups, outlined
from .table import read_rows

# What people call the attribute that has the class.
_CLASS_NAMES = ('class', 'label', 'name', 'category', 'type', 'object', 'class_name', 'label_name')
_NOT_VIA = (
    'is no annotation file of VIA 2, JSON with the "regions" of each image or CSV with '
    'region_shape_attributes'
)


class _Region(NamedTuple):
    shape: dict[str, Any]
    attributes: dict[str, Any]


def read_via(source: Source) -> Coco:
    """Read the rectangles of VIA; polygons are kept as the masks of their boxes.

    The class is the region attribute named ``class``, ``label``, ``name``, ``category``, ``type``
    or ``object``, or the only one there is. Without any, boxes have the class ``object``.

    Args:
        source: Its path is a JSON file, of a project or of annotations alone, or a CSV file.

    Returns:
        The boxes.

    Raises:
        InputError: If the file is none of VIA, an image is missing, or it does not tell which
            attribute is the class.
    """
    path = source.path
    read = _read_csv if path.suffix.lower() == '.csv' else _read_json
    with _explaining(path):
        groups = list(named_groups(read(path)))
        regions = [region for _, group in groups for region in group if region]
        key = _class_key(regions, path)
    return as_coco(source.pictures(groups, lambda group: _read_group(*group, key, source)), source)


def _read_group(name: str, regions: list[_Region], key: str | None, source: Source) -> Picture:
    picture = source.images.picture(name, source.path)
    for number, region in enumerate(filter(None, regions), 1):
        where = f'region {number} of {name} in {source.path}'
        with source.box(where), _explaining(source.path):
            drawn = _draw(region, key, where, source.left_out)
            picture.boxes += [drawn] if drawn else []
    return picture


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path} {_NOT_VIA} ({type(error).__name__}: {error})') from None


def _read_json(path: Path) -> Iterator[tuple[str, _Region | None]]:
    content = json.loads(read_text(path))
    if 'project' in content and 'metadata' in content:
        raise InputError(f'{path} is of VIA 3: draw or export the boxes with VIA 2')
    for entry in content.get('_via_img_metadata', content).values():
        regions = entry['regions']
        yield entry['filename'], None
        for region in regions.values() if isinstance(regions, dict) else regions:
            attributes = region['region_attributes']
            yield entry['filename'], _Region(region['shape_attributes'], attributes)


def _read_csv(path: Path) -> Iterator[tuple[str, _Region | None]]:
    for _, row in read_rows(path)[1]:
        shape = json.loads(row['region_shape_attributes'])
        region = _Region(shape, json.loads(row['region_attributes'])) if shape else None
        yield row['filename' if 'filename' in row else '#filename'], region


def _class_key(regions: list[_Region], path: Path) -> str | None:
    keys = Counter(key for region in regions for key in region.attributes)
    known = [key for name in _CLASS_NAMES for key in keys if key.lower() == name]
    if len(keys) > 1 and not known:
        raise InputError(
            f'{path} has the region attributes {listing(keys)}: name the one that is the class '
            '"class"'
        )
    return next(iter([*known, *keys]), None)


def _draw(region: _Region, key: str | None, where: str, left_out: Counter[str]) -> Drawn | None:
    shape, value = region.shape, region.attributes.get(key) if key else NO_CLASS
    if isinstance(value, dict):  # of a check box: name to whether it is ticked
        value = next((name for name, ticked in value.items() if ticked), None)
    category = str(value or '').strip()
    if not category:
        left_out['boxes without a label'] += 1
    elif shape['name'] == 'rect':
        numbers = (read_number(shape.get(k), k, where) for k in ('x', 'y', 'width', 'height'))
        x, y, width, height = numbers
        return Drawn(category, (x, y, x + width, y + height))
    elif shape['name'] == 'polygon':
        points = zip(shape['all_points_x'], shape['all_points_y'], strict=True)
        return outlined(category, [[edge for point in points for edge in point]], where)
    else:
        left_out[f'shapes of kind {shape["name"]!r}'] += 1
    return None
