"""Objects that are covered, crowded or cut by the image's border, made of ones that are not.

Off in the paper's configs. The one object of a salient image is seen whole, and alone; boxes hold
objects that others hide and that the border cuts, beside others of their kind.
"""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform

from mmboxcaseg.errors import InputError, check_count, check_share
from mmboxcaseg.proxy import tight_bboxes
from mmboxcaseg.registry import DATASETS, TRANSFORMS

from .patches import crop_resize


def paste_object(
    image: np.ndarray,
    mask: np.ndarray,
    other: np.ndarray,
    opacity: np.ndarray,
    corner: tuple[int, int],
    front: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Paste another object over the object of an image, or behind it.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) uint8, 0 or 1: its object.
        other: (h, w, 3) uint8, the other object.
        opacity: (h, w) float in [0, 1]: how much of the other object each pixel shows.
        corner: x and y of the other object's first pixel in the image; it may lie outside.
        front: Whether it hides the image's object, which then loses the pixels that are hidden by
            half or more, or is hidden by it.

    Returns:
        Image and mask, new ones.
    """
    place, part = _overlap(mask.shape, opacity.shape, corner)
    image, mask, opacity = image.copy(), mask.copy(), opacity[part]
    if front:
        mask[place] *= opacity < 0.5
    else:
        opacity = opacity * (1 - mask[place])
    ground = image[place].astype(np.float32)
    image[place] = np.rint(ground + opacity[..., None] * (other[part] - ground))
    return image, mask


def visible_bbox(
    mask: np.ndarray, opacity: np.ndarray, corner: tuple[int, int], front: bool
) -> list[float] | None:
    """Find the box of what is seen of an object that was pasted.

    Args:
        mask: (H, W) uint8, 0 or 1: the object of the image, as :func:`paste_object` gives it.
        opacity: As in :func:`paste_object`.
        corner: As in :func:`paste_object`.
        front: As in :func:`paste_object`.

    Returns:
        xyxy, image pixels; None if nothing is seen.
    """
    place, part = _overlap(mask.shape, opacity.shape, corner)
    seen = opacity[part] >= 0.5
    if not front:
        seen = seen & (mask[place] == 0)
    if not seen.any():
        return None
    first = [place[1].start, place[0].start]
    return (tight_bboxes(seen[None])[0] + first * 2).tolist()


def _overlap(
    shape: tuple[int, int], other_shape: tuple[int, int], corner: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where an array laid at ``corner`` of another one lies in it, and the part that does."""
    (height, width), (other_height, other_width), (x, y) = shape, other_shape, corner
    x1, y1 = max(x, 0), max(y, 0)
    x2, y2 = max(min(x + other_width, width), x1), max(min(y + other_height, height), y1)
    return np.s_[y1:y2, x1:x2], np.s_[y1 - y : y2 - y, x1 - x : x2 - x]


def truncating_edges(mask: np.ndarray, side: int, min_visible: float) -> np.ndarray:
    """Find where the image could end so that its border cuts the object.

    Args:
        mask: (H, W) uint8, 0 or 1.
        side: The border that moves inwards: 0 left, 1 top, 2 right, 3 bottom.
        min_visible: The least share of the object's pixels that is left.

    Returns:
        Edges in pixels, increasing: x of the left and right border, y of the others.
    """
    counts = mask.sum(axis=side % 2, dtype=np.int64)
    if side >= 2:
        counts = counts[::-1]
    lost = counts.cumsum()
    edges = 1 + np.flatnonzero((lost > 0) & (lost <= (1 - min_visible) * lost[-1]))
    return edges if side < 2 else len(counts) - edges[::-1]


@TRANSFORMS.register_module()
class PasteClutter(BaseTransform):
    """Paste objects of other images in front of the object and behind it.

    Stands before the crop. Samples without a mask stay as they are. An object's box becomes that
    of its visible pixels, as people draw it; a sample that has a ``bbox`` keeps it.

    Required and changed keys: ``img`` and ``gt_seg_map``. For each pasted object ``other_bboxes``
    (xyxy, image pixels) gets the box of the part that is visible when it is pasted.

    Args:
        dataset: Config of the dataset that the objects come from, a ``SalientObjectDataset``,
            without a pipeline. Give it the ``ann_file`` of the dataset that is trained on, if
            that has one: images that are held out would be seen otherwise.
        prob: Probability by which a sample gets objects pasted.
        max_num: Their number is drawn from 1 to this.
        front_prob: Probability by which one is pasted in front; it goes behind all the same if
            too little of the object would be left.
        twin_prob: Probability by which one is the image's own object once more: only the box
            tells the two apart.
        scale: The root of the area of its box is that of the object's box times exp(U(log scale)).
            Its centre lies in the object's box grown by half of its size on each side.
        min_visible: The least share of the object's pixels that is left.

    Raises:
        InputError: If a number is out of its range, or the dataset's objects have no masks.
    """

    def __init__(
        self,
        dataset: dict,
        prob: float = 0.5,
        max_num: int = 2,
        front_prob: float = 0.5,
        twin_prob: float = 0.0,
        scale: tuple[float, float] = (0.3, 1.5),
        min_visible: float = 0.5,
    ) -> None:
        check_share('prob', prob)
        check_count('max_num', max_num)
        check_share('front_prob', front_prob)
        check_share('twin_prob', twin_prob)
        _check_min_visible(min_visible)
        if not 0 < scale[0] <= scale[1]:
            raise InputError(f'scale must be two factors above 0, the smaller first, not {scale}')
        self.dataset = DATASETS.build(
            dict(dataset, pipeline=[dict(type='mmboxcaseg.LoadPatchImage')])
        )
        if self.dataset.metainfo.get('supervision') != 'mask':
            raise InputError(
                f'PasteClutter takes its objects from {type(self.dataset).__name__}, which has no '
                'masks: give a SalientObjectDataset'
            )
        self.prob = prob
        self.max_num = max_num
        self.front_prob = front_prob
        self.twin_prob = twin_prob
        self.scale = tuple(scale)
        self.min_visible = min_visible

    def transform(self, results: dict) -> dict:
        """Paste."""
        if 'gt_seg_map' not in results or np.random.random() >= self.prob:
            return results
        source = results['img'], results['gt_seg_map']
        others = list(results.get('other_bboxes', ()))
        least = self.min_visible * source[1].sum()
        for _ in range(np.random.randint(1, self.max_num + 1)):
            if np.random.random() < self.twin_prob:
                other = source
            else:
                sample = self.dataset[np.random.randint(len(self.dataset))]
                other = sample['img'], sample['gt_seg_map']
            paste = self._draw_object(*other, results['gt_seg_map'])
            front = np.random.random() < self.front_prob
            image, mask = paste_object(results['img'], results['gt_seg_map'], *paste, front)
            if mask.sum() < least:
                image, mask = paste_object(results['img'], results['gt_seg_map'], *paste, False)
                front = False
            results['img'], results['gt_seg_map'] = image, mask
            seen = visible_bbox(mask, paste[1], paste[2], front)
            if seen is not None:
                others.append(seen)
        results['other_bboxes'] = others
        return results

    def _draw_object(
        self, image: np.ndarray, mask: np.ndarray, beside: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """Cut an object out, resize and flip it at random, and find its place by another's mask."""
        bbox, near = (tight_bboxes(one[None])[0] for one in (mask, beside))
        sides = bbox[2:] - bbox[:2]
        near_sides = near[2:] - near[:2]
        factor = np.exp(np.random.uniform(*np.log(self.scale)))
        factor *= np.sqrt(near_sides.prod() / sides.prod())
        width, height = np.maximum(np.rint(factor * sides), 1).astype(int).tolist()
        image = crop_resize(image, bbox, (height, width))
        opacity = crop_resize(255 * mask, bbox, (height, width)) / np.float32(255)
        if np.random.random() < 0.5:
            image, opacity = image[:, ::-1], opacity[:, ::-1]
        centre = np.random.uniform(near[:2] - near_sides / 2, near[2:] + near_sides / 2)
        x, y = np.floor(centre - [width / 2, height / 2]).astype(int).tolist()
        return image, opacity, (x, y)


@TRANSFORMS.register_module()
class RandomTruncate(BaseTransform):
    """Cut a side off the image, through the object, as the border of an image does.

    Stands before the crop. Samples without a mask, and objects that are too thin to be cut, stay
    as they are.

    Required and changed keys: ``img``, ``img_shape``, ``gt_seg_map``, and ``bbox`` and
    ``other_bboxes`` if they are there.

    Args:
        prob: Probability by which an image is cut.
        min_visible: The least share of the object's pixels that is left.

    Raises:
        InputError: If a number is out of its range.
    """

    def __init__(self, prob: float = 0.3, min_visible: float = 0.4) -> None:
        check_share('prob', prob)
        _check_min_visible(min_visible)
        self.prob = prob
        self.min_visible = min_visible

    def transform(self, results: dict) -> dict:
        """Cut."""
        if 'gt_seg_map' not in results or np.random.random() >= self.prob:
            return results
        side = np.random.randint(4)
        edges = truncating_edges(results['gt_seg_map'], side, self.min_visible)
        if not len(edges):
            return results
        height, width = results['gt_seg_map'].shape
        window = [0, 0, width, height]
        window[side] = int(np.random.choice(edges))
        x1, y1, x2, y2 = window
        results['img'] = results['img'][y1:y2, x1:x2]
        results['gt_seg_map'] = results['gt_seg_map'][y1:y2, x1:x2]
        results['img_shape'] = results['img'].shape[:2]
        for key in {'bbox', 'other_bboxes'} & results.keys():
            corners = np.reshape(results[key], (-1, 2))
            corners = np.clip(corners, (x1, y1), (x2, y2)) - (x1, y1)
            results[key] = corners.reshape(np.shape(results[key])).tolist()
        return results


def _check_min_visible(min_visible: float) -> None:
    check_share('min_visible', min_visible)
    if min_visible == 0:
        raise InputError('min_visible must be above 0: of an object nothing would be left')
