"""CVAT: the XML file of its export "CVAT for images 1.1"."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np

from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import encode_rle

from .corners import read_number
from .pictures import Drawn, Picture, Source, as_coco, outlined, said_shape
from .voc import read_xml

_CORNERS = dict(xmin='xtl', ymin='ytl', xmax='xbr', ymax='ybr')


def read_cvat(source: Source) -> Coco:
    """Read the boxes of CVAT; polygons and brushed masks are kept as the masks of their boxes.

    Shapes of one ``group_id`` stay apart. ``occluded`` and a shape's own attributes are kept.

    Args:
        source: Its path is ``annotations.xml``.

    Returns:
        The boxes.

    Raises:
        InputError: If the file is no such export, an image is missing or of another size, or a box
            is turned.
    """
    root = read_xml(source.path)
    if root.tag != 'annotations' or root.find('image') is None:
        kind = 'a video' if root.find('track') is not None else f'<{root.tag}> without <image>'
        raise InputError(
            f'{source.path} is no export of CVAT for images but {kind}: export it as "CVAT for '
            'images 1.1"'
        )
    images = root.iter('image')
    return as_coco(source.pictures(images, lambda image: _read_image(image, source)), source)


def _read_image(image: Element, source: Source) -> Picture:
    name = image.get('name') or ''
    said = said_shape(image.get('height') or '', image.get('width') or '')
    picture = source.images.picture(name, source.path, said)
    for number, shape in enumerate(image, 1):
        if shape.tag not in ('box', 'polygon', 'mask'):
            if shape.tag != 'tag':
                source.left_out[f'shapes of kind {shape.tag!r}'] += 1
            continue
        where = f'{shape.tag} {number} of {name} in {source.path}'
        with source.box(where):
            picture.boxes.append(_read_shape(shape, picture, where))
    return picture


def _read_shape(shape: Element, picture: Picture, where: str) -> Drawn:
    label = (shape.get('label') or '').strip()
    if not label:
        raise InputError(f'{where} has no label')
    fields = dict(occluded=int(shape.get('occluded') == '1'))
    attributes = {a.get('name'): a.text for a in shape.findall('attribute')}
    fields |= dict(attributes=attributes) if attributes else {}
    return _READERS[shape.tag](shape, label, fields, picture, where)


def _read_box(shape: Element, label: str, fields: dict, picture: Picture, where: str) -> Drawn:
    if read_number(shape.get('rotation') or 0, 'rotation', where):
        raise InputError(f'{where} is turned: draw it upright, boxes have no angle')
    corners = (read_number(shape.get(key), key, where) for key in _CORNERS.values())
    return Drawn(label, tuple(corners), fields)


def _read_polygon(shape: Element, label: str, fields: dict, picture: Picture, where: str) -> Drawn:
    texts = (shape.get('points') or '').replace(';', ',').split(',')
    outline = [read_number(text, 'points', where) for text in texts]
    return outlined(label, [outline], where, **fields)


def _read_mask(shape: Element, label: str, fields: dict, picture: Picture, where: str) -> Drawn:
    keys = ('left', 'top', 'width', 'height')
    left, top, width, height = (int(read_number(shape.get(key), key, where)) for key in keys)
    counts = [int(read_number(text, 'rle', where)) for text in (shape.get('rle') or '').split(',')]
    inside = left >= 0 and top >= 0 and min(counts) >= 0 and sum(counts) == width * height
    rows, columns = picture.shape
    if not inside or left + width > columns or top + height > rows:
        raise InputError(f'{where} has an rle that does not fill its width and height in the image')
    # Row by row, ground first.
    pixels = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    mask = np.zeros(picture.shape, dtype=bool)
    mask[top : top + height, left : left + width] = pixels
    bbox = left, top, left + width, top + height
    return Drawn(label, bbox, dict(fields, segmentation=encode_rle(mask)))


_READERS = dict(box=_read_box, polygon=_read_polygon, mask=_read_mask)
