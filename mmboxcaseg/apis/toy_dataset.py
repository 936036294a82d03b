"""The files of a synthetic data set: shapes in COCO form, salient images beside them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from mmboxcaseg.coco.annotations import object_annotation
from mmboxcaseg.datasets.toy import TOY_CLASSES, draw_salient_image, draw_scene
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import replacing_folder, write_json

_DESCRIPTION = 'mmboxcaseg toy data set'
_MAX_OBJECTS = 5


def make_toy_dataset(
    out: str | Path, seed: int, num_train: int, num_val: int, num_salient: int, size: int
) -> None:
    """Write the whole data set; the same arguments give the same pixels and files.

    Args:
        out: Folder for ``train``, ``val``, ``annotations`` and ``salient``.
        seed: Of all images; an image depends on it and on the image's own number only.
        num_train: Images in ``train``. ``annotations/boxes_train.json`` has their boxes alone,
            ``annotations/instances_train.json`` their true masks too.
        num_val: Images in ``val``.
        num_salient: Images in ``salient/images``, their masks in ``salient/masks``.
        size: Width and height of every image in pixels.

    Raises:
        InputError: If ``out`` holds anything but an earlier toy set or cannot be written, or
            a number is too small.

    Example:
        >>> make_toy_dataset('data/toy', 0, 300, 60, 300, 128)  # doctest: +SKIP
    """
    if seed < 0:
        raise InputError(f'--seed must be 0 or more, not {seed}')
    if min(num_train, num_val, num_salient) < 1 or size < 32:
        raise InputError('a toy set needs one image of each kind and a --size of 32 or more')
    out = Path(out).resolve()
    try:
        _check_replaceable(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing_folder(out) as part:
            annotations = part / 'annotations'
            annotations.mkdir()

            train = _draw_split(part / 'train', seed, 0, num_train, size)
            write_json(train, annotations / 'instances_train.json')
            write_json(_boxes_only(train), annotations / 'boxes_train.json')
            val = _draw_split(part / 'val', seed, 1, num_val, size)
            write_json(val, annotations / 'instances_val.json')
            _draw_salient(part / 'salient', seed, num_salient, size)
    except OSError as error:
        raise InputError(f'cannot write {out}: {error.strerror}; give another folder') from None


def _check_replaceable(out: Path) -> None:
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists() and not _is_toy_dataset(out):
        raise InputError(f'{out} holds something else than a toy set: give another folder')


def _is_toy_dataset(folder: Path) -> bool:
    try:
        coco = json.loads((folder / 'annotations' / 'instances_val.json').read_text())
        return coco['info']['description'] == _DESCRIPTION
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _draw_split(folder: Path, seed: int, split: int, count: int, size: int) -> dict:
    folder.mkdir()
    coco = dict(
        info=dict(description=_DESCRIPTION),
        images=[],
        annotations=[],
        categories=[dict(id=label + 1, name=name) for label, name in enumerate(TOY_CLASSES)],
    )
    for index in tqdm(range(count), desc=folder.name):
        rng = np.random.default_rng([seed, split, index])
        num_objects = int(rng.integers(2, _MAX_OBJECTS + 1))
        image, masks, labels = draw_scene(size, num_objects, rng)
        file_name = f'{index:06d}.jpg'
        _write_image(folder / file_name, image)
        coco['images'].append(dict(id=index, file_name=file_name, width=size, height=size))
        for mask, label in zip(masks, labels, strict=True):
            id_ = len(coco['annotations']) + 1
            coco['annotations'].append(object_annotation(id_, index, int(label) + 1, mask))
    return coco


def _boxes_only(coco: dict) -> dict:
    boxes = []
    for annotation in coco['annotations']:
        box = {key: value for key, value in annotation.items() if key != 'segmentation'}
        box['area'] = box['bbox'][2] * box['bbox'][3]  # the mask's area would tell of the mask
        boxes.append(box)
    return {**coco, 'annotations': boxes}


def _draw_salient(folder: Path, seed: int, count: int, size: int) -> None:
    for name in ('images', 'masks'):
        (folder / name).mkdir(parents=True)
    for index in tqdm(range(count), desc=folder.name):
        image, mask = draw_salient_image(size, np.random.default_rng([seed, 2, index]))
        _write_image(folder / 'images' / f'{index:06d}.jpg', image)
        _write_image(folder / 'masks' / f'{index:06d}.png', mask.astype(np.uint8) * 255)


def _write_image(path: Path, image: np.ndarray) -> None:
    if not cv2.imwrite(str(path), image):
        raise InputError(f'{path} cannot be written: check the folder and the disk')
