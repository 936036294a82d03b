"""YOLO: a text file for each image, beside a ``data.yaml`` with the names of the classes."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import cv2
import numpy as np
import yaml

from mmboxcaseg.archives import files_below, is_file
from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_text, write_bytes
from mmboxcaseg.images import IMAGE_SUFFIXES

from .mask_export import Instance, MaskExport
from .outlines import join, mask_parts
from .pictures import DECIMALS, Drawn, Picture, Source, as_coco, in_pixels, outlined, tidy

_NAME_FILES = ('data.yaml', 'data.yml', 'dataset.yaml', 'classes.txt')
# Where in its pixel an outline that is written runs, whether its reader rounds it or cuts it off.
_INSIDE = 0.45
# Outlines may reach over the image's border by a rounding error.
_MOST = 1.001


def names_file(path: Path) -> Path | None:
    """The file that names the classes: the one given, or one in the folder or above it."""
    if path.is_file():
        return path
    places = (folder / name for folder in (path, path.parent) for name in _NAME_FILES)
    return next((place for place in places if place.is_file()), None)


def read_yolo(source: Source) -> Coco:
    """Read boxes of YOLO.

    The labels of ``images/x/a.jpg`` are ``labels/x/a.txt``; they may lie beside the image too, or
    in the folder given or its ``labels``. An image without such a file has no boxes. An outline
    (YOLO-seg) is kept as the mask of its box.

    Args:
        source: Its path is ``data.yaml`` or ``classes.txt``, or a folder with one of them in it or
            above it. Folders in that of the images are read too.

    Returns:
        The boxes, to a hundredth of a pixel.

    Raises:
        InputError: If there are no names or no labels, or a line is wrong.
    """
    path, images = source.path, source.images.path
    listing = names_file(path)
    if listing is None:
        raise InputError(
            f'{path} has no {" or ".join(_NAME_FILES)}, in it or above it, which name the classes: '
            'write classes.txt there, a name a line, in the order of their numbers'
        )
    names = _read_names(listing)
    root = path if path.is_dir() else path.parent
    files = [name for name in sorted(files_below(images)) if name.lower().endswith(IMAGE_SUFFIXES)]
    labels = {name: _label_file(name, images, root) for name in files}
    if not any(labels.values()):
        raise InputError(
            f'no image of {images} has a label file: those of images/a.jpg are labels/a.txt'
        )

    def read(name: str) -> Picture:
        picture = source.images.picture(name, path)
        if labels[name]:
            _read_labels(labels[name], names, picture, source)
        return picture

    return as_coco(source.pictures(files, read), source, names.values())


def _label_file(name: str, images: Path, root: Path) -> Path | None:
    places = _label_places(images / name, name, root)
    return next((place for place in places if is_file(place)), None)


def _label_places(file: Path, name: str, root: Path) -> Iterator[Path]:
    parts = list(file.absolute().parts)
    if 'images' in parts[:-1]:
        last = len(parts) - 2 - parts[-2::-1].index('images')
        parts[last] = 'labels'
        yield Path(*parts).with_suffix('.txt')
    yield file.with_suffix('.txt')
    yield (root / 'labels' / name).with_suffix('.txt')
    yield (root / name).with_suffix('.txt')


def _read_names(path: Path) -> dict[int, str]:
    text = read_text(path)
    try:
        if path.suffix == '.txt':
            names = [name.strip() for name in text.splitlines() if name.strip()]
        else:
            names = yaml.safe_load(text)['names']
            names = [names] if isinstance(names, str) else names
        names = names if isinstance(names, dict) else dict(enumerate(names))
        # Not str of anything: a few lines of aliases can stand for a name of gigabytes.
        return {int(number): _as_name(name) for number, name in sorted(names.items())}
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        place = f' in line {mark.line + 1}' if mark else ''
        problem = getattr(error, 'problem', None) or error
        raise InputError(f'{path} cannot be read as YAML{place}: {problem}') from None
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        raise InputError(
            f"{path} has no 'names' of the classes, a list or numbers with names"
        ) from None


def _as_name(name: object) -> str:
    if not isinstance(name, str | int | float):
        raise TypeError('no name')
    return str(name)


def _read_labels(path: Path, names: dict[int, str], picture: Picture, source: Source) -> None:
    for number, line in enumerate(read_text(path).splitlines(), 1):
        where = f'line {number} of {path}'
        if line.strip():
            with source.box(where):
                picture.boxes.append(_read_line(line, names, picture.shape, where))


def _read_line(line: str, names: dict[int, str], shape: tuple[int, int], where: str) -> Drawn:
    try:
        label, *parts = map(float, line.split())
    except ValueError:
        label, parts = -1.0, []
    # A box may have a confidence too; an outline has three corners at least.
    is_outline = len(parts) >= 6 and len(parts) % 2 == 0
    if not (is_outline or len(parts) in (4, 5)) or not all(map(isfinite, parts)):
        raise InputError(
            f'{where} is {line.strip()!r}, not a class with x, y, width, height or an outline'
        )
    if label not in names:
        raise InputError(f'{where} has class {label:g}, but there are {len(names)} names')
    if not all(-_MOST + 1 <= part <= _MOST for part in parts[: None if is_outline else 4]):
        raise InputError(
            f"{where} has numbers outside 0 to 1: YOLO's are parts of the image's width and "
            'height, are these pixels?'
        )
    height, width = shape
    category = names[int(label)]
    if is_outline:
        sides = [width, height] * (len(parts) // 2)
        outline = [part * side for part, side in zip(parts, sides, strict=True)]
        drawn = outlined(category, [outline], where)
        return drawn._replace(bbox=tuple(tidy(round(edge, DECIMALS)) for edge in drawn.bbox))
    x, y, w, h = parts[:4]
    box = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    return Drawn(category, in_pixels(box, shape))


def write_yolo_seg(export: MaskExport) -> None:
    """Write ``images``, ``labels`` and ``data.yaml`` of YOLO-seg, each of ``train`` and ``val``.

    A line has one outline. Holes are cut open, and parts are joined by cuts without width, as
    Ultralytics' own converter joins them. Ultralytics and supervision fill the pixels of an
    outline too, so it runs a little before the middle of the mask's outer pixels: they fill it to
    the mask.
    """
    parts = set()
    for image, good, _ in export.good_masks():
        part = export.part(image)
        parts.add(part)
        export.link_image(image, f'images/{part}')
        lines = [_line(instance, export) for instance in good]
        path = export.file('labels', part, image.file_name, suffix='.txt')
        write_bytes('\n'.join(lines).encode(), path)
    folders = {part: f'images/{part}' for part in ('train', 'val')}
    if len(parts) == 1:  # one image is too few to validate, and Ultralytics asks for both
        folders = dict.fromkeys(folders, f'images/{parts.pop()}')
    names = {label: category.name for label, category in enumerate(export.categories)}
    content = yaml.safe_dump(folders | dict(names=names), sort_keys=False, allow_unicode=True)
    write_bytes(content.encode(), export.file('data.yaml'))


def _line(instance: Instance, export: MaskExport) -> str:
    mask = instance.mask
    sides = mask.shape[::-1]
    outlines = [join([p.outer, *p.holes]) for p in mask_parts(mask, _INSIDE, _INSIDE)]
    outline = join(outlines)
    numbers = [f'{number:.6f}' for number in (outline / sides).ravel().tolist()]
    read = np.array(numbers, dtype=np.float64).reshape(-1, 2) * sides
    filled = cv2.fillPoly(np.zeros(mask.shape, dtype=np.uint8), [read.astype(np.int32)], 1)
    export.record(instance, filled > 0)
    return ' '.join([str(instance.label), *numbers])
