"""Which format a file has, and the reader of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Raw

from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.coco.wrong_entries import REFUSE, WrongEntries
from mmboxcaseg.errors import InputError, listing
from mmboxcaseg.fileio import read_text, read_utf8
from mmboxcaseg.images import DEFAULT_READER, ImageReader

from .coco_json import read_coco
from .cvat import read_cvat
from .label_studio import read_label_studio
from .labelme import labelme_files, read_labelme
from .open_images import read_open_images
from .pictures import ImageFolder, Source
from .table import read_table
from .via import read_via
from .voc import read_voc, read_xml, voc_files
from .yolo import names_file, read_yolo

#: What each format is called, and its reader.
FORMATS: dict[str, tuple[str, Callable[[Source], Coco]]] = {
    'coco': ('COCO', read_coco),
    'voc': ('Pascal VOC XML', read_voc),
    'csv': ('CSV', read_table),
    'yolo': ('YOLO', read_yolo),
    'cvat': ('CVAT XML', read_cvat),
    'labelme': ('LabelMe', read_labelme),
    'via': ('VIA', read_via),
    'open-images': ('Open Images', read_open_images),
    'label-studio': ('Label Studio', read_label_studio),
}

# Of files that may hold boxes.
_SUFFIXES = {'.json', '.xml', '.csv', '.tsv', '.yaml', '.yml'}


class Reading(NamedTuple):
    """What was read.

    Attributes:
        coco: The boxes.
        format: Key of :data:`FORMATS`.
        left_out: How many shapes or images the reader left out, by what they are.
    """

    coco: Coco
    format: str
    left_out: Mapping[str, int] = {}


def read_boxes(
    path: str | Path,
    images: str | Path,
    format: str | None = None,
    origin: int = 0,
    reader: ImageReader = DEFAULT_READER,
    wrong: WrongEntries = REFUSE,
) -> Reading:
    """Read boxes of any format.

    Args:
        path: File or folder.
        images: Folder of the images.
        format: Key of :data:`FORMATS`; by default it is recognised.
        origin: What VOC and CSV files call the first pixel, 0 or 1; see
            :func:`mmboxcaseg.formats.corners.read_corners`.
        reader: How images are read.
        wrong: What is done with images and boxes that are wrong.

    Returns:
        The boxes, the format and what was left out.

    Raises:
        InputError: If nothing is there, the format is not known, or the reader finds fault.

    Example:
        >>> read_boxes('boxes.csv', 'images').coco.annotations  # doctest: +SKIP
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f'{path} does not exist: give a file or a folder with boxes')
    format = format or recognise(path)
    if format not in FORMATS:
        raise InputError(f'there is no format {format!r}: take one of {", ".join(FORMATS)}')
    source = Source(path, ImageFolder(images, reader), origin, wrong=wrong)
    coco = FORMATS[format][1](source)
    return Reading(coco, format, +source.left_out)


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
        found = _of_folder(path)
    elif suffix == '.json':
        found = _of_json(path)
    elif suffix == '.xml':
        found = 'cvat' if read_xml(path).tag == 'annotations' else 'voc'
    elif suffix == '.csv':
        found = _of_csv(path)
    else:
        found = {'.tsv': 'csv', '.yaml': 'yolo', '.yml': 'yolo'}.get(suffix)
    if found is None:
        within = _boxes_within(path) if path.is_dir() else []
        hint = f'if it is one of {", ".join(FORMATS)}, say which with --format'
        if within:
            hint = f'it holds {listing(within, 4)}: give the one that has the boxes'
        raise InputError(f'{path} is of no format that is known; {hint}')
    return found


def _boxes_within(path: Path) -> list[Path]:
    found = []
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and _of_folder(entry):
            found.append(entry)
        else:
            files = sorted(entry.iterdir()) if entry.is_dir() else [entry]
            found += [file for file in files if file.suffix.lower() in _SUFFIXES]
    return found


def _of_folder(path: Path) -> str | None:
    xml_files = voc_files(path)
    if xml_files and read_xml(xml_files[0]).tag == 'annotation':
        return 'voc'
    if names_file(path) or any(path.glob('*.txt')):
        return 'yolo'
    return 'labelme' if any(labelme_files(path)) else None


def _of_json(path: Path) -> str | None:
    data = read_utf8(path)
    try:
        keys = msgspec.json.decode(data, type=dict[str, Raw])
    except (msgspec.DecodeError, RecursionError):
        return {b'{': 'coco', b'[': 'label-studio'}.get(data[:64].lstrip()[:1])
    if 'images' in keys or 'annotations' in keys:
        return 'coco'
    if 'shapes' in keys:
        return 'labelme'
    is_via = any(key.startswith('_via') for key in keys) or {'project', 'metadata'} <= keys.keys()
    is_via = is_via or (keys and all(b'"regions"' in bytes(entry) for entry in keys.values()))
    return 'via' if is_via else 'coco'


def _of_csv(path: Path) -> str:
    head = read_text(path).partition('\n')[0]
    if 'region_shape_attributes' in head:
        return 'via'
    return 'open-images' if 'ImageID' in head and 'XMin' in head else 'csv'
