"""Images with boxes as files of any format have them, and COCO files made of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar
from unicodedata import normalize
from urllib.parse import unquote

from mmboxcaseg.archives import check_folder, file_names, is_file
from mmboxcaseg.coco.annotations import Coco, parse_coco
from mmboxcaseg.coco.checks import UNREADABLE, nearest_name
from mmboxcaseg.coco.wrong_entries import REFUSE, WrongEntries
from mmboxcaseg.errors import InputError
from mmboxcaseg.images import DEFAULT_READER, IMAGE_SUFFIXES, ImageReader, read_image_shape

Entry = TypeVar('Entry')

#: To this part of a pixel boxes are rounded that a file gives in parts of the image: whole pixels
#: come back whole from six decimals.
DECIMALS = 2
#: What boxes are of where a file has no classes.
NO_CLASS = 'object'


class Drawn(NamedTuple):
    """A box of a picture.

    Attributes:
        category: Name.
        bbox: xyxy in pixels; x2 and y2 are the right and the lower edge.
        fields: Others that the annotation is to have.
    """

    category: str
    bbox: tuple[float, float, float, float]
    fields: dict[str, Any] = {}


@dataclass
class Picture:
    """An image with its boxes.

    Attributes:
        file_name: Below the folder of the images.
        shape: (height, width) of the image file.
        boxes: In the file's order.
    """

    file_name: str
    shape: tuple[int, int]
    boxes: list[Drawn] = field(default_factory=list)


class ImageFolder:
    """The folder of the images, in which files are found by the names that others gave them.

    Args:
        path: The folder.
        reader: How images are read.

    Raises:
        InputError: If there is none.
    """

    def __init__(self, path: str | Path, reader: ImageReader = DEFAULT_READER) -> None:
        self.path = Path(path)
        self.reader = reader
        check_folder(self.path)
        self._present = file_names(self.path)
        # An accented letter may be one character or a letter and its accent.
        self._composed = {normalize('NFC', name): name for name in self._present}

    def find(self, name: str, source: str | Path) -> str:
        """Find an image.

        Folders in front of its name, of another machine or an address, are left out one after the
        other until there is such a file. Characters may be written as in an address (``%20``), and
        the suffix may be missing.

        Args:
            name: As the file of the boxes has it.
            source: That file, for the message.

        Returns:
            The path below the folder.

        Raises:
            InputError: If there is none; names the nearest one.
        """
        found = self.find_if_there(name)
        if found is None:
            near = nearest_name(name, self.path)
            hint = f'; is it {near}?' if near else ''
            raise InputError(f'image {name} of {source} does not exist in {self.path}{hint}')
        return found

    def find_if_there(self, name: str) -> str | None:
        """Find an image as :meth:`find` does; None if there is none."""
        if name in self._present:
            return name
        for form in dict.fromkeys((name, unquote(name))):
            parts = PurePosixPath(form.replace('\\', '/')).parts
            parts = [part for part in parts if part.strip('/.')]  # what is found lies in the folder
            bare = ['/'.join(parts[start:]) for start in range(len(parts))]
            for suffix in ('', *IMAGE_SUFFIXES):
                for candidate in bare:
                    if (found := self._there(candidate + suffix)) is not None:
                        return found
        return None

    def _there(self, candidate: str) -> str | None:
        if '/' not in candidate:
            return self._composed.get(normalize('NFC', candidate))
        forms = {candidate, normalize('NFC', candidate), normalize('NFD', candidate)}
        return next((form for form in forms if is_file(self.path / form)), None)

    def picture(
        self, name: str, source: str | Path, said: tuple[int, int] | None = None
    ) -> Picture:
        """Begin a picture without boxes.

        Args:
            name: See :meth:`find`.
            source: Where the name stands, for messages.
            said: (height, width) that the image has there, if it says so.

        Raises:
            InputError: If there is no such image, or it has another size than said.
        """
        found = self.find(name, source)
        shape = read_image_shape(self.path / found, self.reader)
        if said not in (None, (0, 0), shape):
            raise InputError(self.reader.explain_shape(self.path / found, said, source))
        return Picture(found, shape)


@dataclass
class Source:
    """What a reader reads.

    Attributes:
        path: File or folder with the boxes.
        images: Folder of their images.
        origin: What VOC and CSV files call the first pixel, 0 or 1.
        left_out: How many shapes or images the reader leaves out, by what they are.
        wrong: What is done with images and boxes that are wrong.
    """

    path: Path
    images: ImageFolder
    origin: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    wrong: WrongEntries = REFUSE

    def pictures(
        self, entries: Iterable[Entry], read: Callable[[Entry], Picture | None]
    ) -> Iterator[Picture]:
        """Read picture after picture; what is done with one that is wrong, ``wrong`` says.

        Args:
            entries: What stands for each.
            read: Makes a picture of one, or None where there is none to be made.

        Yields:
            The pictures.

        Raises:
            InputError: What ``read`` raises.
        """
        for number, entry in enumerate(entries, 1):
            picture = None
            with self.wrong.noting(UNREADABLE, dict(picture=number)):
                picture = read(entry)
            if picture:
                yield picture

    def box(self, where: str) -> AbstractContextManager[None]:
        """Within it a box is read; what is done with one that is wrong, ``wrong`` says."""
        return self.wrong.noting('boxes that cannot be read', dict(box=where))


def named_groups(rows: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, list]]:
    """Group values by name, names in the order in which they come first."""
    groups: dict[str, list] = {}
    for name, value in rows:
        groups.setdefault(name, []).append(value)
    yield from groups.items()


def as_coco(
    pictures: Iterable[Picture], source: Source, categories: Iterable[str] | None = None
) -> Coco:
    """Make a COCO file of pictures.

    Args:
        pictures: Their order does not matter: images are sorted by name, and several of one name
            become one.
        source: What was read.
        categories: All names, in order; by default those of the boxes, sorted.

    Returns:
        The content of a file in which everything is numbered from 1.

    Raises:
        InputError: If a box has no area to the right of and below its first corner.

    Example:
        >>> picture = Picture('a.jpg', (40, 60), [Drawn('cat', (3, 4, 13, 24))])
        >>> source = Source(Path('boxes.csv'), ImageFolder('.'))
        >>> as_coco([picture], source).annotations[0].bbox
        (3, 4, 10, 20)
    """
    by_name: dict[str, Picture] = {}
    for picture in pictures:
        joined = by_name.setdefault(picture.file_name, picture)
        if joined is not picture:
            joined.boxes += picture.boxes
    pictures = [by_name[name] for name in sorted(by_name)]
    if categories is None:
        categories = sorted({box.category for picture in pictures for box in picture.boxes})
    ids = {name: number for number, name in enumerate(categories, 1)}
    images, annotations = [], []
    for number, picture in enumerate(pictures, 1):
        height, width = picture.shape
        images.append(dict(id=number, file_name=picture.file_name, width=width, height=height))
        for box in picture.boxes:
            x1, y1, x2, y2 = box.bbox
            if x2 < x1 or y2 < y1:
                with source.box(picture.file_name):
                    raise InputError(
                        f'a box of {picture.file_name} in {source.path} ends before it begins, at '
                        f'{x2:g}, {y2:g} after {x1:g}, {y1:g}: are the last two numbers its width '
                        'and height, or its corners the other way round?'
                    )
                continue
            own = dict(id=len(annotations) + 1, image_id=number, category_id=ids[box.category])
            own |= dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1), iscrowd=0)
            annotations.append(own | box.fields)
    listed = [dict(id=number, name=name) for name, number in ids.items()]
    content = dict(images=images, annotations=annotations, categories=listed)
    return parse_coco(json.dumps(content).encode(), source.path, wrong=source.wrong)


def outlined(
    category: str, outlines: Sequence[Sequence[float]], where: str, **fields: Any
) -> Drawn:
    """Take outlines as the mask of a box, the tight one around them.

    Args:
        category: Name.
        outlines: Each x, y, x, y, ... in pixels, as COCO has polygons; several are parts.
        where: What they are of, for the message.
        **fields: Others that the annotation is to have.

    Raises:
        InputError: If one has fewer than three corners.

    Example:
        >>> outlined('cat', [[0, 0, 4, 0, 4, 3]], '').bbox
        (0, 0, 4, 3)
    """
    for outline in outlines:
        if len(outline) < 6 or len(outline) % 2:
            raise InputError(f'{where} has {len(outline) // 2} corners: an outline has at least 3')
    outlines = [[tidy(number) for number in outline] for outline in outlines]
    xs = [x for outline in outlines for x in outline[::2]]
    ys = [y for outline in outlines for y in outline[1::2]]
    bbox = min(xs), min(ys), max(xs), max(ys)
    return Drawn(category, bbox, dict(fields, segmentation=outlines))


def said_shape(height: str, width: str) -> tuple[int, int] | None:
    """The (height, width) that a file says, None where one is no number."""
    is_number = re.compile('[0-9]{1,9}').fullmatch
    return (int(height), int(width)) if is_number(height) and is_number(width) else None


def in_pixels(
    parts: tuple[float, float, float, float], shape: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Scale a box xyxy in parts of the image's width and height to pixels.

    Example:
        >>> in_pixels((0.1, 0.2, 0.333333, 1), (40, 30))
        (3, 8, 10, 40)
    """
    height, width = shape
    scaled = zip(parts, (width, height, width, height), strict=True)
    return tuple(tidy(round(part * side, DECIMALS)) for part, side in scaled)


def tidy(number: float) -> float | int:
    """An int where a number is whole, so that equal boxes are written alike."""
    return int(number) if float(number).is_integer() else number
