"""Boxes in a table: CSV with a row for each."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_text

from .corners import CORNERS, read_corners
from .pictures import NO_CLASS, Drawn, Picture, Source, as_coco, named_groups, said_shape

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
_LISTED = ', '.join(CORNERS)


def read_rows(
    path: Path, rename: Callable[[str], str] = str
) -> tuple[Sequence[str], list[tuple[int, dict[str, str]]]]:
    """Read a CSV file with a head line, its columns apart by commas, semicolons or tabs.

    Args:
        path: The file.
        rename: What a column is called from now on, given its name in the file.

    Returns:
        The columns' names, none of an empty file, and each row with the number of its line.

    Raises:
        InputError: If it cannot be read or is no CSV.
    """
    text = read_text(path)
    head = text.partition('\n')[0]
    delimiter = max(',;\t', key=head.count)
    table = csv.DictReader(io.StringIO(text, newline=''), delimiter=delimiter, restval='')
    try:
        table.fieldnames = [rename(name) for name in table.fieldnames or ()]
        names = table.fieldnames
        rows = [(table.line_num, row) for row in table]
    except csv.Error as error:
        raise InputError(f'{path} is no CSV after its line {table.line_num}: {error}') from None
    # Spreadsheets end in rows of nothing.
    return names, [(line, row) for line, row in rows if any(row[name].strip() for name in names)]


def _usual_name(column: str) -> str:
    name = column.strip().lower()
    return _COLUMNS.get(name, name)


def read_table(source: Source) -> Coco:
    """Read boxes of a CSV file with a head line.

    Args:
        source: Its path is the file, with columns ``filename``, ``xmin``, ``ymin``, ``xmax``,
            ``ymax`` and, if there are classes, ``class``; common other names will do. A ``width``
            and a ``height`` are compared with the image. A row whose corners are empty is of an
            image without boxes. The origin is what the first pixel of a row or column is called;
            see :func:`read_corners`.

    Returns:
        The boxes.

    Raises:
        InputError: If a column or an image is missing, or a corner is no number.
    """
    path = source.path
    names, rows = read_rows(path, _usual_name)
    if not names:
        raise InputError(f'{path} is empty: its first line must name filename, class, {_LISTED}')
    missing = [name for name in ('filename', *CORNERS) if name not in names]
    if missing:
        raise InputError(
            f'{path} has no column {missing[0]!r} but {", ".join(names)}: its first line must name '
            f'filename, class, {_LISTED}'
        )
    groups = named_groups((row['filename'].strip(), (n, row)) for n, row in rows)
    return as_coco(source.pictures(groups, lambda group: _read_group(*group, source)), source)


def _read_group(name: str, rows: list[tuple[int, dict[str, str]]], source: Source) -> Picture:
    first = rows[0][1]
    said = said_shape(*(first.get(side, '').strip() for side in ('height', 'width')))
    picture = source.images.picture(name, source.path, said)
    for line, row in rows:
        where = f'line {line} of {source.path}'
        if any(row[corner].strip() for corner in CORNERS):
            with source.box(where):
                bbox = read_corners(row, source.origin, where)
                picture.boxes.append(Drawn(row.get('class', '').strip() or NO_CLASS, bbox))
    return picture
