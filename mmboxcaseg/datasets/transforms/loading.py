"""Reading images and masks, with errors that say which file is broken.

Pixels stay as they are stored, whatever orientation a file's EXIF data name: boxes and masks are
drawn on the stored ones.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import decode_rle
from mmboxcaseg.registry import TRANSFORMS


def read_image(path: str) -> np.ndarray:
    """Read an image.

    Args:
        path: An image file.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        InputError: If the file is missing or not an image.
    """
    return _decode(path, cv2.IMREAD_COLOR)


def read_mask(path: str, level: int = 127) -> np.ndarray:
    """Read a mask; by default pixels of more than half of the full intensity are object.

    Args:
        path: An image file, 0 for ground and 255 for object; colours are turned to grey.
        level: Pixels above it are object.

    Returns:
        (H, W) uint8, 0 or 1.

    Raises:
        InputError: If the file is missing, not an image, or has no object.
    """
    mask = (_decode(path, cv2.IMREAD_GRAYSCALE) > level).view(np.uint8)
    if not mask.any():
        raise InputError(
            f'mask {path} has no pixel above {level}: are its values 0 and 255? '
            'A mask without an object must be removed from the set, with its image'
        )
    return mask


def read_image_shape(path: str | Path) -> tuple[int, int]:
    """Read height and width of an image, and make sure that its file is whole.

    Pillow refuses a file that is cut off; OpenCV before 5 takes it and leaves the rest grey.

    Raises:
        InputError: If the file is missing, not an image or cut off.
    """
    try:
        with Image.open(path) as image:
            shape = image.height, image.width
            # All of a JPEG is read, but no more than an eighth of its pixels made: a third faster.
            image.draft('L', (1, 1))
            image.load()
    except Exception:  # a broken file makes Pillow raise nearly anything
        raise InputError(
            f'{path} cannot be read as an image or is cut off: replace it or remove it'
        ) from None
    return shape


def _decode(path: str, flag: int) -> np.ndarray:
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f'cannot read {path}: {error.strerror}') from error
    try:
        image = cv2.imdecode(data, flag | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    except cv2.error:  # it has more pixels than OpenCV takes
        image = None
    if image is None:
        raise InputError(f'{path} cannot be decoded: replace it or remove it from the set')
    return image


@TRANSFORMS.register_module()
class LoadPatchImage(BaseTransform):
    """Read the image of a sample and, where the sample has one, its mask.

    The last image is kept: the boxes of an image follow each other in a test, so it is decoded
    once for all of them. A sample that has its ``img`` keeps it.

    Required keys: ``img`` or ``img_path``; ``mask_path`` of a salient sample, ``mask`` (an RLE) of
    a box with a mask; ``height`` and ``width`` are compared with the image if they
    are there.

    Added keys: ``img`` (H, W, 3) uint8 BGR, ``img_shape``, ``ori_shape`` and, with a mask,
    ``gt_seg_map`` (H, W) uint8.
    """

    def __init__(self) -> None:
        self._last: tuple[str, np.ndarray] | None = None

    def transform(self, results: dict) -> dict:
        """Read; raises :class:`InputError` if a file is broken or of another size than said."""
        path = results.get('img_path')
        if 'img' not in results:
            if self._last is None or self._last[0] != path:
                self._last = path, read_image(path)
            results['img'] = self._last[1]
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        said = results.get('height'), results.get('width')
        if None not in said and said != results['img_shape']:
            raise InputError(
                f'{path} is {results["img_shape"][1]}x{results["img_shape"][0]}, but its '
                f'annotation file says {said[1]}x{said[0]}: the boxes belong to another image'
            )
        if 'mask_path' in results:
            results['gt_seg_map'] = read_mask(results['mask_path'])
            if results['gt_seg_map'].shape != results['img_shape']:
                raise InputError(f'mask {results["mask_path"]} has another size than image {path}')
        elif 'mask' in results:
            results['gt_seg_map'] = _draw_mask(results)
        return results


def _draw_mask(results: dict) -> np.ndarray:
    try:
        mask = decode_rle(results['mask'], results['img_shape'])
    except ValueError as error:
        raise InputError(
            f'the mask of annotation {results["ann_id"]}, on {results["img_path"]}, is broken: '
            f'{error}; make it anew'
        ) from None
    return mask.view(np.uint8)
