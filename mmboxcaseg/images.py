"""Reading images and masks, by one rule in every stage and tool.

Pixels are taken as they are stored, whatever orientation EXIF data name: boxes and masks belong to
the frame of their annotation file, which most programs write of the stored pixels. Where that frame
is the turned photograph, as viewers show it, ``exif`` says so. What the network and the Mask R-CNN
see has three channels of 8 bits, see :meth:`ImageReader.read`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import cv2
import numpy as np
import tifffile
from mmengine.fileio import LocalBackend, register_backend
from PIL import ExifTags, Image

from mmboxcaseg.errors import InputError, check_count
from mmboxcaseg.fileio import GIT_LFS, opening, read_bytes

#: What files must end in to be taken for images, where a folder is looked through.
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')

#: Pixels of the largest image that is read unless another limit is given: 16,384 x 16,384.
MAX_PIXELS = 2**28
# Of OpenCV; beyond it nothing can be read.
_MOST_PIXELS = 2**30
_TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
# Pillow's modes of more than 8 bits.
_DEEP = ('I', 'F', 'I;16', 'I;16B', 'I;16L', 'I;16N')
# Brands of what telephones write, which OpenCV and Pillow do not read.
_HEIC = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'mif1', b'msf1')
# What OpenCV reads as this module does.
_PLAIN = ('JPEG', 'PNG', 'BMP', 'WEBP')
# Of deep images: what lies outside is cut, so that single hot or dead pixels change nothing.
_PERCENTILES = (0.1, 99.9)
# Pixels of which they are taken.
_SAMPLE = 2**20
_TURNS = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}
_pillow = Lock()
# Of mmengine's file backends; configs name it.
BACKEND = 'mmboxcaseg'


class _Broken(InputError):
    """A file is no image, or is cut off."""


class Header(NamedTuple):
    """What is known of an image file before its pixels are decoded.

    Attributes:
        stored: (height, width) of its pixels.
        orientation: EXIF's, 1 to 8; 1 where it names none.
        is_deep: Whether a channel has more than 8 bits.
        bands: Channels of an image that is neither grey nor coloured; 0 of those that are.
        is_plain: Whether any program reads the same pixels in it.
    """

    stored: tuple[int, int]
    orientation: int = 1
    is_deep: bool = False
    bands: int = 0
    is_plain: bool = False

    @property
    def turned(self) -> tuple[int, int]:
        """(height, width) of the photograph as its EXIF data turn it."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored


@dataclass(frozen=True)
class ImageReader:
    """How images are read; the same in every stage that goes by the same boxes.

    Attributes:
        exif: Whether boxes and masks are of photographs as their EXIF data turn them; by default
            they are of the pixels as stored.
        max_pixels: An image of more is refused before it is decoded, at most 2**30.
        bands: Which three bands of images of several, numbered from 1, are red, green and blue.

    Raises:
        InputError: If the limit or the bands cannot be meant.
    """

    exif: bool = False
    max_pixels: int = MAX_PIXELS
    bands: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        check_count('max_pixels', self.max_pixels)
        if self.max_pixels > _MOST_PIXELS:
            raise InputError(f'max_pixels must be at most {_MOST_PIXELS}, not {self.max_pixels}')
        if self.bands is not None:
            if len(self.bands) != 3:
                raise InputError(f'bands must be three numbers, not {self.bands!r}')
            for band in self.bands:
                check_count('bands', band)

    @classmethod
    def of(cls, bands: Iterable[int] | None = None, **settings: Any) -> ImageReader:
        """Make one of the settings in a config, where tuples may have become lists.

        Raises:
            InputError: If a setting is not known or wrong.
        """
        if unknown := settings.keys() - {'exif', 'max_pixels'}:
            raise InputError(
                f'images are read with exif, max_pixels and bands, not with {min(unknown)!r}'
            )
        return cls(bands=None if bands is None else tuple(bands), **settings)

    def header(self, path: str | Path) -> Header:
        """Read what stands before an image's pixels.

        Raises:
            InputError: If the file is missing, no image, too large or of a kind that is not read.
        """
        with opening(path) as file:
            return self._header(file, path)

    def shape(self, path: str | Path) -> tuple[int, int]:
        """(height, width) of an image as :meth:`read` gives it; raises as :meth:`header`."""
        header = self.header(path)
        return header.turned if self.exif else header.stored

    def read(self, path: str | Path, said: tuple[int, int] | None = None) -> np.ndarray:
        """Read an image.

        Grey images and palettes are turned into colours, CMYK too; alpha is left out. Of more than
        8 bits, the lowest and the highest value, each but for a thousandth of the pixels, become 0
        and 255. Of several bands three are taken.

        Args:
            path: An image file.
            said: (height, width) that it must have, as the file of its boxes says.

        Returns:
            (H, W, 3) uint8, BGR.

        Raises:
            InputError: As :meth:`header`, or if the file is broken or of another size.
        """
        data = read_bytes(path)
        header = self._header(io.BytesIO(data), path)
        if header.bands:
            pixels = self._choose_bands(data, header, path)
        else:
            # TIFF files of 32 bits are read as they are or not at all.
            as_it_is = header.is_deep and data[:4] in _TIFF
            flag = cv2.IMREAD_UNCHANGED if as_it_is else cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
            pixels = _decode(data, flag, path)
        if pixels.ndim == 2:
            pixels = pixels[..., None].repeat(3, axis=2)
        image = self._turn(_as_bytes(pixels[..., :3], path), header)
        if said not in (None, image.shape[:2]):
            raise InputError(self.explain_shape(path, said, 'its annotation file'))
        return image

    def is_other_frame(self, path: str | Path, said: tuple[int, int]) -> bool:
        """Whether a (height, width) is an image's as it would be if ``exif`` were the other way."""
        header = self.header(path)
        own, other = header.stored, header.turned
        return own != other and said == (own if self.exif else other)

    def explain_shape(
        self,
        path: str | Path,
        said: tuple[int, int],
        source: str | Path,
        shape: tuple[int, int] | None = None,
    ) -> str:
        """Say why an image has another size than the file of its boxes says.

        Args:
            path: The image.
            said: (height, width) in that file.
            source: That file.
            shape: (height, width) of an image that does not come from there.

        Returns:
            The sentence.
        """
        other, side = said
        if shape is None and self.is_other_frame(path, said):
            header = self.header(path)
            height, width = header.stored
            frame = 'the pixels as stored' if self.exif else 'the photograph as EXIF turns it'
            do = 'leave --exif out' if self.exif else 'give --exif'
            return (
                f'{path} is stored as {width}x{height} and turned to {height}x{width} by its EXIF '
                f'orientation {header.orientation}, but {source} says {side}x{other}: its boxes '
                f'are of {frame}, so {do} (exif={not self.exif} in a config), in every step'
            )
        height, width = shape or self.shape(path)
        return (
            f'{path} is {width}x{height}, but {source} says {side}x{other}: the boxes belong to '
            'another image, or to one that was scaled or cut since'
        )

    def _turn(self, pixels: np.ndarray, header: Header) -> np.ndarray:
        turn = _TURNS.get(header.orientation) if self.exif else None
        return np.ascontiguousarray(turn(pixels)) if turn else pixels

    def _header(self, file: io.BufferedIOBase, path: str | Path) -> Header:
        start = file.read(4)
        file.seek(0)
        try:
            header = _tiff_header(file) if start in _TIFF else _pillow_header(file)
        except InputError as error:
            raise InputError(f'{path} {error}') from None
        except Exception:  # a broken file makes both raise nearly anything
            file.seek(0)
            raise _Broken(f'{path} {_why_broken(file.read(64))}') from None
        height, width = header.stored
        if height * width > self.max_pixels:
            raise InputError(
                f'{path} has {width}x{height} pixels, more than the {self.max_pixels} that are '
                'read at most: cut it into tiles, or give a higher --max-pixels (max_pixels in a '
                'config)'
            )
        if header.bands and max(self.bands or [header.bands + 1]) > header.bands:
            none = f', none of number {max(self.bands)}' if self.bands else ''
            raise InputError(
                f'{path} has {header.bands} bands{none}: choose which three are red, green and '
                'blue, such as --bands 3 2 1 (bands=(3, 2, 1) in a config)'
            )
        return header

    def _choose_bands(self, data: bytes, header: Header, path: str | Path) -> np.ndarray:
        try:
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                pixels = file.pages[0].asarray()
        except Exception as error:
            raise InputError(
                f'{path} cannot be decoded ({error}): write it as an uncompressed TIFF'
            ) from None
        if pixels.shape[:2] != header.stored:
            pixels = np.moveaxis(pixels, 0, -1)
        return pixels[..., [band - 1 for band in reversed(self.bands)]]


#: Of pixels as they are stored.
DEFAULT_READER = ImageReader()


def read_image(path: str | Path, reader: ImageReader = DEFAULT_READER) -> np.ndarray:
    """Read an image as :meth:`ImageReader.read` does."""
    return reader.read(path)


def read_mask(
    path: str | Path, level: int = 127, reader: ImageReader = DEFAULT_READER
) -> np.ndarray:
    """Read a mask; by default pixels of more than half of the full intensity are object.

    Of an image with an alpha channel that is not the same everywhere, as a cut-out has, the alpha
    is the mask.

    Args:
        path: An image file, 0 for ground and 255 for object; colours are turned to grey.
        level: Pixels above it are object.
        reader: How images are read; the image that the mask is of is turned alike.

    Returns:
        (H, W) uint8, 0 or 1.

    Raises:
        InputError: If the file is missing, not an image, or has no object, or has a mask in its
            colours and another in its alpha.
    """
    data = read_bytes(path)
    header = reader._header(io.BytesIO(data), path)
    pixels = _decode(data, cv2.IMREAD_UNCHANGED, path)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    grey = pixels
    if pixels.ndim == 3:
        # Where the channels are equal, the grey of colours may be one below them.
        is_grey = (pixels[..., 0] == pixels[..., 1]).all() and (
            pixels[..., 0] == pixels[..., 2]
        ).all()
        grey = pixels[..., 0] if is_grey else cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY)
    mask = grey > level
    if pixels.ndim == 3 and pixels.shape[2] == 4 and np.ptp(pixels[..., 3]):
        alpha = pixels[..., 3] > level
        is_mask = mask.any() and not mask.all() and np.isin(grey, (0, 255)).all()
        if is_mask and (mask != alpha).any():
            raise InputError(
                f'mask {path} has one mask in its colours and another in its alpha channel: leave '
                'one out'
            )
        mask = alpha
    if not mask.any():
        raise InputError(
            f'mask {path} has no pixel above {level}: are its values 0 and 255? Of others say '
            'above which they are object (level of the data set, --level of the converter); a mask '
            'without an object must be removed from the set, with its image'
        )
    return reader._turn(mask.view(np.uint8), header)


def read_image_shape(path: str | Path, reader: ImageReader = DEFAULT_READER) -> tuple[int, int]:
    """Read height and width of an image, and make sure that its file is whole.

    Pillow refuses a file that is cut off; OpenCV before 5 takes it and leaves the rest grey.

    Raises:
        InputError: If the file is missing, not an image, too large or cut off.
    """
    try:
        shape = reader.shape(path)
        try:
            with opening(path) as file, opening_image(file) as image:
                # All of a JPEG is read, but no more than an eighth of its pixels made: a third
                # faster.
                image.draft('L', (1, 1))
                image.load()
        except Exception:  # a broken file makes Pillow raise nearly anything
            if not _is_tiff(path):
                raise _Broken('') from None
            reader.read(path)  # Pillow does not know those of several bands
    except _Broken:
        raise InputError(
            f'{path} cannot be read as an image or is cut off: replace it or remove it'
        ) from None
    return shape


@contextmanager
def opening_image(file: str | Path | io.BufferedIOBase) -> Iterator[Image.Image]:
    """Open an image with Pillow whose size a reader has looked at: Pillow has a limit of its own.

    Raises:
        Exception: Nearly any, of a broken file.
    """
    with _pillow:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(file)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


@register_backend(BACKEND)
class ImageBackend(LocalBackend):
    """Images for mmdet's ``LoadImageFromFile`` and ``DetVisualizationHook``, read by this rule.

    ``backend_args=dict(backend='mmboxcaseg')`` asks for it, with settings of :class:`ImageReader`.
    The content of files that all programs read alike stays as it is; others become BMP.
    """

    def __init__(self, **settings: Any) -> None:
        self.reader = ImageReader.of(**settings)

    def get(self, filepath: str | Path) -> bytes:
        """The content of an image file; raises :class:`InputError` as :meth:`ImageReader.read`."""
        if self.reader.header(filepath).is_plain:
            return read_bytes(filepath)
        return cv2.imencode('.bmp', self.reader.read(filepath))[1].tobytes()


def _is_tiff(path: str | Path) -> bool:
    with opening(path) as file:
        return file.read(4) in _TIFF


def _pillow_header(file: io.BufferedIOBase) -> Header:
    with opening_image(file) as image:
        # Of a PNG without EXIF data before its pixels Pillow decodes all to look behind them.
        has_exif = image.format != 'PNG' or 'exif' in image.info
        orientation = 1
        with suppress(Exception):  # broken EXIF data make Pillow raise nearly anything
            exif = image.getexif() if has_exif else {}
            orientation = exif.get(ExifTags.Base.Orientation, 1)
        orientation = orientation if orientation in _TURNS else 1
        is_deep = image.mode in _DEEP or _png_depth(image, file) > 8
        is_plain = orientation == 1 and not is_deep and image.format in _PLAIN
        return Header((image.height, image.width), orientation, is_deep, 0, is_plain)


def _png_depth(image: Image.Image, file: io.BufferedIOBase) -> int:
    # Pillow calls colours of 16 bits colours of 8.
    if image.format != 'PNG':
        return 8
    file.seek(24)
    return file.read(1)[0]


def _tiff_header(file: io.BufferedIOBase) -> Header:
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        if 274 in page.tags and page.tags[274].value != 1:
            raise InputError(
                f'has the TIFF orientation {int(page.tags[274].value)}, which programs take in '
                'different ways: write it upright'
            )
        alphas = [kind for kind in page.extrasamples or () if kind in (1, 2)]
        channels = page.samplesperpixel - len(alphas)
        kinds = dict(RGB=(3, 4), YCBCR=(3,), SEPARATED=(4,))
        known = kinds.get(getattr(page.photometric, 'name', ''), (1,))
        stored = page.imagelength, page.imagewidth
        is_deep = page.dtype.itemsize > 1
        return Header(stored, 1, is_deep, 0 if channels in known else channels)


def _decode(data: bytes, flag: int, path: str | Path) -> np.ndarray:
    try:
        pixels = np.frombuffer(data, dtype=np.uint8)
        image = cv2.imdecode(pixels, flag | cv2.IMREAD_IGNORE_ORIENTATION * (flag >= 0))
    except cv2.error:
        image = None
    if image is None:
        raise _Broken(f'{path} {_why_broken(data)}')
    return image


def _why_broken(start: bytes) -> str:
    """What to say of a file that is no image or is cut off, by its first bytes."""
    if start[4:8] == b'ftyp' and start[8:12] in _HEIC:
        return 'is HEIC, whatever its name ends in: convert it to JPEG'
    if start.startswith(GIT_LFS):
        return 'is not the file but its Git LFS pointer: get it with git lfs pull'
    return 'cannot be decoded: replace it or remove it from the set'


def _as_bytes(pixels: np.ndarray, path: str | Path) -> np.ndarray:
    """Scale pixels of more than 8 bits; see :meth:`ImageReader.read`."""
    if pixels.dtype == np.uint8:
        return pixels
    values = pixels.astype(np.float32)
    flat = values.reshape(-1, values.shape[-1])
    flat = flat[:: max(len(flat) // _SAMPLE, 1)]
    known = flat[np.isfinite(flat)]
    if not known.size:
        known = values[np.isfinite(values)]
    if not known.size:
        raise InputError(f'{path} holds no number but NaN or infinity: replace it or remove it')
    low, high = np.percentile(known, _PERCENTILES)
    if low == high:
        low, high = known.min(), known.max()
    scale = 255 / (high - low) if high > low else 0
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return np.rint((np.clip(values, low, high) - low) * scale).astype(np.uint8)
