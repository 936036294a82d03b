"""COCO files as large as they come: read entry by entry, kept packed, grouped by image."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO

import numpy as np

from mmboxcaseg.errors import InputError

from .coco import check_coco, check_result, check_results, match_results, wants_mask

_CHUNK = 1 << 20  # characters
_SPACE = ' \t\n\r'
_decode = json.JSONDecoder().raw_decode


class PackedList(Sequence):
    """A list that holds its entries' JSON texts in one block, not an object for every value.

    It takes about a sixth of the memory, and forked processes share all of it: counting
    references, which copies a shared list page by page, touches nothing here.

    Args:
        entries: What the list holds; consumed one by one.
    """

    def __init__(self, entries: Iterable[Any]) -> None:
        self._data = bytearray()
        self._ends = array('q', [0])
        for entry in entries:
            data = json.dumps(entry).encode()
            self._append(data)
            self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Any:
        """A fresh copy of an entry."""
        # json.loads would first look for the encoding, which takes longer than all the rest.
        return _decode(self.text(index).decode())[0]

    def text(self, index: int) -> bytes:
        """The JSON text of an entry."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._read(self._ends[index], self._ends[index + 1])

    def _append(self, data: bytes) -> None:
        self._data += data

    def _read(self, start: int, end: int) -> bytes:
        return bytes(memoryview(self._data)[start:end])


class SpooledList(PackedList):
    """A :class:`PackedList` of which only the entries' places are held, eight bytes each.

    What it holds lies in a file without a name, which goes with the list, however that ends.

    Args:
        entries: What the list holds; consumed one by one.
        folder: Of the file; must be there.

    Raises:
        InputError: If the file cannot be written.
    """

    def __init__(self, entries: Iterable[Any], folder: str | Path) -> None:
        try:
            self._file = TemporaryFile(dir=folder)
        except OSError as error:
            raise InputError(f'cannot write in {folder}: {error.strerror}') from None
        self._folder = folder
        super().__init__(entries)
        self._write(self._file.flush)

    def _append(self, data: bytes) -> None:
        self._write(self._file.write, data)

    def _read(self, start: int, end: int) -> bytes:
        # Nothing of it counts as this process's memory, as it would if it were mapped.
        return os.pread(self._file.fileno(), end - start, start)

    def _write(self, function: Callable, *args: bytes) -> None:
        try:
            function(*args)
        except OSError as error:
            raise InputError(f'cannot write in {self._folder}: {error.strerror}') from None


def load_packed_coco(path: str | Path) -> dict:
    """Read a COCO annotation file as :func:`load_coco` does, except for its masks.

    Args:
        path: JSON file.

    Returns:
        The file's content; ``images`` and ``annotations`` are :class:`PackedList`, and every
        ``segmentation`` is None.

    Raises:
        InputError: As :func:`load_coco`.
    """
    try:
        with open(path, encoding='utf-8') as file:
            coco = _Scanner(file).read()
    except OSError as error:
        raise InputError(f'cannot read {path}: {error.strerror}') from None
    except ValueError:
        raise InputError(f'{path} is not JSON: give a COCO annotation file') from None
    check_coco(coco, path)
    return coco


def scan_results(path: str | Path) -> Iterator[dict]:
    """Yield the entries of a COCO results file that :func:`load_results` would return.

    Args:
        path: JSON file.

    Raises:
        InputError: As :func:`load_results`, as soon as what is wrong is met.
    """
    try:
        with open(path, encoding='utf-8') as file:
            scanner = _Scanner(file)
            if scanner.opens('['):
                for index, entry in enumerate(scanner.entries()):
                    check_result(entry, f'entry {index} of {path}')
                    yield entry
                scanner.end()
            else:
                check_results(scanner.read(), path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f'cannot read {path}: {error.strerror}') from None
    except ValueError:
        raise InputError(f'{path} is not JSON: give a COCO results file') from None


class ImageGroups:
    """The annotations of a COCO file image by image.

    Args:
        coco: Content of a COCO file.

    Attributes:
        order: (N,) int64, the index in the file of every annotation, image after image.
        num_boxes: (number of images,) int64, how many boxes of each want a mask.
    """

    def __init__(self, coco: dict) -> None:
        self.coco = coco
        positions = {image['id']: index for index, image in enumerate(coco['images'])}
        count = len(coco['annotations'])
        owners = np.empty(count, dtype=np.int64)
        wanted = np.empty(count, dtype=bool)
        for index, annotation in enumerate(coco['annotations']):
            owners[index] = positions[annotation['image_id']]
            wanted[index] = wants_mask(annotation)
        self.order = np.argsort(owners, kind='stable')
        self.num_boxes = np.bincount(owners[wanted], minlength=len(positions))
        self._starts = np.searchsorted(owners[self.order], np.arange(len(positions) + 1))

    def __len__(self) -> int:
        return len(self.coco['images'])

    def image(self, index: int) -> dict:
        """The COCO image at a position in the file."""
        return self.coco['images'][index]

    def annotations(self, index: int) -> list[dict]:
        """The annotations of the image at a position, in the file's order."""
        return [self.coco['annotations'][i] for i in self.order[self.span(index, index + 1)]]

    def span(self, start: int, stop: int) -> slice:
        """Where the annotations of a range of images lie in :attr:`order`."""
        return slice(int(self._starts[start]), int(self._starts[stop]))


class ResultGroups:
    """The raw masks of a COCO results file image by image; they wait on disk.

    Args:
        path: COCO results file.
        groups: The annotations that they are for.
        folder: Where they wait.

    Raises:
        InputError: If the file cannot be read or an entry is wrong or of an image that the
            annotations' file does not have.
    """

    def __init__(self, path: str | Path, groups: ImageGroups, folder: str | Path) -> None:
        self._path = path
        self._groups = groups
        self._positions = {image['id']: index for index, image in enumerate(groups.coco['images'])}
        self._owners = array('q')
        self._entries = SpooledList(map(self._note_owner, scan_results(path)), folder)
        owners = np.asarray(self._owners)
        self._order = np.argsort(owners, kind='stable')
        self._starts = np.searchsorted(owners[self._order], np.arange(len(groups) + 1))

    def match(self, image: int, annotations: list[dict]) -> dict[int, dict]:
        """Find the annotation of every raw mask of an image.

        Args:
            image: The image's position in the annotations' file.
            annotations: Its annotations.

        Returns:
            Annotation id to entry.

        Raises:
            InputError: As :func:`match_results`.
        """
        coco = dict(images=[self._groups.image(image)], annotations=annotations)
        indices = self._order[self._starts[image] : self._starts[image + 1]].tolist()
        return match_results(coco, (self._entries[i] for i in indices), self._path, indices)

    def _note_owner(self, entry: dict) -> dict:
        owner = self._positions.get(entry['image_id'])
        if owner is None:
            # Nothing fits it: what this raises names the entry.
            none = dict(images=[], annotations=[])
            match_results(none, [entry], self._path, [len(self._owners)])
        self._owners.append(owner)
        return entry


class _Scanner:
    """Reads the dict at the top of a JSON file, one entry of its lists at a time."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ''
        self._pos = 0

    def read(self) -> Any:
        if not self.opens('{'):
            value = self._value()
        else:
            value = dict(self._members())
        self.end()
        return value

    def opens(self, bracket: str) -> bool:
        """Whether a bracket comes next."""
        return self._peek() == bracket

    def end(self) -> None:
        """Make sure that the file ends here."""
        if self._peek():
            raise ValueError('something follows the end')

    def entries(self) -> Iterator[Any]:
        """Yield the entries of the list that comes next."""
        for _ in self._items('[', ']'):
            yield self._value()

    def _members(self) -> Iterator[tuple[str, Any]]:
        for _ in self._items('{', '}'):
            key = self._value()
            if not isinstance(key, str):
                raise ValueError('a key is no string')
            self._take(':')
            if key in ('images', 'annotations') and self._peek() == '[':
                yield key, PackedList(map(_without_mask, self.entries()))
            else:
                yield key, self._value()

    def _items(self, opening: str, closing: str) -> Iterator[None]:
        """Yield wherever a comma separated item begins, up to and past the closing bracket."""
        self._take(opening)
        if self._peek() == closing:
            self._take(closing)
            return
        while True:
            yield
            if self._peek() == closing:
                self._take(closing)
                return
            self._take(',')

    def _take(self, char: str) -> None:
        if self._peek() != char:
            raise ValueError(f'no {char}')
        self._pos += 1

    def _peek(self) -> str:
        """The next character that is no space; empty at the end of the file."""
        while True:
            while self._pos < len(self._text):
                if self._text[self._pos] not in _SPACE:
                    return self._text[self._pos]
                self._pos += 1
            if not self._refill(_CHUNK):
                return ''

    def _value(self) -> Any:
        self._peek()
        size = _CHUNK
        while True:
            try:
                value, end = _decode(self._text, self._pos)
            except json.JSONDecodeError:
                # It may go on behind the part that is read.
                if not self._refill(size):
                    raise
            else:
                # At the very end a number may go on.
                if end < len(self._text) or not self._refill(size):
                    self._pos = end
                    return value
            size *= 2

    def _refill(self, size: int) -> bool:
        more = self._file.read(size)
        self._text = self._text[self._pos :] + more
        self._pos = 0
        return bool(more)


def _without_mask(entry: Any) -> Any:
    if isinstance(entry, dict) and 'segmentation' in entry:
        entry['segmentation'] = None
    return entry
