"""What must hold of a COCO file and its images before masks are made of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import cv2
from tqdm import tqdm

from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import check_inside

from .annotations import Coco, Id, Image, annotation_bboxes, read_masks


def check_bboxes(coco: Coco) -> None:
    """Check that there are objects, and that their boxes are pixels, at least in part of the image.

    Args:
        coco: A COCO file.

    Raises:
        InputError: If there is none; if all lie between 0 and 1, so are parts of the image; if one
            lies outside, naming the annotation and the image.
    """
    objects = coco.objects
    if not objects:
        raise InputError(
            f'{coco.path} holds no box to learn from or to mask: add one with an area that is no '
            'crowd'
        )
    images = {image.id: image for image in coco.images}
    bboxes = annotation_bboxes(objects)
    small = any(1 in images[annotation.image_id].shape for annotation in objects)
    if (bboxes <= 1).all() and (bboxes >= 0).all() and not small:
        raise InputError(
            f'all boxes of {coco.path} lie between 0 and 1, so they are probably parts of the '
            "image's width and height: write them in pixels, or give YOLO files as YOLO"
        )
    for annotation in objects:
        image = images[annotation.image_id]
        x, y, width, height = annotation.bbox
        if x >= image.width or y >= image.height or x + width <= 0 or y + height <= 0:
            raise InputError(
                f'annotation {annotation.id} of {coco.path} has its box {list(annotation.bbox)} '
                f'outside its image {image.file_name} ({image.width}x{image.height}): correct or '
                'remove it'
            )


def check_true_masks(coco: Coco) -> None:
    """Check that the true masks of a file can be read.

    Args:
        coco: A COCO file.

    Raises:
        InputError: If one is broken or of another size than its image; names the annotation.
    """
    for image, objects in coco.objects_by_image():
        masks = {annotation.id: annotation.true_mask for annotation in objects}
        read_masks({id_: m for id_, m in masks.items() if m is not None}, image.shape, coco.path)


def image_paths(images: Iterable[Image], folder: str | Path, ann_file: str | Path) -> dict[Id, str]:
    """Find the files of images.

    Args:
        images: Of a COCO file.
        folder: Where they lie.
        ann_file: The file, for the message.

    Returns:
        Image id to path.

    Raises:
        InputError: If the folder or an image is missing, or a name leads out of the folder; see
            :func:`mmboxcaseg.fileio.check_inside`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f'image folder {folder} does not exist')
    # A listing of each folder instead of a look-up per image.
    present: dict[str, set[str]] = {}
    paths = {}
    for image in images:
        parent, name = os.path.split(image.file_name)
        if parent not in present:
            present[parent] = _names_of_own(folder, parent)
        path = os.path.join(folder, image.file_name)
        if name not in present[parent]:
            check_inside(folder, image.file_name, f'image {image.file_name} of {ann_file}')
            # Unlike Path's own, it takes a name that no file can have as one of a missing file.
            if not os.path.isfile(path):
                raise InputError(f'image {path} of {ann_file} does not exist')
        paths[image.id] = path
    return paths


def _names_of_own(folder: Path, parent: str) -> set[str]:
    """Names of what lies in a folder below, but no links; empty if it leads out or is none."""
    try:
        check_inside(folder, parent, parent)
        return {entry.name for entry in os.scandir(folder / parent) if not entry.is_symlink()}
    except (InputError, OSError, ValueError):
        return set()


def images_of_objects(coco: Coco) -> list[Image]:
    """The images that have an object."""
    used = {annotation.image_id for annotation in coco.objects}
    return [image for image in coco.images if image.id in used]


def check_images(coco: Coco, folder: str | Path) -> None:
    """Check that the images that have an object are there and look like images.

    Args:
        coco: A COCO file.
        folder: Of the images.

    Raises:
        InputError: If the folder or an image is missing, or a file is of no image format.
    """
    paths = image_paths(images_of_objects(coco), folder, coco.path).values()
    for path in tqdm(paths, 'check', unit='image', leave=False):
        if not cv2.haveImageReader(path):
            raise InputError(f'{path} cannot be decoded: replace it or remove it from the set')
