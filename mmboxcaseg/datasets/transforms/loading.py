"""Loading the image and the mask of a patch, with errors that say which file is broken."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmboxcaseg.errors import InputError
from mmboxcaseg.images import ImageReader, read_mask
from mmboxcaseg.proxy import decode_rle
from mmboxcaseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadPatchImage(BaseTransform):
    """Read the image of a sample and, where the sample has one, its mask.

    The last image is kept: the boxes of an image follow each other in a test, so it is decoded
    once for all of them. A sample that has its ``img`` keeps it.

    Required keys: ``img`` or ``img_path``; ``mask_path`` of a salient sample, and its
    ``mask_level`` if that is not 127; ``mask`` (an RLE) of a box with a mask; ``height`` and
    ``width`` are compared with the image if they are there.

    Added keys: ``img`` (H, W, 3) uint8 BGR, ``img_shape``, ``ori_shape`` and, with a mask,
    ``gt_seg_map`` (H, W) uint8.

    Args:
        **settings: Of :class:`mmboxcaseg.images.ImageReader`: ``exif``, ``max_pixels``, ``bands``.
    """

    def __init__(self, **settings: Any) -> None:
        self.reader = ImageReader.of(**settings)
        self._last: tuple[str, np.ndarray] | None = None

    def transform(self, results: dict) -> dict:
        """Read; raises :class:`InputError` if a file is broken or of another size than said."""
        path = results.get('img_path')
        is_given = 'img' in results
        if not is_given:
            if self._last is None or self._last[0] != path:
                self._last = path, self.reader.read(path)
            results['img'] = self._last[1]
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        said = results.get('height'), results.get('width')
        if None not in said and said != results['img_shape']:
            given = results['img_shape'] if is_given else None
            raise InputError(self.reader.explain_shape(path, said, 'its annotation file', given))
        if 'mask_path' in results:
            results['gt_seg_map'] = read_mask(
                results['mask_path'], results.get('mask_level', 127), self.reader
            )
            if results['gt_seg_map'].shape != results['img_shape']:
                if self.reader.is_other_frame(path, results['gt_seg_map'].shape):
                    mask = results['mask_path']
                    raise InputError(
                        self.reader.explain_shape(path, results['gt_seg_map'].shape, mask)
                    )
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
