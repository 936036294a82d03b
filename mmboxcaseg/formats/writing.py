"""Masks in the formats of other programs, and how much each loses."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmboxcaseg.coco.annotations import Coco, Id
from mmboxcaseg.coco.checks import image_paths
from mmboxcaseg.coco.proxies import load_proxy_file, read_proxies
from mmboxcaseg.coco.splitting import val_images
from mmboxcaseg.errors import InputError, check_share
from mmboxcaseg.fileio import make_folder, replacing_folder

from .coco_json import write_coco_polygons, write_rf_detr
from .id_maps import MOST_CITYSCAPES, MOST_VOC, write_cityscapes_png, write_voc_png
from .label_studio import write_label_studio
from .labelme import write_labelme
from .mask_export import MaskExport
from .yolo import write_yolo_seg

#: What each format is called, and its writer.
MASK_FORMATS: dict[str, tuple[str, Callable[[MaskExport], None]]] = {
    'coco-polygons': ('COCO with polygons', write_coco_polygons),
    'yolo-seg': ('YOLO-seg', write_yolo_seg),
    'voc-png': ('PNG maps of Pascal VOC', write_voc_png),
    'cityscapes-png': ('PNG maps of Cityscapes', write_cityscapes_png),
    'labelme': ('LabelMe', write_labelme),
    'label-studio': ('brush predictions of Label Studio', write_label_studio),
    'rf-detr': ('data set folder of RF-DETR', write_rf_detr),
}
_MOST_CLASSES = {'voc-png': MOST_VOC, 'cityscapes-png': MOST_CITYSCAPES}
# Those in which an image's file is its name without the suffix.
_BY_STEM = ('yolo-seg', 'voc-png', 'cityscapes-png', 'labelme')


def convert_masks(
    masks: str | Path,
    images: str | Path,
    out: str | Path,
    to: str,
    min_quality: float = 0.75,
    val: set[Id] | None = None,
) -> str:
    """Write masks in another format.

    Args:
        masks: COCO file of masks, such as ``mmboxcaseg masks`` and ``mmboxcaseg generate`` write.
        images: Folder of its images.
        out: Folder to write; it must not be there.
        to: Key of :data:`MASK_FORMATS`.
        min_quality: Formats to train on have the masks of a quality above it alone; those to look
            at and to correct have all.
        val: Ids of the images that validate, where a format tells; by default a tenth of them, see
            :func:`mmboxcaseg.coco.splitting.val_images`.

    Returns:
        What was written and how well it fits the masks, in a line.

    Raises:
        InputError: If something that was given cannot be used, or the format cannot hold it.

    Example:
        >>> convert_masks('masks.json', 'images', 'yolo', 'yolo-seg')  # doctest: +SKIP
    """
    check_share('--min-quality', min_quality)
    coco = load_proxy_file(masks)
    read_proxies(coco)  # says what is wrong with it
    images, out = Path(images), Path(out)
    image_paths(coco.images, images, masks)
    check_convertible(coco, out, to)
    make_folder(out.parent)
    title, write = MASK_FORMATS[to]
    with replacing_folder(out) as folder:
        val = val_images(coco) if val is None else val
        export = MaskExport(coco, images, folder, out, min_quality, val)
        write(export)
        if not export.ious:
            raise InputError(
                f'no mask of {masks} is to be written as {to}: lower --min-quality, or make others'
            )
    return f'{out}: {title}, {_summary(export)}'


def check_convertible(coco: Coco, out: Path, to: str) -> None:
    """Check, before masks are made, that they can be written.

    Args:
        coco: Boxes or masks.
        out: Folder to write.
        to: Key of :data:`MASK_FORMATS`.

    Raises:
        InputError: If there is no such format, the folder is there, or the format cannot tell so
            many classes or these images apart.
    """
    if to not in MASK_FORMATS:
        raise InputError(f'there is no format {to!r}: take one of {", ".join(MASK_FORMATS)}')
    if out.exists():
        raise InputError(f'{out} is there already: remove it, or give another folder')
    most = _MOST_CLASSES.get(to, len(coco.categories))
    if len(coco.categories) > most:
        raise InputError(
            f'{coco.path} has {len(coco.categories)} classes, and {to} can tell {most} apart'
        )
    for image in coco.images:
        if os.path.isabs(image.file_name) or '..' in Path(image.file_name).parts:
            raise InputError(
                f'image {image.id} of {coco.path} is named {image.file_name}, which leads out of '
                f'{out}: give names below the folder of the images'
            )
    stems = Counter(image.file_name.rpartition('.')[0] for image in coco.images)
    if to in _BY_STEM and len(stems) < len(coco.images):
        raise InputError(
            f'{coco.path} has several images called {max(stems, key=stems.get)}, which {to} would '
            'write to one file: rename them'
        )


def _summary(export: MaskExport) -> str:
    ious = export.ious
    worst = min(ious, key=ious.get)
    mean = np.mean(list(ious.values()))
    fit = (
        'as they are'
        if ious[worst] == 1
        else (
            f'IoU with {export.coco.path} {mean:.4f} on average, at worst {ious[worst]:.4f} '
            f'(annotation {worst})'
        )
    )
    left_out = [f'{count} {reason}' for reason, count in (+export.left_out).items()]
    rest = f'; left out: {", ".join(left_out)}' if left_out else ''
    return f'{len(ious)} masks, {fit}{rest}'
