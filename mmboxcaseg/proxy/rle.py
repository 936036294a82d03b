"""Masks as COCO's run-length codes: read from any kind, written from a part of the image.

Runs go down the columns, ground first. Compressed, a run takes a few characters, five bits each,
low bits first; from the fourth on it is written as the difference from the last but one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

#: Pixels of the largest image whose masks can be written: pycocotools reads run lengths and their
#: differences of no more than six characters.
MOST_PIXELS = 2**29 - 1

# Polygons may reach out of the image, by so many times its longer side.
_FARTHEST_CORNER = 10
# Steps of a fifth of a pixel that pycocotools takes along the outlines of an object, which it keeps
# all: by then they take 200 MB.
_MOST_STEPS = 2**24
# Of the characters of a run: more hold counts that no image has, and pycocotools misreads them.
_LONGEST_RUN = 6
_BROKEN_COUNTS = 'its counts are neither whole counts nor compressed ones'


def encode_rle(mask: np.ndarray) -> dict:
    """Encode a mask as COCO's compressed RLE, as it stands in JSON.

    Args:
        mask: (H, W) bool or uint8.

    Returns:
        ``dict(size=[H, W], counts=str)``. The counts are ``str``: mmdet silently ignores the
        whole box where they are ``bytes``.

    Example:
        >>> encode_rle(np.array([[0, 1], [1, 1]]))
        {'size': [2, 2], 'counts': '13'}
    """
    mask = np.asarray(mask, dtype=bool)
    (rle,) = encode_edges(window_edges([mask], [(0, 0)], [mask.shape]), [mask.shape])
    return rle


def empty_rle(img_shape: tuple[int, int]) -> dict:
    """Encode a mask without an object, as :func:`encode_rle` does.

    Example:
        >>> empty_rle((2, 2))
        {'size': [2, 2], 'counts': '4'}
    """
    return dict(size=list(img_shape), counts=_empty_counts(*img_shape))


class Edges(NamedTuple):
    """Where N masks begin and end when one goes down the columns of their images.

    Attributes:
        positions: (E,) int64, mask after mask, each increasing: the first pixel of a run of the
            object and the first one past it, in turn; pixel x, y has the number x * height + y.
        counts: (N,) int64, how many of them each mask has.
    """

    positions: np.ndarray
    counts: np.ndarray


def window_edges(
    windows: Sequence[np.ndarray],
    corners: Sequence[tuple[int, int]],
    img_shapes: Sequence[tuple[int, int]],
) -> Edges:
    """Find the edges of masks of which a part is given, outside which they are empty.

    Args:
        windows: N parts (h, w) bool.
        corners: N times x, y of the window's first pixel in its image.
        img_shapes: N (height, width) of the images.

    Returns:
        The edges of the N masks.

    Example:
        >>> edges = window_edges([np.array([[True, False], [True, True]])], [(1, 0)], [(3, 4)])
        >>> edges.positions.tolist(), edges.counts.tolist()
        ([3, 5, 7, 8], [4])
    """
    changes = [_row_major_changes(window) for window in windows]
    counts = np.array([len(one) for one in changes], dtype=np.int64)
    if not counts.any():
        return Edges(np.zeros(0, dtype=np.int64), counts)
    widths = np.array([window.shape[1] for window in windows]).repeat(counts)
    shapes = np.asarray(img_shapes, dtype=np.int64)
    corners = np.asarray(corners, dtype=np.int64)
    # Apart from each other, so that all are sorted at once.
    firsts = np.arange(len(counts)) * (shapes.prod(axis=1).max() + 1)
    positions = np.concatenate(changes)
    rows = positions // widths
    positions -= rows * widths
    positions *= shapes[:, 0].repeat(counts)
    positions += rows
    positions += (firsts + corners[:, 0] * shapes[:, 0] + corners[:, 1]).repeat(counts)
    positions.sort()
    # Where a window has its image's height, a run may go on at the top of the next column.
    joints = (positions[1:] == positions[:-1]).nonzero()[0]
    if len(joints):
        owners = np.arange(len(counts)).repeat(counts)[joints]
        positions = np.delete(positions, np.concatenate([joints, joints + 1]))
        counts -= 2 * np.bincount(owners, minlength=len(counts))
    return Edges(positions - firsts.repeat(counts), counts)


def encode_edges(edges: Edges, img_shapes: Sequence[tuple[int, int]]) -> list[dict]:
    """Encode masks of which the edges are known, as :func:`encode_rle` does.

    Args:
        edges: Of N masks.
        img_shapes: N (height, width) of their images.

    Returns:
        N RLEs.

    Raises:
        ValueError: If an image has more than :data:`MOST_PIXELS`.

    Example:
        >>> encode_edges(Edges(np.array([1, 4]), np.array([2])), [(2, 2)])
        [{'size': [2, 2], 'counts': '13'}]
    """
    _check_pixels(img_shapes)
    positions, counts = edges
    stops = (counts + 2).cumsum()
    starts = stops - counts - 2
    bounds = np.zeros(len(positions) + 2 * len(counts), dtype=np.int64)
    inner = np.ones(len(bounds), dtype=bool)
    inner[starts] = inner[stops - 1] = False
    bounds[inner] = positions
    shapes = np.asarray(img_shapes, dtype=np.int64)
    bounds[stops - 1] = shapes[:, 0] * shapes[:, 1]
    runs = bounds[1:] - bounds[:-1]
    # The ground behind a mask that fills the last pixel is not written.
    stops -= 1 + (runs[stops - 2] == 0)
    parts = zip(starts.tolist(), stops.tolist(), strict=True)
    return _compress([runs[start:stop] for start, stop in parts], shapes.tolist())


def decode_rle(segmentation: dict | list | None, img_shape: tuple[int, int]) -> np.ndarray:
    """Decode a COCO segmentation of any kind.

    Args:
        segmentation: Polygons, an uncompressed RLE (counts in a list) or a compressed one.
        img_shape: (height, width) of the image.

    Returns:
        (height, width) bool.

    Raises:
        ValueError: If it is none of these or does not fit the image.

    Example:
        >>> decode_rle(dict(size=[2, 2], counts=[1, 3]), (2, 2)).astype(int)
        array([[0, 1],
               [1, 1]])
    """
    (rle,) = read_rles([segmentation], img_shape)
    return coco_mask.decode(rle).view(bool)


def read_rles(segmentations: Sequence, img_shape: tuple[int, int]) -> list[dict]:
    """Check COCO segmentations of any kind and write them the one way that pycocotools does.

    Args:
        segmentations: N of those that :func:`decode_rle` takes.
        img_shape: (height, width) of their image.

    Returns:
        N RLEs as of :func:`encode_rle`; equal masks have equal ones.

    Raises:
        ValueError: If one is of no such kind or does not fit the image.

    Example:
        >>> read_rles([dict(size=[2, 2], counts=[1, 3]), [[0, 0, 2, 0, 2, 2, 0, 2]]], (2, 2))
        [{'size': [2, 2], 'counts': '13'}, {'size': [2, 2], 'counts': '04'}]
    """
    if not segmentations:
        return []
    texts, runs, counts = _checked_runs(segmentations, [img_shape] * len(segmentations))
    rles = [dict(size=list(img_shape), counts=text.decode('ascii')) for text in texts]
    is_empty = runs == 0
    is_empty[counts.cumsum() - counts] = False  # there may be no ground before the object
    owners = np.arange(len(counts)).repeat(counts)
    for index in np.unique(owners[is_empty]).tolist():
        rles[index] = encode_rle(coco_mask.decode(rles[index]))
    if _has_padding(b''.join(texts)):
        for rle in rles:
            rle['counts'] = coco_mask.merge([rle])['counts'].decode('ascii')
    return rles


def check_segmentation(segmentation: Any, img_shape: tuple[int, int]) -> None:
    """Check a COCO segmentation without drawing it.

    Args:
        segmentation: One that :func:`decode_rle` takes.
        img_shape: (height, width) of the image.

    Raises:
        ValueError: If it is neither polygons nor an RLE, does not fit the image, or has polygons
            that no object of the image can have.

    Example:
        >>> check_segmentation(dict(size=[2, 2], counts='13'), (2, 3))
        Traceback (most recent call last):
        ValueError: its size is [2, 2], but its image has height and width [2, 3]
    """
    check_segmentations([segmentation], [img_shape])


def check_segmentations(segmentations: Sequence, img_shapes: Sequence[tuple[int, int]]) -> None:
    """Check N segmentations as :func:`check_segmentation` does, faster than one by one.

    Args:
        segmentations: N of those that :func:`decode_rle` takes.
        img_shapes: N (height, width) of their images.

    Raises:
        ValueError: If one is wrong.

    Example:
        >>> check_segmentations([dict(size=[2, 2], counts=[1, 2])], [(2, 2)])
        Traceback (most recent call last):
        ValueError: its runs do not add up to the 4 pixels of the image
    """
    texts, shapes = [], []
    for segmentation, img_shape in zip(segmentations, img_shapes, strict=True):
        if isinstance(segmentation, list):
            _check_polygons(segmentation, img_shape)
        elif (text := _runs_text(segmentation, img_shape)) is not None:
            texts.append(text)
            shapes.append(img_shape)
    if texts:
        _checked_texts(texts, shapes)


def read_edges(segmentations: Sequence, img_shapes: Sequence[tuple[int, int]]) -> Edges:
    """Check COCO segmentations of any kind and find their edges.

    Args:
        segmentations: N of those that :func:`decode_rle` takes.
        img_shapes: N (height, width) of their images.

    Returns:
        The edges of the N masks; neighbours may be equal, where a run has no pixels.

    Raises:
        ValueError: If one is of no such kind or does not fit its image.

    Example:
        >>> read_edges([dict(size=[2, 2], counts=[1, 2, 1])], [(2, 2)]).positions.tolist()
        [1, 3]
    """
    if not segmentations:
        return Edges(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    _, runs, counts = _checked_runs(segmentations, img_shapes)
    ends = runs.cumsum()
    stops = counts.cumsum()
    ends[counts[0] :] -= ends[stops[:-1] - 1].repeat(counts[1:])
    # The last run of ground ends with the image, not at the object.
    is_ground = counts % 2 == 1
    return Edges(np.delete(ends, stops[is_ground] - 1), counts - is_ground)


def rle_bboxes(rles: Sequence[dict]) -> np.ndarray:
    """Find the smallest box around each mask, as :func:`tight_bboxes` does.

    Args:
        rles: N RLEs of :func:`read_rles`.

    Returns:
        (N, 4) int64 boxes xyxy, x2 and y2 exclusive; zeros for an empty mask.

    Example:
        >>> rle_bboxes([dict(size=[2, 2], counts='13')]).tolist()
        [[0, 0, 2, 2]]
    """
    bboxes = np.zeros((len(rles), 4), dtype=np.int64)
    if len(rles):
        bboxes[:] = coco_mask.toBbox(list(rles))
        bboxes[:, 2:] += bboxes[:, :2]
    return bboxes


def rle_areas(rles: Sequence[dict]) -> list[int]:
    """Count the pixels of masks.

    Args:
        rles: N RLEs of :func:`read_rles`.

    Returns:
        N numbers.

    Example:
        >>> rle_areas([dict(size=[2, 2], counts='13')])
        [3]
    """
    # One by one: with NumPy 2, pycocotools takes no more than 255 at once.
    return [int(coco_mask.area(rle)) for rle in rles]


@lru_cache
def _empty_counts(height: int, width: int) -> str:
    nothing = np.zeros(0, dtype=np.int64)
    (rle,) = encode_edges(Edges(nothing, np.zeros(1, dtype=np.int64)), [(height, width)])
    return rle['counts']


def _checked_runs(
    segmentations: Sequence, img_shapes: Sequence[tuple[int, int]]
) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    _check_pixels(img_shapes)
    texts = list(map(_compressed_counts, segmentations, img_shapes))
    return texts, *_checked_texts(texts, img_shapes)


def _checked_texts(
    texts: list[bytes], img_shapes: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    runs, counts = _read_runs(texts)
    starts = counts.cumsum() - counts
    # pycocotools fills what the runs leave open with whatever lies in memory.
    pixels = np.prod(img_shapes, axis=1)
    wrong = np.add.reduceat(runs, starts) != pixels
    wrong |= np.minimum.reduceat(runs, starts) < 0
    if wrong.any():
        raise ValueError(_wrong_sum(pixels[wrong][0]))
    return runs, counts


def _wrong_sum(pixels: int) -> str:
    return f'its runs do not add up to the {pixels} pixels of the image'


def _compressed_counts(segmentation: dict | list | None, img_shape: tuple[int, int]) -> bytes:
    height, width = img_shape
    if isinstance(segmentation, list):
        _check_polygons(segmentation, img_shape)
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))['counts']
    if (text := _runs_text(segmentation, img_shape)) is not None:
        return text
    rle = dict(size=[height, width], counts=segmentation['counts'])
    return coco_mask.frPyObjects(rle, height, width)['counts']


def _runs_text(segmentation: Any, img_shape: tuple[int, int]) -> bytes | None:
    """The counts of a compressed RLE; None of one whose counts are a list, which adds up."""
    if segmentation is None:
        raise ValueError('there are neither polygons nor an RLE')
    if not isinstance(segmentation, dict) or not {'size', 'counts'} <= segmentation.keys():
        raise ValueError('it is neither polygons nor an RLE with size and counts')
    size, counts, (height, width) = segmentation['size'], segmentation['counts'], img_shape
    if size not in ([height, width], (height, width)):
        is_turned = size in ([width, height], (width, height))
        raise ValueError(
            f'its size is {size}, but its image has height and width {[height, width]}'
            + (', as if one of them were of the photograph as EXIF turns it' if is_turned else '')
        )
    if isinstance(counts, str) and counts.isascii():
        return counts.encode('ascii')
    if isinstance(counts, bytes):
        return counts
    if not isinstance(counts, list) or not all(isinstance(run, int) for run in counts):
        raise ValueError(_BROKEN_COUNTS)
    if min(counts, default=-1) < 0 or sum(counts) != height * width:
        raise ValueError(_wrong_sum(height * width))
    return None


def _check_polygons(polygons: list, img_shape: tuple[int, int]) -> None:
    if not polygons:
        raise ValueError('its list of polygons is empty')
    if _is_bitmap(polygons, img_shape):
        raise ValueError('it is a bitmap as lists of rows: write it as an RLE or as polygons')
    # pycocotools walks along the outline: a corner far away, or many, take all memory.
    limit = _FARTHEST_CORNER * max(img_shape)
    steps, in_unit, is_whole = 0, True, True
    for polygon in polygons:
        if not isinstance(polygon, list):
            raise ValueError('it is no list of polygons: write [[x1, y1, x2, y2, x3, y3, ...]]')
        if polygon and isinstance(polygon[0], list):
            raise ValueError('a polygon is a list of lists: write [x1, y1, x2, y2, x3, y3, ...]')
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(
                f'a polygon has {len(polygon)} numbers, not x and y of at least three corners'
            )
        try:
            corners = np.array(polygon)
            is_far = corners.dtype.kind not in 'if' or not (np.abs(corners) < limit).all()
        except ValueError:  # lists of several lengths
            is_far = True
        if is_far or corners.ndim != 1:
            raise ValueError('a polygon has a corner that is no number or far outside the image')
        in_unit &= bool(((corners >= 0) & (corners <= 1)).all())
        is_whole &= bool((corners % 1 == 0).all())
        corners = corners.reshape(-1, 2)
        edges = np.abs(np.roll(corners, 1, axis=0) - corners).max(axis=1)
        steps += 5 * edges.sum() + len(edges)
    # Whole numbers may be the image's first pixel.
    if in_unit and not is_whole:
        raise ValueError(
            'its polygons lie between 0 and 1, so they are parts of the image: write them in pixels'
        )
    if steps > _MOST_STEPS:
        raise ValueError(
            f'its outline is {steps / 5:.0f} pixels long, which no object needs: draw it with '
            'fewer corners'
        )


def _check_pixels(img_shapes: Sequence[tuple[int, int]]) -> None:
    for height, width in img_shapes:
        if height * width > MOST_PIXELS:
            raise ValueError(
                f'its image of {width}x{height} has more than the {MOST_PIXELS} pixels that run '
                'lengths can tell: cut the image into parts'
            )


def _is_bitmap(rows: list, img_shape: tuple[int, int]) -> bool:
    """Whether lists are the rows of a bitmap, of 0 and 1 or of 0 and 255, not polygons."""
    width = len(rows[0]) if isinstance(rows[0], list) else 0
    if not width or not all(isinstance(row, list) and len(row) == width for row in rows):
        return False
    # One list may be a polygon; several equally long ones, all of whose corners are 0 or 1, are
    # none, nor are three of 0 and 255. Of as many as the image has rows there are other signs.
    is_size = (len(rows), width) == tuple(img_shape)
    if not is_size and len(rows) == 1:
        return False
    values = [value for row in rows for value in row]
    if not all(type(value) in (int, float, bool) for value in values):
        return False
    levels = set(values)
    if is_size and (levels <= {0, 255} or (min(levels) >= 0 and max(levels) <= 1)):
        return True
    return levels <= {0, 1} or (len(rows) > 2 and levels <= {0, 255})


def _read_runs(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Read the run lengths out of compressed counts.

    Args:
        texts: N of them.

    Returns:
        (R,) int64 runs, text after text, and (N,) int64 how many each has: one at least.

    Raises:
        ValueError: If a text is no compressed counts.
    """
    bits = np.frombuffer(b''.join(texts), dtype=np.uint8) - np.uint8(48)
    stops = np.cumsum([len(text) for text in texts])
    # Of each run's characters all but the last one say by the sixth bit that another follows.
    if not all(texts) or bits.max() > 63 or bits[stops - 1].max() > 31:
        raise ValueError(_BROKEN_COUNTS)
    ends = (bits < 32).nonzero()[0]
    lengths = ends.copy()
    lengths[1:] -= ends[:-1]
    lengths[0] += 1
    if lengths.max() > _LONGEST_RUN:
        raise ValueError(_BROKEN_COUNTS)
    begins = ends - lengths + 1
    shifts = 5 * (np.arange(len(bits)) - begins.repeat(lengths))
    values = np.add.reduceat((bits & 31).astype(np.int64) << shifts, begins)
    values -= (bits[ends] >> 4).astype(np.int64) << 5 * lengths

    counts = ends.searchsorted(stops)
    counts[1:] -= counts[:-1].copy()
    # Sums of every other run: in two columns, of which each text's runs begin at the left.
    starts = counts.cumsum() - counts
    rows = (counts + 1) // 2
    top = rows.cumsum() - rows
    places = np.arange(len(values)) + (2 * top - starts).repeat(counts)
    columns = np.zeros((rows.sum(), 2), dtype=np.int64)
    columns.reshape(-1)[places] = values
    columns[top, 0] = 0
    sums = columns.cumsum(axis=0)
    sums -= (sums[top] - columns[top]).repeat(rows, axis=0)
    runs = sums.reshape(-1)[places]
    runs[starts] = values[starts]
    return runs, counts


def _has_padding(text: bytes) -> bool:
    """Whether a run takes more characters than it needs: the last one only repeats the sign."""
    chars = np.frombuffer(text, dtype=np.uint8)
    before, last = chars[:-1], chars[1:]
    positive = (last == ord('0')) & (before >= ord('P')) & (before < ord('`'))
    negative = (last == ord('O')) & (before >= ord('`'))
    return bool((positive | negative).any())


def _row_major_changes(window: np.ndarray) -> np.ndarray:
    """Find where the columns of a window change, the rows above and below it being ground."""
    height, width = window.shape
    padded = np.zeros((height + 2) * width, dtype=bool)
    padded[width:-width].reshape(height, width)[:] = window
    return (padded[width:] != padded[:-width]).nonzero()[0]


def _compress(runs: Sequence[np.ndarray], sizes: list[list[int]]) -> list[dict]:
    rles = [dict(size=size, counts=own) for size, own in zip(sizes, runs, strict=True)]
    texts = coco_mask.frPyObjects(rles, *sizes[0])
    return [
        dict(size=size, counts=rle['counts'].decode('ascii'))
        for size, rle in zip(sizes, texts, strict=True)
    ]
