"""What must hold of a COCO file and its images before masks are made of them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from tqdm import tqdm

from mmboxcaseg.archives import check_folder, file_names, files_below, is_file
from mmboxcaseg.errors import InputError, warn_once
from mmboxcaseg.fileio import check_inside
from mmboxcaseg.images import IMAGE_SUFFIXES, ImageReader, read_image_shape

from .annotations import (
    Annotation,
    Coco,
    Id,
    Image,
    annotation_bboxes,
    leave_out,
    read_masks,
    tell_left_out,
)
from .wrong_entries import REFUSE, WrongEntries

#: The reason of images that are missing, broken, of another size or not to be read.
UNREADABLE = 'images that are missing or cannot be read'

# Files among which the name of a missing one is looked for: the folder may be all of a disk.
_MOST_NAMES = 200_000
# By so much of its image's side a box may leave it by carelessness.
_CARELESS = 0.05
# So many of the boxes may be wrong one by one.
_FEW = 0.1


def check_bboxes(
    coco: Coco, strict: bool = False, trust: bool = False, wrong: WrongEntries = REFUSE
) -> None:
    """Check that there are objects, and that their boxes can be meant as they stand.

    Args:
        coco: A COCO file.
        strict: Whether boxes that are probably not meant so are refused; by default they are
            warned of, once. These are boxes that leave their images and would not, were width and
            height the second corner, x and y the centre, or the image turned; that lie outside for
            more than half; or that stand there twice, or in one of several entries of an image.
        trust: Whether boxes that all lie between 0 and 1 are warned of, not refused.
        wrong: What is done with boxes that are wrong; where more than a tenth are, the file is, and
            is refused.

    Raises:
        InputError: If there is none; if all lie between 0 and 1, so are parts of the image; if one
            lies outside its image; says which, and the probable cause.
    """
    objects = coco.objects
    if not objects:
        left_out = tell_left_out(coco.annotations)
        raise InputError(
            f'{coco.path} holds no box to learn from or to mask: '
            + (left_out or 'add one with an area that is no crowd')
        )
    images = {image.id: image for image in coco.images}
    bboxes = annotation_bboxes(objects)
    sides = np.array([images[a.image_id].shape[::-1] for a in objects], dtype=np.float64)
    in_unit = (bboxes >= 0).all() and (bboxes <= 1).all() and (sides > 1).all()
    if in_unit and (bboxes % 1 > 0).any():
        sentence = (
            f'all boxes of {coco.path} lie between 0 and 1, so they are probably parts of the '
            "image's width and height: write them in pixels, or give YOLO files as YOLO"
        )
        if not trust:
            raise InputError(sentence)
        warn_once(sentence)
    cause, leave = _why_outside(bboxes, sides)
    leaving = [objects[index] for index in leave.nonzero()[0].tolist()]
    outside = (bboxes[:, :2] >= sides).any(axis=1) | (bboxes[:, 2:] <= 0).any(axis=1)
    # Where many are wrong the file is.
    most = max(_FEW * len(objects), 1)
    of_outside = wrong if outside.sum() <= most else REFUSE
    for index in outside.nonzero()[0].tolist():
        own = objects[index]
        image = images[own.image_id]
        with of_outside.noting('boxes outside their images', dict(annotation=own.id), own):
            raise InputError(
                f'annotation {own.id} of {coco.path} has its box {list(own.bbox)} outside its '
                f'image {image.file_name} ({image.width}x{image.height}): '
                + (cause or 'correct or remove it')
            )
    if outside.any():
        leave_out(coco, wrong)
        check_bboxes(coco, strict, trust, wrong)
        return
    for suspicion, suspects in _suspicions(coco, bboxes, sides, cause, leaving):
        if not strict:
            warn_once(suspicion)
            continue
        of_suspects = wrong if len(suspects) <= most else REFUSE
        for own in suspects:
            if wrong.has(own):
                continue
            with of_suspects.noting('boxes that look wrong', dict(annotation=own.id), own):
                raise InputError(suspicion)
        if not suspects:
            raise InputError(suspicion)
    leave_out(coco, wrong)


def _why_outside(bboxes: np.ndarray, sides: np.ndarray) -> tuple[str, np.ndarray]:
    """What boxes are that leave their images together, empty if it is not clear; and which do."""
    first, size = bboxes[:, :2], bboxes[:, 2:] - bboxes[:, :2]
    limits = sides * (1 + _CARELESS)
    leave = (bboxes[:, 2:] > limits).any(axis=1)
    if not leave.any():
        return '', leave
    causes = []
    if ((size > first) & (size <= limits)).all():
        causes.append(
            'all would lie inside if their last two numbers were the second corner, so they are '
            'probably x1, y1, x2, y2, where x, y, width, height are wanted'
        )
    if ((first + size / 2 <= limits) & (first - size / 2 >= sides - limits)).all():
        causes.append(
            'all would lie inside if their first two numbers were the centre, so they are probably '
            'x, y of the centre, where those of the upper left corner are wanted'
        )
    if (bboxes[leave, 2:] <= limits[leave, ::-1]).all():
        causes.append(
            'all that leave their images would lie inside if width and height changed places, so '
            'they are probably of photographs as EXIF turns them: write width and height of the '
            'turned photographs, and give --exif; or they are y, x, height, width, where x, y, '
            'width, height are wanted'
        )
    if ((size > first) & (size <= limits[:, ::-1])).all() and not causes:
        causes.append(
            'all would lie inside as y1, x1, y2, x2, so they are probably that, where x, y, width, '
            'height are wanted'
        )
    return '; or '.join(causes), leave


def _suspicions(
    coco: Coco, bboxes: np.ndarray, sides: np.ndarray, cause: str, leaving: list[Annotation]
) -> Iterator[tuple[str, list[Annotation]]]:
    """What looks wrong, and the boxes that do; none where it is the whole file."""
    if cause:
        yield f'boxes of {coco.path} leave their images, and {cause}', leaving
    inside = np.clip(np.minimum(bboxes[:, 2:], sides) - np.maximum(bboxes[:, :2], 0), 0, None)
    areas = (bboxes[:, 2:] - bboxes[:, :2]).prod(axis=1)
    outside = (inside.prod(axis=1) < areas / 2).nonzero()[0]
    if len(outside):
        images = {image.id: image for image in coco.images}
        suspects = [coco.objects[index] for index in outside.tolist()]
        first = suspects[0]
        image = images[first.image_id]
        sentence = (
            f'{len(outside)} boxes of {coco.path} lie outside their images for more than half, the '
            f'first {list(first.bbox)} (annotation {first.id}) of {image.file_name} '
            f'({image.width}x{image.height}): do they belong to images of another size, or are '
            'they x, y of the centre?'
        )
        yield sentence, suspects
    names = Counter(image.file_name for image in coco.images)
    for name, count in names.items():
        if count > 1:
            sentence = (
                f'{coco.path} has {count} entries of image {name}: give it one, so that its boxes '
                'know of each other'
            )
            yield sentence, []
            break
    seen: dict[tuple, Id] = {}
    again = []
    for annotation in coco.objects:
        key = annotation.image_id, annotation.category_id, tuple(annotation.bbox)
        first = seen.setdefault(key, annotation.id)
        if first != annotation.id:
            again.append((first, annotation))
    if again:
        first, annotation = again[0]
        sentence = (
            f'annotations {first} and {annotation.id} of {coco.path} are the same box twice: '
            'remove one of each such pair, or they would share its mask'
        )
        yield sentence, [annotation for _, annotation in again]


def similar_classes(coco: Coco) -> list[str]:
    """Find classes that may be one: their names differ in capitals, spaces and signs alone.

    Returns:
        A sentence for each such group.
    """
    groups: dict[str, list[str]] = {}
    for category in coco.categories:
        letters = ''.join(filter(str.isalnum, category.name.casefold()))
        groups.setdefault(letters or category.name, []).append(category.name)
    return [
        f'classes {" and ".join(map(repr, names))} may be one: if so, give both one name'
        for names in groups.values()
        if len(names) > 1
    ]


def check_true_masks(coco: Coco, wrong: WrongEntries = REFUSE) -> None:
    """Check that the true masks of a file can be read.

    Args:
        coco: A COCO file.
        wrong: What is done with annotations whose mask cannot.

    Raises:
        InputError: If one is broken or of another size than its image; names the annotation.
    """
    for image, objects in coco.objects_by_image():
        for annotation in objects:
            with wrong.noting('broken masks', dict(annotation=annotation.id), annotation):
                if (mask := annotation.true_mask) is not None:
                    read_masks({annotation.id: mask}, image.shape, coco.path)
    leave_out(coco, wrong)


def image_paths(
    images: Iterable[Image],
    folder: str | Path,
    ann_file: str | Path,
    wrong: WrongEntries = REFUSE,
) -> dict[Id, str]:
    """Find the files of images.

    Args:
        images: Of a COCO file.
        folder: Where they lie.
        ann_file: The file, for the message.
        wrong: What is done with images that are missing.

    Returns:
        Image id to path.

    Raises:
        InputError: If the folder or an image is missing, or a name leads out of the folder; see
            :func:`mmboxcaseg.fileio.check_inside`.
    """
    folder = Path(folder)
    check_folder(folder)
    # A listing of each folder instead of a look-up per image.
    present: dict[str, set[str]] = {}
    paths = {}
    for image in images:
        parent, name = os.path.split(image.file_name)
        if parent not in present:
            present[parent] = _names_of_own(folder, parent)
        if name not in present[parent]:
            with wrong.noting(UNREADABLE, dict(image=image.id), image):
                _check_present(image.file_name, folder, ann_file)
        paths[image.id] = os.path.join(folder, image.file_name)
    return paths


def _check_present(name: str, folder: Path, ann_file: str | Path) -> None:
    check_inside(folder, name, f'image {name} of {ann_file}')
    path = os.path.join(folder, name)
    if not is_file(path):
        near = nearest_name(name, folder)
        hint = f': {near} lies in {folder}; correct the file_name, or rename the file'
        if os.path.islink(path):
            near, hint = path, ': it is a link that leads nowhere (dvc pull, git annex get?)'
        raise InputError(f'image {path} of {ann_file} does not exist{hint if near else ""}')


def _names_of_own(folder: Path, parent: str) -> set[str]:
    """Names of what lies in a folder below, but no links; empty if it leads out or is none."""
    path = folder / parent
    try:
        check_inside(folder, parent, parent)
        if not path.is_dir():
            return file_names(path)
        return {entry.name for entry in os.scandir(path) if not entry.is_symlink()}
    except (InputError, OSError, ValueError):
        return set()


def nearest_name(name: str, folder: Path) -> str | None:
    """Find what an image that is missing may be called in truth.

    Args:
        name: As the file of the boxes has it.
        folder: Where it should lie.

    Returns:
        The path below the folder of the image that is called most alike, None if none is.
    """
    files = islice(files_below(folder), _MOST_NAMES)
    paths = sorted(path for path in files if path.lower().endswith(IMAGE_SUFFIXES))
    plain = {_plain(path.rsplit('/', 1)[-1]): path for path in paths}
    bare = _plain(name.replace('\\', '/').rsplit('/', 1)[-1])
    stems = {os.path.splitext(form)[0]: there for form, there in plain.items()}
    if same := plain.get(bare) or stems.get(os.path.splitext(bare)[0]):
        return same
    # Images of one folder often differ in their number alone.
    alike = [there for there in plain if _numbers(there) == _numbers(bare)]
    return next((plain[near] for near in get_close_matches(bare, alike, 1, 0.8)), None)


def _numbers(name: str) -> list[str]:
    return [digits.lstrip('0') for digits in re.findall('[0-9]+', name)]


def _plain(name: str) -> str:
    """A name without what programs write in different ways."""
    return unicodedata.normalize('NFC', unquote(name)).casefold().strip()


def images_of_objects(coco: Coco) -> list[Image]:
    """The images that have an object."""
    used = {annotation.image_id for annotation in coco.objects}
    return [image for image in coco.images if image.id in used]


def check_images(
    coco: Coco,
    folder: str | Path,
    reader: ImageReader,
    wrong: WrongEntries = REFUSE,
    workers: int = 1,
) -> None:
    """Check that the images that have an object are there and of the size that the file says.

    Warns, once, of photographs that EXIF turns, and of images of more than 8 bits.

    Args:
        coco: A COCO file.
        folder: Of the images.
        reader: How they are read.
        wrong: What is done with images that are wrong; if they are left out, all are read as a
            whole first, because only that tells those that are cut off.
        workers: Threads that read them.

    Raises:
        InputError: If the folder or an image is missing, a file is no image, too large, or of
            another size; says so if its boxes are of the photograph as EXIF turns it.
    """
    images = images_of_objects(coco)
    paths = image_paths(images, folder, coco.path, wrong)
    if wrong.skip:
        _note_unreadable([i for i in images if not wrong.has(i)], paths, reader, wrong, workers)
        leave_out(coco, wrong)
        images = images_of_objects(coco)
    check_headers({paths[image.id]: image.shape for image in images}, coco.path, reader)


def _note_unreadable(
    images: list[Image],
    paths: Mapping[Id, str],
    reader: ImageReader,
    wrong: WrongEntries,
    workers: int,
) -> None:
    def read(image: Image) -> None:
        reader.read(paths[image.id], image.shape)
        read_image_shape(paths[image.id], reader)  # OpenCV takes a file that is cut off

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        tasks = [pool.submit(read, image) for image in images]
        for image, task in zip(tqdm(images, 'read', unit='image', leave=False), tasks, strict=True):
            with wrong.noting(UNREADABLE, dict(image=image.id), image):
                task.result()


def check_headers(
    shapes: Mapping[str, tuple[int, int]], source: str | Path, reader: ImageReader
) -> None:
    """Do what :func:`check_images` does with images that are there.

    Args:
        shapes: Path to (height, width) that the file of the boxes says.
        source: That file.
        reader: How they are read.

    Raises:
        InputError: As :func:`check_images`.
    """
    other: list[str] = []
    turned: list[str] = []
    deep: list[str] = []
    for path, said in tqdm(shapes.items(), 'check', unit='image', leave=False):
        header = reader.header(path)
        if said != (header.turned if reader.exif else header.stored):
            other.append(path)
        if header.orientation > 1:
            turned.append(path)
        if header.is_deep:
            deep.append(path)
    if other:
        # The turned ones tell more, should there be others.
        path = next((p for p in other if reader.is_other_frame(p, shapes[p])), other[0])
        more = f' ({len(other)} images are of another size than said)' if len(other) > 1 else ''
        raise InputError(reader.explain_shape(path, shapes[path], source) + more)
    if turned and not reader.exif:
        warn_once(
            f'EXIF turns {len(turned)} images of {source}, such as {turned[0]}: its boxes are '
            'taken to be of the pixels as stored; if they were drawn on the turned photographs, '
            'give --exif (exif=True in a config), in every step'
        )
    if deep:
        warn_once(
            f'{len(deep)} images of {source}, such as {deep[0]}, have more than 8 bits: their '
            'lowest and highest values become 0 and 255'
        )
