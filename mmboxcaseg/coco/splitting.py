"""Which images train and which validate."""

from __future__ import annotations

import numpy as np

from .annotations import Coco, Id

# Of the images with boxes one in so many validates.
_VAL_EVERY = 10


def val_images(coco: Coco) -> set[Id]:
    """Choose the images that validate: a tenth of those with a box, at least one unless it is all.

    Args:
        coco: A COCO file.

    Returns:
        Their ids, the same for the same images.
    """
    used = {annotation.image_id for annotation in coco.objects}
    ids = [image.id for image in coco.images if image.id in used]
    count = -(-len(ids) // _VAL_EVERY) if len(ids) > 1 else 0
    chosen = np.random.default_rng(0).permutation(len(ids))[:count]
    return {ids[index] for index in chosen.tolist()}
