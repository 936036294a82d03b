"""Raw masks that need no network: boxes, ellipses, GrabCut."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mmboxcaseg.coco import Image, annotation_bboxes, load_coco, mask_result
from mmboxcaseg.coco.checks import check_bboxes, check_images
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import check_output, write_json
from mmboxcaseg.images import DEFAULT_READER, ImageReader
from mmboxcaseg.proxy import box_mask, ellipse_mask, encode_rle, grabcut_mask

_SHAPES = dict(box=box_mask, ellipse=ellipse_mask)


def make_baseline_masks(
    boxes: str | Path,
    out: str | Path,
    *,
    source: str,
    img_root: str | Path | None = None,
    reader: ImageReader = DEFAULT_READER,
) -> int:
    """Draw a raw mask into every box of a COCO file.

    Args:
        boxes: COCO file; its masks are not read.
        out: COCO results file to write.
        source: What draws them: ``'box'``, ``'ellipse'`` or ``'grabcut'``.
        img_root: Folder of the images, which GrabCut looks at.
        reader: How images are read.

    Returns:
        How many masks there are.

    Raises:
        InputError: If a file cannot be read or written, an entry of it is wrong, or GrabCut gets no
            images.

    Example:
        >>> make_baseline_masks('boxes.json', 'raw.json', source='ellipse')  # doctest: +SKIP
    """
    coco = load_coco(boxes)
    check_bboxes(coco)
    inputs = [boxes]
    if source == 'grabcut':
        if img_root is None:
            raise InputError('--source grabcut looks at the images: give their folder, --images')
        inputs += [Path(img_root, image.file_name) for image in coco.images]
    check_output(out, inputs)
    if source == 'grabcut':
        check_images(coco, img_root, reader)
    results = []
    with tqdm(total=len(coco.objects), desc=source, unit='box') as progress:
        for image, objects in coco.objects_by_image():
            if objects:
                draw = _drawer(source, image, img_root, reader)
                for annotation, bbox in zip(objects, annotation_bboxes(objects), strict=True):
                    results.append(mask_result(annotation, encode_rle(draw(bbox))))
                    progress.update()
    write_json(results, out)
    return len(results)


def _drawer(
    source: str, image: Image, img_root: str | Path | None, reader: ImageReader
) -> Callable[[np.ndarray], np.ndarray]:
    """What turns boxes (4,) of the image into masks (H, W); it decodes the image once."""
    if source != 'grabcut':
        return partial(_SHAPES[source], img_shape=image.shape)
    return partial(grabcut_mask, reader.read(Path(img_root, image.file_name)))
