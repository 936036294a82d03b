"""COCO annotation files: typed rows, each with its own JSON text, so that no field is lost."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite, isnan
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TypeVar, get_args

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct

from mmboxcaseg.errors import InputError, shown
from mmboxcaseg.fileio import read_utf8, replacing
from mmboxcaseg.proxy import (
    MOST_PIXELS,
    check_segmentation,
    check_segmentations,
    decode_rle,
    empty_rle,
    encode_rle,
    read_rles,
    tight_bboxes,
)

from .wrong_entries import OF_IMAGE, REFUSE, WrongEntries

# Of a box, in pixels: beyond it float32 no longer tells pixels apart.
_FARTHEST = 10_000_000
# Masks that are checked together.
_MASKS_AT_ONCE = 256
_MOST_DIGITS = 4300
# What a number above 1e308 has, or else as many digits; an aligned block of these is among them.
_LARGE = re.compile(rb'[eE]\+?\d{3,}\s*[,\]}]')
_BLOCK = 150
_Edge = (
    Annotated[int, Meta(gt=-_FARTHEST, lt=_FARTHEST)]
    | Annotated[float, Meta(gt=-_FARTHEST, lt=_FARTHEST)]
)

# Of an image: all its patches are in memory at once when they get masks.
_MOST_BOXES = 100_000

# What a field holds; the description is what a message says of a value that it cannot hold.
Id = Annotated[int | str, Meta(description='an int or a string')]
Text = Annotated[str, Meta(description='a string')]
Side = Annotated[int, Meta(gt=0, description='a positive int')]
Box = Annotated[
    tuple[_Edge, _Edge, _Edge, _Edge],
    Meta(description='four numbers x, y, width, height in pixels'),
]
Number = Annotated[int | float, Meta(description='a number')]
Share = Annotated[float, Meta(ge=0, le=1, description='a number in [0, 1] (93.5% is 0.935)')]
# Other programs write flags in all of these ways.
_Bit = Annotated[int, Meta(ge=0, le=1)] | Annotated[float, Meta(ge=0, le=1, multiple_of=1)]
Flag = Annotated[
    bool | _Bit | Literal['0', '1', 'false', 'true'] | None, Meta(description='0 or 1')
]

Row = TypeVar('Row', bound=Struct)


class Image(Struct, gc=False):
    """An image of a COCO file."""

    id: Id
    file_name: Text
    width: Side
    height: Side

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width


class Category(Struct, gc=False):
    """A category of a COCO file."""

    id: Id
    name: Text
    supercategory: Any = None


class Entry(Struct, gc=False, kw_only=True):
    """An entry of a file, with a mask perhaps.

    Attributes:
        text: The entry's JSON text, with all its fields.
    """

    text: Raw = Raw()  # set by what reads it, whatever the file has of this name

    @property
    def segmentation(self) -> Any:
        """The mask as the file has it, None if it has none; decoded anew each time."""
        return msgspec.json.decode(self.text, type=_Mask).segmentation

    def content(self) -> dict:
        """All fields."""
        return json.loads(str(self.text, 'utf-8'))


class Annotation(Entry, gc=False):
    """An annotation of a COCO file."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: Box
    area: Number | None = None
    iscrowd: Flag = None
    ignore: Flag = None

    @property
    def is_object(self) -> bool:
        """Whether it is one object with a box that has an area.

        What is none (:attr:`left_out`) gets no mask: nothing is predicted for it, it takes no part
        in the merge, and its proxy mask is empty. Where detections are scored it counts neither
        way.
        """
        return self.left_out is None

    @property
    def left_out(self) -> str | None:
        """Why it is no object, a key of :data:`LEFT_OUT`; None of one."""
        if is_set(self.iscrowd):
            return 'crowd'
        if is_set(self.ignore):
            return 'ignored'
        _, _, width, height = self.bbox
        if width > 0 and height > 0:
            return None
        return 'negative' if width < 0 or height < 0 else 'no area'

    @property
    def is_pixel(self) -> bool:
        """Whether its box is of a pixel at most."""
        return max(self.bbox[2:]) <= 1

    @property
    def known_area(self) -> float:
        """Its area in pixels: what the file says, or its box's where that is missing or none."""
        if self.area is not None and 0 < self.area < float('inf'):
            return self.area
        return abs(self.bbox[2] * self.bbox[3])

    @property
    def true_mask(self) -> Any:
        """The mask as the file has it, if it is a true one, else None; decoded anew each time.

        A proxy mask is none: its quality, or without one its agreement, is below 1. Nor is a
        polygon that is the box itself, which some tools write, or an RLE without a pixel.
        """
        mask = msgspec.json.decode(self.text, type=_Mask)
        is_proxy = any(number not in (None, 1) for number in (mask.quality, mask.box_agreement))
        if not mask.segmentation or is_proxy or _is_empty(mask.segmentation):
            return None
        return None if self._is_box(mask.segmentation) else mask.segmentation

    @property
    def lacks_mask(self) -> bool:
        """Whether it has no mask of any kind, or a polygon that is the box itself."""
        segmentation = self.segmentation
        return not segmentation or self._is_box(segmentation)

    def _is_box(self, segmentation: Any) -> bool:
        if not isinstance(segmentation, list) or len(segmentation) != 1:
            return False
        try:
            corners = np.array(segmentation[0], dtype=np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            return False  # broken; who reads it says so
        x, y, width, height = self.bbox
        # To a pixel: tools differ in whether a box holds its last one.
        on_edge = np.abs(corners[..., None] - [[x, x + width], [y, y + height]]).min(axis=-1) <= 1
        return len(corners) in (4, 5) and bool(on_edge.all()) and width > 2 and height > 2


#: Why annotations are no objects, and what is said of them.
LEFT_OUT = {
    'crowd': 'with iscrowd 1 (if it is one object, write 0)',
    'ignored': 'with ignore 1',
    'negative': 'whose box has a negative width or height (drawn from its last corner on?)',
    'no area': 'whose box has no area',
}


def is_set(flag: bool | float | str | None) -> bool:
    """Whether a flag of a file is set, in whatever way it is written.

    Example:
        >>> [is_set(flag) for flag in (1, True, '1', 'true', 0, '0', None)]
        [True, True, True, True, False, False, False]
    """
    return flag in (1, '1', 'true')


def tell_left_out(annotations: Iterable[Annotation]) -> str:
    """Say how many annotations are no objects, and why; empty if all are.

    Example:
        >>> rows = dict(image_id=1, category_id=7)
        >>> crowd = Annotation(id=5, bbox=(1, 2, 10, 20), iscrowd=1, **rows)
        >>> tell_left_out([crowd, Annotation(id=6, bbox=(1, 2, 10, 20), **rows)])
        '1 of 2 annotations is left out: 1 with iscrowd 1 (if it is one object, write 0)'
    """
    return tell_reasons([annotation.left_out for annotation in annotations])


def tell_reasons(reasons: Collection[str | None]) -> str:
    """Say what :func:`tell_left_out` does, given :attr:`Annotation.left_out` of each."""
    counts = Counter(filter(None, reasons))
    if not counts:
        return ''
    parts = ', '.join(f'{counts[key]} {text}' for key, text in LEFT_OUT.items() if counts[key])
    verb = 'is' if counts.total() == 1 else 'are'
    return f'{counts.total()} of {len(reasons)} annotations {verb} left out: {parts}'


class _Mask(Struct):
    segmentation: Any = None
    quality: Any = None
    box_agreement: Any = None


@dataclass
class Coco:
    """A COCO annotation file.

    Attributes:
        path: The file.
        top: JSON text of each of its keys.
        images: In the file's order, as all of these.
        annotations: Those of all images.
        categories: Their names differ. Roboflow's root is none of them.
        root: The category without annotations that Roboflow puts in front, every other one's
            supercategory, often with the name of one; None if there is none.
    """

    path: Path
    top: dict[str, Raw]
    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]
    root: Category | None = None

    @property
    def objects(self) -> list[Annotation]:
        """The annotations that are objects."""
        return [annotation for annotation in self.annotations if annotation.is_object]

    def objects_by_image(self) -> Iterator[tuple[Image, list[Annotation]]]:
        """Go through the images, each with its objects, in the file's order."""
        groups = annotations_by_image(self)
        for image in self.images:
            yield image, [annotation for annotation in groups[image.id] if annotation.is_object]


def load_coco(
    path: str | Path,
    annotation: type[Annotation] = Annotation,
    image: type[Image] = Image,
    wrong: WrongEntries = REFUSE,
) -> Coco:
    """Read a COCO annotation file and check what everything else relies on.

    Args:
        path: JSON file.
        annotation: What an annotation is read as; a subclass knows further fields.
        image: What an image is read as.
        wrong: What is done with images and annotations that are wrong.

    Returns:
        The file. Ids are ints or strings and unique, so are the categories' names; images have a
        size; each annotation's image and category are in the file, each box is four finite numbers.

    Raises:
        InputError: If the file cannot be read, is not JSON or not COCO; names what is wrong.
    """
    return parse_coco(read_utf8(path), path, annotation, image, wrong)


def parse_coco(
    data: bytes,
    path: str | Path,
    annotation: type[Annotation] = Annotation,
    image: type[Image] = Image,
    wrong: WrongEntries = REFUSE,
) -> Coco:
    """Do what :func:`load_coco` does with a file's content; the path is for messages.

    Example:
        >>> image = b'{"id": 1, "file_name": "a.jpg", "width": 6, "height": 4}'
        >>> coco = parse_coco(b'{"images": [%b], "annotations": [], "categories": []}' % image, 'a')
        >>> coco.images[0].shape
        (4, 6)
    """
    types = dict(images=image, annotations=annotation, categories=Category)
    try:
        coco = _decode(data, path, types)
    except InputError:
        sound = sound_rows(data, path, types, wrong) if wrong.skip else None
        if sound is None:
            raise
        coco = _decode(sound, path, types)
    coco.root = _find_root(coco)
    if coco.root:
        coco.categories = coco.categories[1:]
    _check_ids(coco, wrong)
    _check_sizes(coco, wrong)
    leave_out(coco, wrong)
    return coco


def leave_out(coco: Coco, wrong: WrongEntries) -> None:
    """Leave out what was found wrong, and the annotations of such images.

    Args:
        coco: A COCO file; changed.
        wrong: What was found.

    Raises:
        InputError: If no object is left.
    """
    if not wrong.found:
        return
    texts = msgspec.json.decode(coco.top['images'], type=list[Raw])
    kept = [
        (image, text)
        for image, text in zip(coco.images, texts, strict=True)
        if not wrong.has(image)
    ]
    coco.images = [image for image, _ in kept]
    coco.top['images'] = Raw(msgspec.json.encode([text for _, text in kept]))
    there = {image.id for image in coco.images}
    annotations, coco.annotations = coco.annotations, []
    for annotation in annotations:
        if wrong.has(annotation):
            continue
        if annotation.image_id in there:
            coco.annotations.append(annotation)
            continue
        with wrong.noting(OF_IMAGE, dict(annotation=annotation.id)):
            raise InputError(f'image {annotation.image_id} is left out')
    if not coco.objects:
        raise InputError(
            f'{coco.path} holds no box that is right: {wrong.reasons}; the first: '
            f'{wrong.found[0]["sentence"]}'
        )


def _decode(data: bytes, path: str | Path, types: dict[str, type[Struct]]) -> Coco:
    kind = 'a COCO annotation file'
    if Path(path).suffix.lower() != '.json':
        kind += ', such as `mmboxcaseg masks` makes of other formats'
    with explaining(data, path, kind, lambda c: _explain(c, types, path)):
        top = msgspec.json.decode(data, type=dict[str, Raw])
        rows = {name: decode_rows(top.get(name, b''), type_) for name, type_ in types.items()}
    return Coco(Path(path), top, **rows)


def sound_rows(
    data: bytes, path: str | Path, types: Mapping[str, type[Struct]], wrong: WrongEntries
) -> bytes | None:
    """Leave images and annotations out of a file that cannot be decoded.

    Args:
        data: The file's content.
        path: The file, for messages.
        types: What its ``images`` and ``annotations`` are; by default anything with fields.
        wrong: What is done with the others.

    Returns:
        The content without them; None if it is no COCO file.
    """
    try:
        content = json.loads(data)
        lists = {name: content[name] for name in ('images', 'annotations')}
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    if not all(isinstance(entries, list) for entries in lists.values()):
        return None
    for name, entries in lists.items():
        for index, entry in enumerate(entries):
            where = _where(name, index, entry)
            id_ = entry.get('id') if isinstance(entry, dict) else None
            with wrong.noting('entries that cannot be read', {_SINGULAR[name]: id_}, entry):
                check_finite(entry, f'{where} of {path}')
                explain_entry(entry, types.get(name, Entry), f'{where} of {path}')
        content[name] = [entry for entry in entries if not wrong.has(entry)]
    return json.dumps(content).encode()


def decode_rows(data: bytes | Raw, type_: type[Row]) -> list[Row]:
    """Read a JSON list of entries, each with its text.

    Raises:
        msgspec.DecodeError: If it is none, or an entry is not of the type.
    """
    rows = msgspec.json.decode(data, type=list[type_])
    if issubclass(type_, Entry):
        for row, text in zip(rows, msgspec.json.decode(data, type=list[Raw]), strict=True):
            row.text = text
    return rows


@contextmanager
def explaining(
    data: bytes, path: str | Path, kind: str, explain: Callable[[Any], None]
) -> Iterator[None]:
    """Say in one sentence why a file cannot be decoded.

    What is decoded fast says little about what is wrong; it is then read once more, slowly.

    Args:
        data: The file's content, UTF-8.
        path: The file.
        kind: What it should be.
        explain: Given the content as Python objects; raises the InputError that names the entry.

    Raises:
        InputError: If it cannot be decoded, or holds a number that Python cannot read or JSON
            cannot write.
    """
    reason = None
    try:
        yield
        if not _may_overflow(data):
            return
    except RecursionError:
        raise InputError(f'{path} is nested far deeper than {kind}: give one') from None
    except msgspec.DecodeError as error:
        reason = error
    try:
        content = json.loads(data)
    except json.JSONDecodeError as error:
        place = f'{error.msg.rstrip(":")} in line {error.lineno}, column {error.colno}'
        raise InputError(f'{path} is not JSON: give {kind} ({place})') from None
    except RecursionError:
        raise InputError(f'{path} is nested far deeper than {kind}: give one') from None
    except ValueError:
        raise InputError(
            f'{path} has a number of more than {_MOST_DIGITS} digits: correct or remove it'
        ) from None
    for name, part in content.items() if isinstance(content, dict) else [('entry', content)]:
        entries = enumerate(part) if isinstance(part, list) else [(None, part)]
        for index, entry in entries:
            check_finite(entry, f'{_where(name, index, entry)} of {path}')
    if reason:
        explain(content)
        raise InputError(f'{path} is not JSON: {reason}; give {kind}')


def _may_overflow(data: bytes) -> bool:
    """Whether a file may hold a number above 1e308; an RLE may look so, once in 100 MB."""
    blocks = (data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK))
    if any(block.isdigit() for block in blocks):
        return True
    # A regular expression over all of the file would take longer than to read it.
    signs = np.frombuffer(data, dtype=np.uint8)
    digits = (signs >= ord('0')) & (signs <= ord('9'))
    places = ((signs[1:] | 32) == ord('e')) & digits[:-1]
    return any(_LARGE.match(data, place) for place in (places.nonzero()[0] + 1).tolist())


def check_finite(entry: Any, where: str) -> None:
    """Check that JSON has words for all numbers of an entry.

    Args:
        entry: As Python objects.
        where: What it is, for the message.

    Raises:
        InputError: If one is NaN or infinite, as Python reads one above 1e308.
    """
    fields = entry.items() if isinstance(entry, dict) else [(None, entry)]
    parts = list(fields)
    while parts:
        name, part = parts.pop()
        if isinstance(part, dict):
            parts += ((name, value) for value in part.values())
        elif isinstance(part, list):
            parts += ((name, value) for value in part)
        elif isinstance(part, float) and not isfinite(part):
            word = 'NaN' if isnan(part) else 'Infinity or a number above 1e308'
            raise InputError(
                f'{where} holds {word}{f" in {name!r}" if name else ""}, which JSON has no word '
                'for: correct it, leave it out or write null'
            )


def explain_entry(entry: Any, type_: type[Struct], where: str) -> None:
    """Check an entry field by field.

    Args:
        entry: As Python objects.
        type_: What it should be.
        where: The entry, for the message.

    Raises:
        InputError: If a field is missing or wrong.
    """
    if not isinstance(entry, dict):
        raise InputError(f'{where} is not a dict')
    for field in msgspec.structs.fields(type_):
        if field.required and field.name not in entry:
            raise InputError(f'{where} has no {field.name!r}')
        if field.name in entry and field.type is not Raw:
            value = entry[field.name]
            try:
                msgspec.convert(value, field.type)
            except msgspec.ValidationError:
                raise InputError(
                    f'{where} has {field.name} {value!r}, not {_describe(field.type)}'
                ) from None


def annotation_bboxes(annotations: Iterable[Annotation]) -> np.ndarray:
    """Boxes of annotations.

    Args:
        annotations: N of them.

    Returns:
        (N, 4) float64 boxes xyxy.

    Example:
        >>> box = Annotation(id=5, image_id=1, category_id=7, bbox=(1, 2, 10, 20))
        >>> annotation_bboxes([box]).tolist()
        [[1.0, 2.0, 11.0, 22.0]]
    """
    xywh = np.array([a.bbox for a in annotations], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def annotations_by_image(coco: Coco) -> dict[Id, list[Annotation]]:
    """Group annotations, in the file's order, under every image id."""
    groups: dict[Id, list[Annotation]] = {image.id: [] for image in coco.images}
    for annotation in coco.annotations:
        groups[annotation.image_id].append(annotation)
    return groups


def decode_annotation(
    annotation: Annotation, img_shape: tuple[int, int], path: str | Path
) -> np.ndarray:
    """Decode the mask of an annotation.

    Args:
        annotation: With a mask of any kind.
        img_shape: (height, width) of its image.
        path: The file that it comes from, for the message.

    Returns:
        (height, width) bool.

    Raises:
        InputError: If the mask is missing or broken; names the annotation and the file.
    """
    with naming_mask(f'mask of annotation {annotation.id}', path):
        return decode_rle(annotation.segmentation, img_shape)


def object_annotation(id_: int, image_id: int, category_id: int, mask: np.ndarray) -> dict:
    """Write an object whose mask is known as an annotation; its box is the tight one.

    Args:
        id_: Of the annotation.
        image_id: Of its image.
        category_id: Of its category.
        mask: (H, W) bool.

    Returns:
        The annotation, ready for JSON.

    Example:
        >>> object_annotation(1, 1, 3, np.array([[False, True]]))['bbox']
        [1, 0, 1, 1]
    """
    x1, y1, x2, y2 = tight_bboxes(mask[None])[0].tolist()
    return dict(
        id=id_,
        image_id=image_id,
        category_id=category_id,
        bbox=[x1, y1, x2 - x1, y2 - y1],
        area=int(mask.sum()),
        iscrowd=0,
        segmentation=encode_rle(mask),
    )


def check_mask(annotation: Annotation, image: Image, path: str | Path, missing: str) -> None:
    """Check the form of an annotation's mask without decoding it.

    Args:
        annotation: Any.
        image: The image that it belongs to.
        path: The file, for the message.
        missing: How the sentence goes on that says that the mask is missing.

    Raises:
        InputError: If it is missing, neither polygons nor an RLE, an RLE of another size than the
            image, or of runs that do not add up to it, or polygons that are none.
    """
    segmentation = annotation.segmentation
    if not segmentation:
        raise InputError(f'annotation {annotation.id} of {path} has no segmentation{missing}')
    with naming_mask(f'mask of annotation {annotation.id}', path):
        check_segmentation(segmentation, image.shape)


def check_masks(coco: Coco, missing: str | None, objects_only: bool = False) -> None:
    """Check the masks of all objects as :func:`check_mask` does, and those that others have.

    Args:
        coco: A COCO file.
        missing: See :func:`check_mask`; None if masks may be missing.
        objects_only: Whether masks of others are not looked at.

    Raises:
        InputError: As :func:`check_mask`.
    """
    shapes = {image.id: image for image in coco.images}
    rows = [a for a in coco.annotations if a.is_object or not objects_only]
    for start in range(0, len(rows), _MASKS_AT_ONCE):
        part = rows[start : start + _MASKS_AT_ONCE]
        masks = [annotation.segmentation for annotation in part]
        checked = [(a, mask) for a, mask in zip(part, masks, strict=True) if mask]
        try:
            if missing is not None and any(
                not mask and a.is_object for a, mask in zip(part, masks, strict=True)
            ):
                raise ValueError
            check_segmentations(
                [mask for _, mask in checked], [shapes[a.image_id].shape for a, _ in checked]
            )
        except ValueError:
            for annotation in part:  # names the first one
                if annotation.segmentation or (missing is not None and annotation.is_object):
                    check_mask(annotation, shapes[annotation.image_id], coco.path, missing or '')
            raise


def read_masks(
    segmentations: Mapping[Id, Any], img_shape: tuple[int, int], path: str | Path
) -> dict[Id, dict]:
    """Read the masks of one image as :func:`read_rles` does.

    Args:
        segmentations: Annotation id to segmentation of any kind.
        img_shape: (height, width) of the image.
        path: The file that they come from, for the message.

    Returns:
        Annotation id to RLE.

    Raises:
        InputError: If a segmentation is missing or broken; names the annotation and the file.
    """
    try:
        rles = read_rles(list(segmentations.values()), img_shape)
    except ValueError:
        for id_, segmentation in segmentations.items():
            if not segmentation:
                raise InputError(
                    f'annotation {id_} of {path} has no mask: give a file whose objects have masks'
                ) from None
            with naming_mask(f'mask of annotation {id_}', path):
                read_rles([segmentation], img_shape)
        raise
    return dict(zip(segmentations, rles, strict=True))


@contextmanager
def naming_mask(mask: str, path: str | Path) -> Iterator[None]:
    """Name a mask that is found broken, and its file.

    Raises:
        InputError: If a ValueError says what is wrong, in its place.
    """
    try:
        yield
    except ValueError as error:
        raise InputError(f'the {mask} in {path} is broken: {error}; replace or remove it') from None


def write_coco(top: Mapping[str, Raw], annotations: Iterable[bytes], path: str | Path) -> None:
    """Write a COCO file, whole or not at all.

    Args:
        top: JSON text of each of its keys, as of :class:`Coco`.
        annotations: JSON texts of the annotations, which take the place of those in ``top``.
        path: File to write.

    Raises:
        InputError: If it cannot be written; nothing is left of it.
    """
    with replacing(path) as file:
        opening = b'{'
        for key, text in top.items():
            file.write(opening + json.dumps(key).encode() + b': ')
            if key == 'annotations':
                write_list(annotations, file)
            else:
                file.write(json.dumps(json.loads(str(text, 'utf-8'))).encode())
            opening = b', '
        file.write(b'}')


def write_list(texts: Iterable[bytes], file: BinaryIO) -> None:
    """Write a JSON list.

    Args:
        texts: JSON texts of its entries.
        file: Where to.
    """
    separator = b'['
    for text in texts:
        file.write(separator + text)
        separator = b', '
    file.write(b']' if separator == b', ' else b'[]')


def _explain(content: Any, types: Mapping[str, type[Struct]], path: str | Path) -> None:
    if not isinstance(content, dict):
        raise InputError(
            f'{path} is not a COCO file: it holds a {type(content).__name__}, not a dict; give a '
            'COCO annotation file'
        )
    for name, type_ in types.items():
        if not isinstance(content.get(name), list):
            raise InputError(
                f'{path} is not a COCO file: it has no list {name!r}; give a COCO annotation file'
            )
        for index, entry in enumerate(content[name]):
            explain_entry(entry, type_, f'{_where(name, index, entry)} of {path}')


def _where(name: str, index: int | None, entry: Any) -> str:
    if index is None:
        return repr(name)
    has_id = isinstance(entry, dict) and type(entry.get('id')) in (int, str)
    return (
        f'{_SINGULAR[name]} {entry["id"]}' if has_id and name in _SINGULAR else f'{name}[{index}]'
    )


def _is_empty(segmentation: Any) -> bool:
    counts = segmentation.get('counts') if isinstance(segmentation, dict) else None
    if isinstance(counts, list):
        return not any(counts[1::2])
    size = segmentation['size'] if isinstance(counts, str) and 'size' in segmentation else None
    is_size = isinstance(size, list) and len(size) == 2 and all(type(s) is int for s in size)
    return is_size and counts == empty_rle(tuple(size))['counts']


def _describe(type_: Any) -> str:
    # What is optional is a union of the type that is described and None.
    parts = (type_, *get_args(type_))
    return next(p.__metadata__[0].description for p in parts if hasattr(p, '__metadata__'))


def _check_sizes(coco: Coco, wrong: WrongEntries) -> None:
    counts = Counter(annotation.image_id for annotation in coco.annotations)
    for image in coco.images:
        too_large = image.width * image.height > MOST_PIXELS
        if not too_large and counts[image.id] <= _MOST_BOXES:
            continue
        with wrong.noting('images that are too large', dict(image=image.id), image):
            if too_large:
                raise InputError(
                    f'image {image.id} of {coco.path} is said to be {shown(image.width, 20)}x'
                    f'{shown(image.height, 20)}: masks can be written of no more than '
                    f'{MOST_PIXELS} pixels, cut it into parts'
                )
            raise InputError(
                f'image {image.id} of {coco.path} has {counts[image.id]} annotations, and more '
                f'than {_MOST_BOXES} do not fit in memory at once: cut the image into parts'
            )


def _check_ids(coco: Coco, wrong: WrongEntries) -> None:
    # Whose the boxes of an image are that is there twice nobody knows.
    images = _check_unique(coco, 'images', wrong)
    _check_unique(coco, 'annotations', wrong, first_stays=True)
    categories = _check_unique(coco, 'categories')
    names = Counter(category.name for category in coco.categories)
    for name, count in names.items():
        if count > 1:
            raise InputError(f'{coco.path} has two categories named {name!r}: rename or join them')
    for annotation in coco.annotations:
        if annotation.image_id not in images:
            owner = f'belongs to image {annotation.image_id!r}'
        elif annotation.category_id not in categories:
            owner = f'has category {annotation.category_id!r}'
        else:
            continue
        if annotation.image_id in wrong.image_ids:
            continue  # is left out with it
        with wrong.noting(
            'annotations of images or categories that are not there',
            dict(annotation=annotation.id),
            annotation,
        ):
            raise InputError(
                f'annotation {annotation.id} of {coco.path} {owner}, which the file does not list'
            )


def _find_root(coco: Coco) -> Category | None:
    first, others = coco.categories[:1], coco.categories[1:]
    parents = [category.supercategory for category in others]
    is_root = (
        others
        and first[0].supercategory == 'none'
        and all(parent == first[0].name for parent in parents)
    )
    used = is_root and any(a.category_id == first[0].id for a in coco.annotations)
    return first[0] if is_root and not used else None


def _check_unique(
    coco: Coco, name: str, wrong: WrongEntries = REFUSE, first_stays: bool = False
) -> set[Id]:
    rows = getattr(coco, name)
    counts = Counter(row.id for row in rows)
    seen: set[Id] = set()
    for row in rows if len(counts) < len(rows) else ():
        if counts[row.id] > 1 and (row.id in seen or not (wrong.skip and first_stays)):
            with wrong.noting('ids that are there twice', {_SINGULAR[name]: row.id}, row):
                raise InputError(
                    f'{coco.path} has the id {row.id!r} twice in {name!r}: rename or join them'
                )
        seen.add(row.id)
    return set(counts)


_SINGULAR = dict(images='image', categories='category', annotations='annotation')
