"""Which images train and which validate."""

from __future__ import annotations

import numpy as np

from .annotations import Coco, Id
from .checks import images_of_objects

# Of the images with boxes one in so many validates.
_VAL_EVERY = 10


def val_images(coco: Coco) -> set[Id]:
    """Choose the images that validate: a tenth of those with a box, at least one unless it is all.

    Args:
        coco: A COCO file.

    Returns:
        Their ids, the same for the same images.
    """
    ids = [image.id for image in images_of_objects(coco)]
    count = -(-len(ids) // _VAL_EVERY) if len(ids) > 1 else 0
    chosen = np.random.default_rng(0).permutation(len(ids))[:count]
    return {ids[index] for index in chosen.tolist()}
