"""Boxes other than the annotated ones: for tests, and to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmboxcaseg.errors import InputError, check_share
from mmboxcaseg.proxy import encode_rle, tight_bboxes
from mmboxcaseg.registry import TRANSFORMS

from .patches import jitter_bbox


@TRANSFORMS.register_module()
class BoxFromMask(BaseTransform):
    """Turn a salient sample into one with a box and a truth, which ``BoxMaskIoUMetric`` scores.

    Stands after ``LoadPatchImage``.

    Required key: ``gt_seg_map``. Added keys: ``bbox`` (xyxy, image pixels, the tight box),
    ``segmentation`` (the mask as compressed RLE), ``area`` (in pixels) and ``label`` (0).
    ``ori_shape`` becomes the mask's.

    Raises:
        InputError: If a sample has no mask.
    """

    def transform(self, results: dict) -> dict:
        """Draw the box around the mask."""
        if 'gt_seg_map' not in results:
            raise InputError('BoxFromMask needs samples with a mask: leave it out for other ones')
        mask = results['gt_seg_map']
        results['bbox'] = tight_bboxes(mask[None])[0].tolist()
        results['segmentation'] = encode_rle(mask)
        results['ori_shape'] = mask.shape  # of what is scored, if the image was cut
        results['area'] = int(np.count_nonzero(mask))
        results['label'] = 0
        return results


@TRANSFORMS.register_module()
class MoveBox(BaseTransform):
    """Shift and scale the box, as people do who draw it in a hurry.

    Stands before ``BoxPatch``. The mask is predicted in the moved box; the truth stays.

    Required and changed keys: ``bbox``, and ``other_bboxes`` if they are there.

    Args:
        shift: Of the centre in x and y, in parts of the box's width and height.
        scale: Factor of width and height.

    Raises:
        InputError: If nothing would be left of the box.
    """

    def __init__(self, shift: Sequence[float] = (0.0, 0.0), scale: float = 1.0) -> None:
        if scale <= 0:
            raise InputError(f'scale must be above 0, not {scale!r}')
        self.shift = np.asarray(shift, dtype=np.float64)
        self.scale = scale

    def transform(self, results: dict) -> dict:
        """Move the box; where it would leave the image, it ends at the border."""
        return _move_boxes(results, lambda: (self.shift, np.full(2, self.scale)))


@TRANSFORMS.register_module()
class RandomMoveBox(BaseTransform):
    """Move boxes at random, so that a network learns from boxes as people draw them.

    Stands before the crop, behind what changes the mask. The prompt then shows the moved box; the
    truth stays that of the whole object. A salient sample gets a box here, its mask's tight one,
    whether that is moved or not.

    Required key: ``img_shape``, and ``bbox`` or ``gt_seg_map``. Changed or added keys: ``bbox``
    (xyxy, image pixels), ``other_bboxes`` if they are there, and ``loose``, whether they are moved,
    which a ``BoxPrompt(loose=True)`` tells the network.

    Args:
        prob: Probability by which the boxes of a sample are moved, each by a draw of its own.
        shift: The centre is shifted by U(-shift, shift) of the box's width and height.
        scale: Width and height are scaled by U(scale) each. Where a box would leave the image, it
            ends at the border.

    Raises:
        InputError: If a number is out of its range; beyond a shift of 0.5 nothing of the object
            might be left in its box.
    """

    def __init__(
        self, prob: float = 0.5, shift: float = 0.1, scale: tuple[float, float] = (0.9, 1.1)
    ) -> None:
        check_share('prob', prob)
        check_share('shift', shift)
        if shift > 0.5:
            raise InputError(f'shift must be at most 0.5, not {shift!r}')
        self.scale = tuple(scale)
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise InputError(f'scale must be two factors above 0, the smaller first, not {scale}')
        self.prob = prob
        self.shift = shift

    def transform(self, results: dict) -> dict:
        """Move the boxes, or not."""
        if 'bbox' not in results:
            results['bbox'] = tight_bboxes(results['gt_seg_map'][None])[0].tolist()
        results['loose'] = np.random.random() < self.prob
        return _move_boxes(results, self._draw) if results['loose'] else results

    def _draw(self) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.random.uniform(-self.shift, self.shift, 2),
            np.random.uniform(*self.scale, 2),
        )


def _move_boxes(results: dict, draw: Callable[[], tuple[np.ndarray, np.ndarray]]) -> dict:
    """Move a sample's boxes, each by a shift and a scale that are drawn for it."""
    height, width = results['img_shape']
    border = [width, height, width, height]

    def move(bbox: Sequence[float]) -> list[float]:
        return np.clip(jitter_bbox(bbox, *draw()), 0, border).tolist()

    results['bbox'] = move(results['bbox'])
    if 'other_bboxes' in results:
        results['other_bboxes'] = list(map(move, results['other_bboxes']))
    return results
