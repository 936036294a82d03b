"""Open Images: a CSV file with a row for each box, in parts of its image."""

from __future__ import annotations

import csv
from pathlib import Path

from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_text

from .corners import read_number
from .pictures import Drawn, Picture, Source, as_coco, in_pixels, named_groups
from .table import read_rows

_EDGES = ('XMin', 'YMin', 'XMax', 'YMax')
#: What a box is said to be, kept with it; a group is a crowd as well.
_FLAGS = ('IsOccluded', 'IsTruncated', 'IsGroupOf', 'IsDepiction', 'IsInside')


def read_open_images(source: Source) -> Coco:
    """Read boxes of Open Images.

    Images are few of the file's as a rule: those that are not in the folder are left out.

    Args:
        source: Its path is the file with the boxes. Beside a file of class descriptions
            (``*class-descriptions*.csv``) labels get their names, else they are those of the file.

    Returns:
        The boxes, to a hundredth of a pixel; ``IsGroupOf`` makes them crowds.

    Raises:
        InputError: If a column or all images are missing, or a number is none.
    """
    path = source.path
    names = _read_names(path)
    columns, listed = read_rows(path)
    missing = [name for name in ('ImageID', 'LabelName', *_EDGES) if name not in columns]
    if missing:
        raise InputError(f'{path} has no column {missing[0]!r}, which boxes of Open Images have')
    groups = named_groups((row['ImageID'], (n, row)) for n, row in listed)
    pictures = list(source.pictures(groups, lambda group: _read_group(*group, names, source)))
    if not pictures:
        raise InputError(f'no image of {path} is in {source.images.path}')
    return as_coco(pictures, source)


def _read_group(
    image_id: str, rows: list[tuple[int, dict[str, str]]], names: dict[str, str], source: Source
) -> Picture | None:
    if source.images.find_if_there(image_id) is None:
        source.left_out['images that are not in the folder'] += 1
        return None
    picture = source.images.picture(image_id, source.path)
    for line, row in rows:
        where = f'line {line} of {source.path}'
        with source.box(where):
            bbox = tuple(read_number(row[edge], edge, where) for edge in _EDGES)
            if not all(0 <= edge <= 1 for edge in bbox):
                raise InputError(f'{where} has numbers outside 0 to 1, are these pixels?')
            fields = {flag: int(row[flag]) for flag in _FLAGS if row.get(flag) in ('0', '1')}
            fields |= dict(iscrowd=fields.get('IsGroupOf', 0))
            category = names.get(row['LabelName'], row['LabelName'])
            picture.boxes.append(Drawn(category, in_pixels(bbox, picture.shape), fields))
    return picture


def _read_names(path: Path) -> dict[str, str]:
    file = next(iter(sorted(path.parent.glob('*class-descriptions*.csv'))), None)
    rows = csv.reader(read_text(file).splitlines()) if file else ()
    return {row[0]: row[1] for row in rows if len(row) > 1}
