"""What must hold of a COCO file and its images before masks are made of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
from tqdm import tqdm

from mmboxcaseg.errors import InputError

from .annotations import Coco, Id, Image, read_masks


def check_bboxes(coco: Coco) -> None:
    """Check that there are objects, and that their boxes lie in their images, at least in part.

    Args:
        coco: A COCO file.

    Raises:
        InputError: If there is none; if one lies outside, naming the annotation and the image.
    """
    objects = coco.objects
    if not objects:
        raise InputError(
            f'{coco.path} holds no box to learn from or to mask: add one with an area that is no '
            'crowd'
        )
    images = {image.id: image for image in coco.images}
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
        InputError: If the folder or an image is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f'image folder {folder} does not exist')
    present = {entry.name for entry in folder.iterdir()}
    paths = {}
    for image in images:
        name = image.file_name
        # One listing instead of a look-up per image; names with folders are looked up.
        if name not in present and not (folder / name).is_file():
            raise InputError(f'image {folder / name} of {ann_file} does not exist')
        paths[image.id] = str(folder / name)
    return paths


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
