"""Boxes that cannot be meant as they stand, told by their numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mmboxcaseg.coco.annotations import Coco, Id, annotation_bboxes
from mmboxcaseg.coco.checks import check_bboxes
from mmboxcaseg.errors import InputError

# By so much of its image's side a box may leave it by carelessness.
_CARELESS = 0.05


def check_plausible(coco: Coco) -> None:
    """Check that boxes can be meant as they stand.

    Args:
        coco: Boxes.

    Raises:
        InputError: See :func:`check_bboxes`; also if boxes leave their images and would not, were
            width and height the second corner; if one lies outside its image for more than half; if
            an image has two entries, or a box stands there twice; says which of these.
    """
    objects = coco.objects
    if objects:
        images = {image.id: image for image in coco.images}
        bboxes = annotation_bboxes(objects)
        shapes = np.array([images[a.image_id].shape for a in objects], dtype=np.float64)
        corners, sides = bboxes[:, 2:], shapes[:, ::-1]
        # Were they x1, y1, x2, y2.
        firsts, seconds = bboxes[:, :2], corners - bboxes[:, :2]
        would_fit = ((seconds > firsts) & (seconds <= sides * (1 + _CARELESS))).all()
        if would_fit and (corners > sides * (1 + _CARELESS)).any():
            raise InputError(
                f'boxes of {coco.path} leave their images, and all would lie inside if their last '
                'two numbers were the second corner: they are probably x1, y1, x2, y2, where x, y, '
                'width, height are wanted'
            )
    check_bboxes(coco)
    inside = np.clip(np.minimum(corners, sides) - np.maximum(bboxes[:, :2], 0), 0, None)
    areas = (corners - bboxes[:, :2]).prod(axis=1)
    outside = (inside.prod(axis=1) < areas / 2).nonzero()[0]
    if len(outside):
        first = objects[outside[0]]
        image = images[first.image_id]
        raise InputError(
            f'{len(outside)} boxes of {coco.path} lie outside their images for more than half, the '
            f'first {list(first.bbox)} (annotation {first.id}) of {image.file_name} '
            f'({image.width}x{image.height}): do they belong to images of another size, or are '
            'they x, y of the centre?'
        )
    _check_twice(coco)


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


def _check_twice(coco: Coco) -> None:
    names = Counter(image.file_name for image in coco.images)
    for name, count in names.items():
        if count > 1:
            raise InputError(
                f'{coco.path} has {count} entries of image {name}: give it one, so that its boxes '
                'know of each other'
            )
    seen: dict[tuple, Id] = {}
    for annotation in coco.objects:
        key = annotation.image_id, annotation.category_id, tuple(annotation.bbox)
        first = seen.setdefault(key, annotation.id)
        if first != annotation.id:
            raise InputError(
                f'annotations {first} and {annotation.id} of {coco.path} are the same box twice: '
                'remove one of each such pair, or they would share its mask'
            )
