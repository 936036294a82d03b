"""Pascal VOC: an XML file for each image."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.errors import InputError

from .corners import read_corners
from .pictures import Drawn, Picture, Source, as_coco


def voc_files(path: Path) -> list[Path]:
    """The XML files of a folder, or of its folder ``Annotations``; a file is its own."""
    if path.is_file():
        return [path]
    return sorted(path.glob('*.xml')) or sorted(path.glob('Annotations/*.xml'))


def read_voc(source: Source) -> Coco:
    """Read boxes of Pascal VOC.

    Args:
        source: Its path is the folder of the XML files, or one of them. The origin is what the
            first pixel of a row or column is called; see :func:`read_corners`.

    Returns:
        The boxes; ``difficult`` and ``truncated`` are kept where a file has them.

    Raises:
        InputError: If a file is no XML of VOC, or its image is missing or of another size.
    """
    files = voc_files(source.path)
    if not files:
        raise InputError(
            f'{source.path} has no XML file: give the folder of the Pascal VOC annotations'
        )
    return as_coco(source.pictures(files, lambda file: _read_file(file, source)), source)


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        # expat stops at entities that grow, and opens no other file.
        return ElementTree.parse(path).getroot()  # noqa: S314
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise InputError(f'{path} cannot be read as XML: {error}') from None


def _read_file(file: Path, source: Source) -> Picture:
    root = read_xml(file)
    if root.tag != 'annotation' or root.find('filename') is None:
        raise InputError(
            f'{file} is no Pascal VOC annotation: its root is <{root.tag}>, not <annotation> with '
            'a <filename>'
        )
    said = [root.findtext(f'size/{side}') or '0' for side in ('height', 'width')]
    try:
        shape = tuple(int(float(side)) for side in said)
    except (ValueError, OverflowError):
        raise InputError(f'{file} has the size {said}, not two numbers') from None
    # Some tools leave the name empty: the image is called as the file is.
    name = root.findtext('filename').strip() or file.stem
    picture = source.images.picture(name, file, shape)
    for number, entry in enumerate(root.findall('object'), 1):
        where = f'object {number} of {file}'
        with source.box(where):
            picture.boxes.append(_read_object(entry, source.origin, where))
    return picture


def _read_object(entry: ElementTree.Element, origin: int, where: str) -> Drawn:
    name = (entry.findtext('name') or '').strip()
    if not name:
        raise InputError(f'{where} has no <name>')
    box = entry.find('bndbox')
    corners = {} if box is None else {corner.tag: corner.text for corner in box}
    flags = {key: entry.findtext(key) for key in ('difficult', 'truncated')}
    fields = {key: int(text == '1') for key, text in flags.items() if text is not None}
    return Drawn(name, read_corners(corners, origin, where), fields)
