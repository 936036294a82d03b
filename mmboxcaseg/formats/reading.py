"""Which format a file has, and the reader of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_bytes

from .coco_json import read_coco
from .label_studio import read_label_studio
from .table import read_table
from .voc import read_voc, voc_files
from .yolo import names_file, read_yolo

_Reader = Callable[[Path, Path, int], Coco]

#: What each format is called, and its reader.
FORMATS: dict[str, tuple[str, _Reader]] = {
    'coco': ('COCO', read_coco),
    'voc': ('Pascal VOC XML', read_voc),
    'csv': ('CSV', read_table),
    'yolo': ('YOLO', read_yolo),
    'label-studio': ('Label Studio', read_label_studio),
}


class Reading(NamedTuple):
    """What was read.

    Attributes:
        coco: The boxes.
        format: Key of :data:`FORMATS`.
    """

    coco: Coco
    format: str


def read_boxes(
    path: str | Path, images: str | Path, format: str | None = None, origin: int = 0
) -> Reading:
    """Read boxes of any format.

    Args:
        path: File or folder.
        images: Folder of the images.
        format: Key of :data:`FORMATS`; by default it is recognised.
        origin: What VOC and CSV files call the first pixel, 0 or 1; see
            :func:`mmboxcaseg.formats.corners.read_corners`.

    Returns:
        The boxes and the format.

    Raises:
        InputError: If nothing is there, the format is not known, or the reader finds fault.

    Example:
        >>> read_boxes('boxes.csv', 'images').coco.annotations  # doctest: +SKIP
    """
    path, images = Path(path), Path(images)
    if not path.exists():
        raise InputError(f'{path} does not exist: give a file or a folder with boxes')
    format = format or recognise(path)
    if format not in FORMATS:
        raise InputError(f'there is no format {format!r}: take one of {", ".join(FORMATS)}')
    return Reading(FORMATS[format][1](path, images, origin), format)


def recognise(path: Path) -> str:
    """Tell the format of a file or a folder.

    Args:
        path: It is there.

    Returns:
        Key of :data:`FORMATS`.

    Raises:
        InputError: If it is none of them.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        found = 'voc' if voc_files(path) else 'yolo' if names_file(path) else None
    elif suffix == '.json':
        found = {b'{': 'coco', b'[': 'label-studio'}.get(read_bytes(path)[:64].lstrip()[:1])
    else:
        suffixes = {'.csv': 'csv', '.tsv': 'csv', '.xml': 'voc', '.yaml': 'yolo', '.yml': 'yolo'}
        found = suffixes.get(suffix)
    if found is None:
        raise InputError(
            f'{path} is of no format that is known; if it is one of {", ".join(FORMATS)}, say '
            'which with --format'
        )
    return found
