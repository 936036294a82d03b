"""Boxes in a table: CSV with a row for each."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_bytes

from .corners import CORNERS, read_corners
from .pictures import Drawn, ImageFolder, as_coco, named_groups

# Other names of the columns, in lower case.
_NAMES = dict(
    filename=('file_name', 'image', 'image_path', 'path', 'img', 'file'),
    **{'class': ('label', 'name', 'category', 'class_name', 'label_name')},
    xmin=('x1', 'x_min', 'left'),
    ymin=('y1', 'y_min', 'top'),
    xmax=('x2', 'x_max', 'right'),
    ymax=('y2', 'y_max', 'bottom'),
)
_COLUMNS = {other: name for name, others in _NAMES.items() for other in others}
#: What boxes are of where a file has no classes.
NO_CLASS = 'object'


def read_table(path: Path, images: Path, origin: int = 0) -> Coco:
    """Read boxes of a CSV file with a head line.

    Args:
        path: The file, with columns ``filename``, ``xmin``, ``ymin``, ``xmax``, ``ymax`` and, if
            there are classes, ``class``; common other names will do. A ``width`` and a ``height``
            are compared with the image. A row whose corners are empty is of an image without boxes.
        images: Folder of the images.
        origin: What the first pixel of a row or column is called; see :func:`read_corners`.

    Returns:
        The boxes.

    Raises:
        InputError: If a column or an image is missing, or a corner is no number.
    """
    folder = ImageFolder(images)
    try:
        lines = read_bytes(path).decode('utf-8-sig').splitlines()
    except UnicodeDecodeError:
        raise InputError(f'{path} is not UTF-8 text: give a CSV file') from None
    delimiter = max(',;\t', key=lines[0].count) if lines else ','
    table = csv.DictReader(lines, delimiter=delimiter, restval='')
    try:
        names = [name.strip().lower() for name in table.fieldnames or ()]
        table.fieldnames = [_COLUMNS.get(name, name) for name in names]
        rows = [(table.line_num, row) for row in table]
    except csv.Error as error:
        raise InputError(f'{path} is no CSV after its line {table.line_num}: {error}') from None
    missing = [name for name in ('filename', *CORNERS) if name not in table.fieldnames]
    if missing:
        raise InputError(
            f'{path} has no column {missing[0]!r} but {", ".join(names)}: its first line must name '
            f'filename, class, {", ".join(CORNERS)}'
        )
    rows = [(row['filename'].strip(), (line, row)) for line, row in rows]
    pictures = []
    for name, group in named_groups(rows):
        picture = folder.picture(name, path, _said_shape(group[0][1]))
        for line, row in group:
            if any(row[corner].strip() for corner in CORNERS):
                bbox = read_corners(row, origin, f'line {line} of {path}')
                picture.boxes.append(Drawn(row.get('class', '').strip() or NO_CLASS, bbox))
        pictures.append(picture)
    return as_coco(pictures, path)


def _said_shape(row: dict) -> tuple[int, int] | None:
    sides = [row.get(side, '').strip() for side in ('height', 'width')]
    return tuple(map(int, sides)) if all(map(re.compile('[0-9]{1,9}').fullmatch, sides)) else None
