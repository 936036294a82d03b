"""From images to patches: the crops of Sec. 3.2.2 and of the test."""

from __future__ import annotations

from numbers import Real

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes

from mmboxcaseg.errors import InputError, check_count, check_share
from mmboxcaseg.proxy import bboxes_in_window, grow_bboxes, pixel_bboxes, tight_bboxes
from mmboxcaseg.registry import TRANSFORMS

#: What lies outside an image, in BGR: ImageNet's mean, which the data preprocessors take to zero.
OUTSIDE = (104, 116, 124)


def jitter_bbox(
    bbox: np.ndarray, shift: np.ndarray, scale: np.ndarray, shift_unit: str = 'full'
) -> np.ndarray:
    """Shift and scale a box as the paper's ``box_augmentation`` (Sec. 3.2.2).

    Args:
        bbox: (4,), xyxy.
        shift: (2,), shift of the centre in x and y, as a part of the box's width and height.
        scale: (2,), factor of width and height.
        shift_unit: ``'full'``: parts of the full width and height (the paper's listing, with
            (x, y) as the centre); ``'half'``: of half of them (the released code).

    Returns:
        (4,), xyxy.
    """
    bbox = np.asarray(bbox, dtype=np.float64)
    size = bbox[2:] - bbox[:2]
    unit = size if shift_unit == 'full' else size / 2
    centre = bbox[:2] + size / 2 + shift * unit
    half = scale * size / 2
    return np.concatenate([centre - half, centre + half])


def crop_resize(
    image: np.ndarray,
    window: np.ndarray,
    size: tuple[int, int],
    outside: int | tuple[int, ...] = OUTSIDE,
) -> np.ndarray:
    """Cut a window out of an image and resize it, by area where it shrinks.

    Args:
        image: (H, W, ...) uint8.
        window: (4,) int, xyxy; it may leave the image.
        size: Height and width of the result.
        outside: Value of the pixels outside the image; by default the mean colour, BGR.

    Returns:
        (height, width, ...) uint8.
    """
    crop = _crop(image, window, outside)
    if crop.shape[:2] == size:
        return crop.copy()
    shrinks = crop.shape[0] >= size[0] and crop.shape[1] >= size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(crop, size[::-1], interpolation=interpolation)


def _crop(image: np.ndarray, window: np.ndarray, outside: int | tuple[int, ...]) -> np.ndarray:
    """A view of the image where the window lies in it, else a filled copy."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (int(edge) for edge in window)
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    if (left, top, right, bottom) == (x1, y1, x2, y2):
        return image[y1:y2, x1:x2]
    crop = np.full((y2 - y1, x2 - x1, *image.shape[2:]), outside, dtype=image.dtype)
    if left < right and top < bottom:
        crop[top - y1 : bottom - y1, left - x1 : right - x1] = image[top:bottom, left:right]
    return crop


def context_windows(
    bboxes: np.ndarray, img_shape: tuple[int, int], margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """Find the windows that show boxes and what is around them.

    Args:
        bboxes: (N, 4), xyxy, image pixels.
        img_shape: Height and width of the image.
        margin: How far a window goes beyond its box on each side, as a part of the box's width
            and height, in whole pixels. It may leave the image.

    Returns:
        (N, 4) int windows and (N, 4) int boxes on the pixel grid, xyxy, image pixels.
    """
    pixels = pixel_bboxes(bboxes, img_shape)
    return grow_bboxes(pixels, margin), pixels


def check_margin(margin: float) -> None:
    """Check a setting that is the margin around boxes.

    Args:
        margin: See :func:`context_windows`.

    Raises:
        InputError: If it is not a number of at least 0.
    """
    if not isinstance(margin, Real) or not 0 <= margin < float('inf'):
        raise InputError(
            f"margin must be a part of the box's sides of at least 0, such as 0.15, not {margin!r}"
        )


def patch_size(size: int | tuple[int, int]) -> tuple[int, int]:
    """Read a setting that is the size of a patch.

    Args:
        size: Height and width, or one number for both.

    Returns:
        Height and width.

    Raises:
        InputError: If it is neither, or less than a pixel.
    """
    pair = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(pair) != 2:
        raise InputError(f'size must be height and width, or one number for both, not {size!r}')
    for side in pair:
        check_count('size', side)
    return pair


def _crop_resize_mask(mask: np.ndarray, window: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    # Like the image: the nearest pixel of OpenCV lies up to half a source pixel beside it.
    x1, y1, x2, y2 = window
    if (y2 - y1, x2 - x1) == size:
        return _crop(mask, window, 0).copy()
    return (crop_resize(255 * mask, window, size, 0) > 127).view(np.uint8)


def _cut(results: dict, window: np.ndarray, size: tuple[int, int], bbox: np.ndarray | None) -> None:
    """Replace image, boxes and mask of a sample by those of a window of its image.

    The box is given in image pixels; without one it is the tight box of the mask in the patch.
    """
    results['img'] = crop_resize(results['img'], window, size)
    results['img_shape'] = size
    results['patch_bbox'] = window
    if 'gt_seg_map' in results:
        results['gt_seg_map'] = _crop_resize_mask(results['gt_seg_map'], window, size)
    if bbox is None:
        own = _mask_bbox(results)
    else:
        own = bboxes_in_window(bbox, window, size).clip(0, 2 * size[::-1])
    results['gt_bboxes'] = _patch_bboxes(own, results, window, size)


def _patch_bboxes(
    own: np.ndarray, results: dict, window: np.ndarray, size: tuple[int, int]
) -> HorizontalBoxes:
    """Put the other boxes that a patch shows a part of behind its own; both in its pixels."""
    others = bboxes_in_window(results.get('other_bboxes', ()), window, size)
    x1, y1, x2, y2 = others.T
    shown = (x1 < size[1]) & (y1 < size[0]) & (x2 > 0) & (y2 > 0)
    bboxes = np.concatenate([own.reshape(1, 4), others[shown]])
    return HorizontalBoxes(bboxes.astype(np.float32), clone=False)


@TRANSFORMS.register_module()
class RandomBoxPatch(BaseTransform):
    """Crop a box that is jittered as in Sec. 3.2.2 and resize it to a patch.

    A salient sample, which has a mask instead of a box, is cropped around its mask's tight box:
    off in the paper's configs, it makes salient patches look like box patches.

    Required keys: ``img``, and ``bbox`` or ``gt_seg_map``; ``other_bboxes`` (xyxy, image pixels) of
    a sample that has some.

    Changed or added keys: ``img``, ``img_shape``, ``gt_bboxes`` ((1 + K, 4), patch pixels: the
    box, empty if a crop missed the object, and the others that the patch shows a part of),
    ``gt_seg_map``, ``patch_bbox`` (xyxy, image pixels).

    Args:
        size: Height and width of the patch.
        shift: The centre is shifted by U(-shift, shift) of the box's width and height.
        scale: Width and height are scaled by U(scale) each.
        shift_unit: See :func:`jitter_bbox`.
        inside: Whether the crop ends at the image's border, as in the paper. Otherwise it may
            leave the image, as the test patch of :class:`BoxPatch` does with a margin; what lies
            outside gets the mean colour.
    """

    def __init__(
        self,
        size: int | tuple[int, int] = 288,
        shift: float = 0.25,
        scale: tuple[float, float] = (0.5, 1.5),
        shift_unit: str = 'full',
        inside: bool = True,
    ) -> None:
        if shift_unit not in ('full', 'half'):
            raise InputError(f"shift_unit must be 'full' or 'half', not {shift_unit!r}")
        self.size = patch_size(size)
        self.shift = shift
        self.scale = tuple(scale)
        self.shift_unit = shift_unit
        self.inside = inside

    def transform(self, results: dict) -> dict:
        """Crop."""
        bbox = results['bbox'] if 'bbox' in results else _mask_bbox(results)
        jittered = jitter_bbox(
            bbox,
            np.random.uniform(-self.shift, self.shift, 2),
            np.random.uniform(*self.scale, 2),
            self.shift_unit,
        )
        if self.inside:
            window = pixel_bboxes(jittered[None], results['img_shape'])[0]
        else:
            window = np.floor(jittered + 0.5).astype(np.int64)
            window[2:] = np.maximum(window[2:], window[:2] + 1)
        _cut(results, window, self.size, results.get('bbox'))
        return results


@TRANSFORMS.register_module()
class RandomSalientPatch(BaseTransform):
    """Resize a salient image and crop a patch at random (Sec. 3.2.2).

    Required keys: ``img``, ``gt_seg_map``. Changed or added keys as in :class:`RandomBoxPatch`.

    Args:
        resize: Height and width that the image is resized to.
        size: Height and width of the patch.
    """

    def __init__(
        self, resize: int | tuple[int, int] = 320, size: int | tuple[int, int] = 288
    ) -> None:
        self.resize = patch_size(resize)
        self.size = patch_size(size)
        if self.size[0] > self.resize[0] or self.size[1] > self.resize[1]:
            raise InputError(f'a patch of {self.size} does not fit into {self.resize}')

    def transform(self, results: dict) -> dict:
        """Crop."""
        height, width = results['img_shape']
        whole = np.array([0, 0, width, height])
        results['img'] = crop_resize(results['img'], whole, self.resize)
        results['gt_seg_map'] = _crop_resize_mask(results['gt_seg_map'], whole, self.resize)
        results['other_bboxes'] = bboxes_in_window(
            results.get('other_bboxes', ()), whole, self.resize
        )
        y = np.random.randint(self.resize[0] - self.size[0] + 1)
        x = np.random.randint(self.resize[1] - self.size[1] + 1)
        _cut(results, np.array([x, y, x + self.size[1], y + self.size[0]]), self.size, None)
        # Of the image as it was, not as it was resized.
        factor = np.array([width, height]) / self.resize[::-1]
        results['patch_bbox'] = results['patch_bbox'] * np.tile(factor, 2)
        return results


@TRANSFORMS.register_module()
class RandomDownscale(BaseTransform):
    """Shrink a patch and enlarge it again: the blur of a small object cut out of its image.

    Off in the paper's configs. Salient objects are large and sharp; without this the heads that
    only they train meet blurred patches for the first time in the test.

    Required and changed key: ``img``.

    Args:
        size: The side of the shrunken patch is drawn from U(size), in pixels.
        prob: Probability by which a patch is shrunken.
    """

    def __init__(self, size: tuple[int, int] = (20, 128), prob: float = 0.6) -> None:
        check_share('prob', prob)
        self.size = patch_size(size)
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Shrink and enlarge; a patch that is as small already stays as it is."""
        height, width = results['img'].shape[:2]
        side = np.random.randint(self.size[0], self.size[1] + 1)
        if np.random.random() < self.prob and side < min(height, width):
            small = cv2.resize(results['img'], (side, side), interpolation=cv2.INTER_AREA)
            results['img'] = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
        return results


@TRANSFORMS.register_module()
class BoxPatch(BaseTransform):
    """Crop the ground-truth box and resize it: the test patch.

    Off in the paper's configs, a margin shows the network what is around the box too. The map
    that it predicts is that of the box, grown by the ``slack`` of the network if it has one,
    whatever the margin.

    Required keys: ``img`` and ``bbox``, or ``gt_seg_map`` of a salient sample. Changed or added
    keys as in :class:`RandomBoxPatch`; ``gt_bboxes`` is the box on the pixel grid.

    Args:
        size: Height and width of the patch.
        margin: See :func:`context_windows`.
    """

    def __init__(self, size: int | tuple[int, int] = 320, margin: float = 0.0) -> None:
        check_margin(margin)
        self.size = patch_size(size)
        self.margin = margin

    def transform(self, results: dict) -> dict:
        """Crop."""
        bbox = results['bbox'] if 'bbox' in results else _mask_bbox(results)
        bboxes = np.asarray(bbox)[None]
        (window,), (pixels,) = context_windows(bboxes, results['img_shape'], self.margin)
        _cut(results, window, self.size, pixels)
        return results


@TRANSFORMS.register_module()
class WholeImagePatch(BaseTransform):
    """Resize the whole of a salient image: the patch of a test on a salient set.

    The mask stays as it is, in image pixels, to compare the map with once it is resized. Nobody
    gives a salient-object network a box: the sample's is the whole patch.

    Required key: ``img``. Changed or added keys: ``img``, ``img_shape``, ``gt_bboxes`` and
    ``patch_bbox`` as in :class:`RandomBoxPatch`.

    Args:
        size: Height and width of the patch.
    """

    def __init__(self, size: int | tuple[int, int] = 320) -> None:
        self.size = patch_size(size)

    def transform(self, results: dict) -> dict:
        """Resize."""
        height, width = results['img_shape']
        whole = np.array([0, 0, width, height])
        results['img'] = crop_resize(results['img'], whole, self.size)
        results['img_shape'] = self.size
        results['patch_bbox'] = whole
        own = bboxes_in_window(whole, whole, self.size)
        results['gt_bboxes'] = _patch_bboxes(own, results, whole, self.size)
        return results


def _mask_bbox(results: dict) -> np.ndarray:
    return tight_bboxes(results['gt_seg_map'][None])[0]
