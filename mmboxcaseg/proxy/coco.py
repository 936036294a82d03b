"""COCO files: read and checked, matched with raw masks, written."""

from __future__ import annotations

import gc
import json
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from tqdm import tqdm

from mmboxcaseg.errors import InputError

from .rle import decode_rle, read_rles

#: Farthest, in pixels, that an edge of a raw mask's box may lie from the annotation's.
BOX_TOLERANCE = 0.5

# Of a box, in pixels: beyond it float32 no longer tells pixels apart.
_FARTHEST_EDGE = 1e7


@contextmanager
def paused_gc() -> Iterator[None]:
    """Build millions of objects, none of them in a cycle, without searching them for cycles.

    The search grows with what is there already: half of the time that COCO's size takes to read.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


@paused_gc()
def load_coco(path: str | Path) -> dict:
    """Read a COCO annotation file and check what everything else relies on.

    Args:
        path: JSON file.

    Returns:
        The file's content. Ids are ints or strings and unique, so are the categories' names;
        images have a size; each annotation's image and category are in the file, each box is four
        finite numbers.

    Raises:
        InputError: If the file cannot be read, is not JSON or not COCO; names what is wrong.
    """
    coco = _load_json(path, 'a COCO annotation file')
    check_coco(coco, path)
    return coco


def check_coco(coco: Any, path: str | Path) -> None:
    """Check that what a JSON file holds is what :func:`load_coco` promises.

    Args:
        coco: The content; its lists may be any sequence that holds no text.
        path: The file, for the message.

    Raises:
        InputError: If it is not; names what is wrong.
    """
    if not isinstance(coco, dict):
        raise InputError(
            f'{path} is not a COCO file: it holds a {type(coco).__name__}, not a dict; give a COCO '
            'annotation file'
        )
    for name, fields in _FIELDS.items():
        if not isinstance(coco.get(name), Sequence) or isinstance(coco[name], str):
            raise InputError(
                f'{path} is not a COCO file: it has no list {name!r}; give a COCO annotation file'
            )
        _check_entries(coco[name], name, fields, path)
    names = [category['name'] for category in coco['categories']]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f'{path} has two categories named {name!r}: rename or join them')
    img_ids = {image['id'] for image in coco['images']}
    category_ids = {category['id'] for category in coco['categories']}
    for annotation in coco['annotations']:
        where = f'annotation {annotation["id"]} of {path}'
        if annotation['image_id'] not in img_ids:
            raise InputError(
                f'{where} belongs to image {annotation["image_id"]!r}, which the file does not list'
            )
        if annotation['category_id'] not in category_ids:
            raise InputError(
                f'{where} has category {annotation["category_id"]!r}, which the file does not list'
            )


@paused_gc()
def load_results(path: str | Path) -> list[dict]:
    """Read a COCO results file of masks.

    Args:
        path: JSON file, a list with one entry per mask.

    Returns:
        The entries. Each has ``image_id``, ``segmentation`` and ``ann_id`` or ``bbox``.

    Raises:
        InputError: If the file cannot be read, is not JSON or not such a list.
    """
    results = _load_json(path, 'a COCO results file')
    check_results(results, path)
    for index, entry in enumerate(results):
        check_result(entry, f'entry {index} of {path}')
    return results


def check_results(results: Any, path: str | Path) -> None:
    """Check that what a JSON file holds is a list.

    Raises:
        InputError: If it is not.
    """
    if not isinstance(results, list):
        raise InputError(
            f'{path} is not a COCO results file: it is not a list; give raw masks, one entry each'
        )


def check_result(entry: Any, where: str) -> None:
    """Check an entry of a COCO results file of masks.

    Args:
        entry: As it is read.
        where: It, for the message.

    Raises:
        InputError: If something that :func:`load_results` promises is missing or wrong.
    """
    if not isinstance(entry, dict):
        raise InputError(f'{where} is not a dict')
    box = dict(ann_id=_ID) if 'ann_id' in entry else dict(bbox=_BOX)
    _check_keys(entry, ('image_id', 'segmentation', *box), where)
    _check_values(entry, dict(image_id=_ID, score=_NUMBER, **box), where)


def wants_mask(annotation: dict) -> bool:
    """Tell whether an annotation is one object with a box that has an area.

    Crowds and degenerate boxes are not: nothing is predicted for them, they take no part in the
    merge, and their proxy mask is empty.
    """
    _, _, width, height = annotation['bbox']
    return not annotation.get('iscrowd', 0) and width > 0 and height > 0


def annotation_bboxes(annotations: Iterable[dict]) -> np.ndarray:
    """Boxes of annotations.

    Args:
        annotations: COCO annotations.

    Returns:
        (N, 4) float64 boxes xyxy.
    """
    xywh = np.array([a['bbox'] for a in annotations], dtype=np.float64).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def annotations_by_image(coco: dict) -> dict[int, list[dict]]:
    """Group annotations, in the file's order, under every image id."""
    groups: dict[int, list[dict]] = {image['id']: [] for image in coco['images']}
    for annotation in coco['annotations']:
        groups[annotation['image_id']].append(annotation)
    return groups


def check_bboxes(coco: dict, path: str | Path) -> None:
    """Check that boxes want a mask and that those lie in their images, at least in part.

    Args:
        coco: Content of a COCO file.
        path: The file, for the message.

    Raises:
        InputError: If there is none; if one lies outside, naming the annotation and the image.
    """
    if not any(map(wants_mask, coco['annotations'])):
        raise InputError(
            f'{path} holds no box to learn from or to mask: add one with an area that is no crowd'
        )
    images = {image['id']: image for image in coco['images']}
    for annotation in filter(wants_mask, coco['annotations']):
        image = images[annotation['image_id']]
        x, y, width, height = annotation['bbox']
        if x >= image['width'] or y >= image['height'] or x + width <= 0 or y + height <= 0:
            raise InputError(
                f'annotation {annotation["id"]} of {path} has its box {annotation["bbox"]} outside '
                f'its image {image["file_name"]} ({image["width"]}x{image["height"]}): correct or '
                'remove it'
            )


def check_images(coco: dict, img_root: str | Path) -> None:
    """Check that the images whose boxes want a mask are there and look like images.

    Args:
        coco: Content of a COCO file.
        img_root: Folder of the images.

    Raises:
        InputError: If the folder or an image is missing, or a file is of no image format.
    """
    img_root = Path(img_root)
    if not img_root.is_dir():
        raise InputError(f'image folder {img_root} does not exist')
    wanted = {a['image_id'] for a in coco['annotations'] if wants_mask(a)}
    paths = (img_root / image['file_name'] for image in coco['images'] if image['id'] in wanted)
    with tqdm(paths, 'check', len(wanted), unit='image', leave=False) as progress:
        for path in progress:
            if not path.is_file():
                raise InputError(f'image {path} does not exist')
            if not cv2.haveImageReader(str(path)):
                raise InputError(f'{path} cannot be decoded: replace it or remove it from the set')


def mask_result(annotation: dict, rle: dict, score: float = 1.0) -> dict:
    """Write an annotation's raw mask as an entry of a COCO results file.

    Args:
        annotation: COCO annotation.
        rle: The mask, as of :func:`encode_rle`.
        score: How good it is thought to be, in [0, 1].

    Returns:
        The entry; ``ann_id`` says to :func:`match_results` whose mask it is.
    """
    return dict(
        image_id=annotation['image_id'],
        category_id=annotation['category_id'],
        bbox=annotation['bbox'],
        segmentation=rle,
        score=score,
        ann_id=annotation['id'],
    )


def match_results(
    coco: dict,
    results: Iterable[dict],
    path: str | Path,
    indices: Iterable[int] | None = None,
) -> dict[int, dict]:
    """Find the annotation of every raw mask.

    By ``ann_id`` where an entry has one. Otherwise the annotation of the same image whose box is
    nearest, no edge farther than :data:`BOX_TOLERANCE`; between equally near ones the one of the
    entry's category.

    Args:
        coco: Content of a COCO file.
        results: Entries of a results file.
        path: The results file, for the message.
        indices: Where the entries are in the file, if they are not all of it.

    Returns:
        Annotation id to entry.

    Raises:
        InputError: If an entry fits no annotation, several alike, or one that has a mask already.
    """
    annotations = {annotation['id']: annotation for annotation in coco['annotations']}
    by_image = annotations_by_image(coco)
    matched: dict[int, int] = {}
    by_annotation = {}
    for index, entry in zip(count() if indices is None else indices, results, strict=False):
        where = f'entry {index} of {path}'
        if 'ann_id' in entry:
            annotation = annotations.get(entry['ann_id'])
            if annotation is None or annotation['image_id'] != entry['image_id']:
                raise InputError(
                    f'{where} has ann_id {entry["ann_id"]}, which image {entry["image_id"]} does '
                    'not have'
                )
        else:
            annotation = _nearest_annotation(entry, by_image.get(entry['image_id'], []), where)
        first = matched.setdefault(annotation['id'], index)
        if first != index:
            raise InputError(
                f'{where} belongs to annotation {annotation["id"]}, which entry {first} gave a '
                'mask already'
            )
        by_annotation[annotation['id']] = entry
    return by_annotation


def replace_annotations(coco: dict, annotations: Iterable[dict]) -> dict:
    """Put new annotations in the place of those with the same id; all else stays.

    Args:
        coco: Content of a COCO file.
        annotations: One for every annotation of the file, in any order.

    Returns:
        Content of a COCO file.
    """
    replaced = {annotation['id']: annotation for annotation in annotations}
    return {**coco, 'annotations': [replaced[a['id']] for a in coco['annotations']]}


def decode_annotation(annotation: dict, img_shape: tuple[int, int], path: str | Path) -> np.ndarray:
    """Decode the mask of an annotation.

    Args:
        annotation: With ``id`` and a ``segmentation`` of any kind.
        img_shape: (height, width) of its image.
        path: The file that the segmentation comes from, for the message.

    Returns:
        (height, width) bool.

    Raises:
        InputError: If the segmentation is missing or broken; names the annotation and the file.
    """
    try:
        return decode_rle(annotation.get('segmentation'), img_shape)
    except ValueError as error:
        raise InputError(
            f'the mask of annotation {annotation["id"]} in {path} is broken: {error}; replace it '
            'or remove the annotation'
        ) from None


def read_annotations(
    annotations: Sequence[dict],
    segmentations: Sequence,
    img_shape: tuple[int, int],
    path: str | Path,
) -> list[dict]:
    """Read the masks of one image's annotations as :func:`read_rles` does.

    Args:
        annotations: N with ``id``; their own ``segmentation`` is not read.
        segmentations: Theirs, N of any kind.
        img_shape: (height, width) of the image.
        path: The file that the segmentations come from, for the message.

    Returns:
        N RLEs.

    Raises:
        InputError: If a segmentation is broken; names the annotation and the file.
    """
    try:
        return read_rles(segmentations, img_shape)
    except ValueError:
        for annotation, segmentation in zip(annotations, segmentations, strict=True):
            decode_annotation(annotation | dict(segmentation=segmentation), img_shape, path)
        raise


def check_output(
    path: str | Path,
    inputs: Iterable[str | Path] = (),
    suffixes: Sequence[str] = ('.json',),
) -> None:
    """Make sure, before long work, that a file can be written; make its folder.

    Args:
        path: File to write.
        inputs: Files that are read and must not be overwritten.
        suffixes: What its name may end in.

    Raises:
        InputError: If it cannot be written, is an input or has another suffix.
    """
    path = Path(path)
    if path.resolve() in {Path(file).resolve() for file in inputs}:
        raise InputError(f'{path} is an input file: give another output file')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'cannot make folder {path.parent}: {error.strerror}') from None
    if path.is_dir():
        raise InputError(f'cannot write {path}: it is a folder, give a file')
    if path.suffix.lower() not in suffixes:
        raise InputError(f'cannot write {path}: its name must end in {" or ".join(suffixes)}')
    # Only trying tells: os.access says yes to root even where nothing can be written.
    with suppress(_Untried), writing(path):
        raise _Untried


def write_json(content: dict | list, path: str | Path) -> None:
    """Write a JSON file as :func:`write_bytes` does."""
    # dumps runs in C, dump does not: ten times faster on a large file.
    write_bytes(json.dumps(content).encode(), path)


def write_bytes(content: bytes, path: str | Path) -> None:
    """Write a file aside and rename it, so that it is never there by half.

    Raises:
        InputError: If it cannot be written; nothing is left of it.
    """
    with writing(Path(path)) as file:
        file.write(content)


def write_coco(coco: dict, annotations: Iterable[bytes], path: str | Path) -> None:
    """Write a COCO file as :func:`write_bytes` does, without holding it.

    Args:
        coco: Its content; the annotations are not read, its lists may be any sequence.
        annotations: The annotations to write instead, a JSON text each.
        path: File to write.

    Raises:
        InputError: If it cannot be written; nothing is left of it.
    """
    with writing(Path(path)) as file:
        opening = b'{'
        for key, value in coco.items():
            file.write(opening + json.dumps(key).encode() + b': ')
            if key == 'annotations':
                write_list(annotations, file)
            elif isinstance(value, Sequence) and not isinstance(value, str):
                write_list((json.dumps(entry).encode() for entry in value), file)
            else:
                file.write(json.dumps(value).encode())
            opening = b', '
        file.write(b'}')


class _Untried(Exception):
    """Ends a trial of :func:`writing` before the file is renamed."""


def write_list(texts: Iterable[bytes], file: BinaryIO) -> None:
    """Write a JSON list.

    Args:
        texts: The JSON texts of its entries.
        file: Where to.
    """
    separator = b'['
    for text in texts:
        file.write(separator + text)
        separator = b', '
    file.write(b']' if separator == b', ' else b'[]')


@contextmanager
def writing(path: Path, aside: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file aside; it is renamed when all is written, and removed when something fails.

    Args:
        path: The file to write.
        aside: Where it is written first, in the same folder; by default under a name that no other
            process takes.

    Yields:
        The open file.

    Raises:
        InputError: If it cannot be written.
    """
    # The process's number: no file of the user's has this name.
    aside = aside or path.with_name(f'{path.name}.{os.getpid()}.tmp')
    try:
        with open(aside, 'wb') as file:
            yield file
        os.replace(aside, path)
    except BaseException as error:
        with suppress(OSError):
            aside.unlink()
        if not isinstance(error, OSError):
            raise
        raise InputError(f'cannot write {path}: {error.strerror}') from None


def _load_json(path: str | Path, kind: str) -> dict | list:
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise InputError(f'cannot read {path}: {error.strerror}') from None
    except ValueError:
        raise InputError(f'{path} is not JSON: give {kind}') from None


def _check_entries(entries: Sequence, name: str, fields: dict, path: str | Path) -> None:
    ids = set()
    for index, entry in enumerate(entries):
        _check_keys(entry, fields, f'{path} is not a COCO file: {name}[{index}]')
        _check_values(entry, dict(id=_ID), f'{name}[{index}] of {path}')
        _check_values(entry, fields, f'{_SINGULAR[name]} {entry["id"]} of {path}')
        if entry['id'] in ids:
            raise InputError(f'{path} has the id {entry["id"]} twice in {name!r}')
        ids.add(entry['id'])


def _check_keys(entry: object, keys: Iterable[str], where: str) -> None:
    for key in keys:
        if not isinstance(entry, dict) or (key not in entry and key not in _OPTIONAL):
            raise InputError(f'{where} has no {key!r}')


def _check_values(entry: dict, fields: dict, where: str) -> None:
    for key, (is_right, kind) in fields.items():
        if key in entry and not is_right(entry[key]):
            raise InputError(f'{where} has {key} {entry[key]!r}, not {kind}')


def _is_id(value: object) -> bool:
    return type(value) in (int, str)  # a bool is an int to isinstance


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_side(value: object) -> bool:
    return type(value) is int and value > 0


def _is_number(value: object, limit: float = math.inf) -> bool:
    # False for NaN too.
    return type(value) in (int, float) and -limit < value < limit


def _is_box(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(_is_number(edge, _FARTHEST_EDGE) for edge in value)
    )


_ID = (_is_id, 'an int or a string')
_TEXT = (_is_text, 'a string')
_SIDE = (_is_side, 'a positive int')
_BOX = (_is_box, 'four numbers x, y, width, height in pixels')
_NUMBER = (_is_number, 'a number')
_FIELDS = dict(
    images=dict(id=_ID, file_name=_TEXT, width=_SIDE, height=_SIDE),
    annotations=dict(id=_ID, image_id=_ID, category_id=_ID, bbox=_BOX, area=_NUMBER),
    categories=dict(id=_ID, name=_TEXT),
)
_OPTIONAL = ('area',)
_SINGULAR = dict(images='image', categories='category', annotations='annotation')


def _nearest_annotation(entry: dict, annotations: list[dict], where: str) -> dict:
    distances = np.abs(annotation_bboxes(annotations) - annotation_bboxes([entry])).max(axis=1)
    ranked = defaultdict(list)
    for annotation, distance in zip(annotations, distances, strict=True):
        if distance <= BOX_TOLERANCE:
            other_category = annotation['category_id'] != entry.get('category_id')
            ranked[distance, other_category].append(annotation)
    if not ranked:
        raise InputError(
            f'{where} has no ann_id, and image {entry["image_id"]} has no annotation with its box '
            f'{entry["bbox"]}'
        )
    nearest = ranked[min(ranked)]
    if len(nearest) > 1:
        ids = ', '.join(str(annotation['id']) for annotation in nearest)
        raise InputError(f'{where} has no ann_id, and its box fits annotations {ids} alike')
    return nearest[0]
