"""The boxes of an image's other objects, as a channel of the patch.

Off in the paper's configs. What lies in a box often belongs to an object that has a box of its own:
the network is told where those are.
"""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform

from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import TRANSFORMS


def bboxes_in_window(bboxes: np.ndarray, window: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Map boxes from image pixels to the pixels of a window's patch.

    Args:
        bboxes: ``(N, 4)``, xyxy, image pixels.
        window: ``(4,)``, xyxy, image pixels.
        size: Height and width of the patch.

    Returns:
        ``(N, 4)`` float, xyxy; boxes may leave the patch.
    """
    window = np.asarray(window, dtype=np.float64)
    factor = np.asarray(size[::-1]) / (window[2:] - window[:2])
    return ((np.reshape(bboxes, (-1, 2, 2)) - window[:2]) * factor).reshape(-1, 4)


def neighbour_map(bbox: np.ndarray, neighbours: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draw the boxes of other objects.

    A box is drawn as ``own / (own + other)`` of the two areas, near 1 if it is much the smaller
    one: of two boxes that overlap, the smaller one's object is more often in front. Where several
    are, the greatest value stands; a pixel that is covered in part has that part of its value.

    Args:
        bbox: ``(4,)``, xyxy, patch pixels, the patch's own box.
        neighbours: ``(N, 4)``, xyxy, patch pixels, the others; they may leave the patch.
        size: Height and width of the patch.

    Returns:
        ``(height, width)`` uint8, values times 255.
    """
    height, width = size
    values = np.zeros(size, dtype=np.float32)
    own = _area(bbox)
    neighbours = np.asarray(neighbours, dtype=np.float64).reshape(-1, 4)
    inside = (neighbours[:, :2] < (width, height)).all(1) & (neighbours[:, 2:] > 0).all(1)
    for neighbour in neighbours[inside]:
        other = _area(neighbour)
        rows, y = _covered(neighbour[1], neighbour[3], height)
        columns, x = _covered(neighbour[0], neighbour[2], width)
        if not (len(rows) and len(columns) and own + other > 0):
            continue
        part = values[y : y + len(rows), x : x + len(columns)]
        np.maximum(part, own / (own + other) * np.outer(rows, columns), out=part)
    return np.rint(255 * values).astype(np.uint8)


def _area(bbox: np.ndarray) -> float:
    return float(max(bbox[2] - bbox[0], 0) * max(bbox[3] - bbox[1], 0))


def _covered(start: float, stop: float, length: int) -> tuple[np.ndarray, int]:
    """The covered part of each pixel of a line that is covered at all, and the first such pixel."""
    start, stop = max(start, 0.0), min(stop, float(length))
    if start >= stop:
        return np.zeros(0), 0
    pixels = np.arange(int(np.floor(start)), int(np.ceil(stop)))
    return np.minimum(pixels + 1, stop) - np.maximum(pixels, start), int(pixels[0])


@TRANSFORMS.register_module()
class NeighbourChannel(BaseTransform):
    """Append the map of :func:`neighbour_map` to a patch, for ``BoxCaseg(neighbours=True)``.

    Stands behind the crop and what changes colours, before the flip.

    Required keys: ``img``, ``patch_bbox``, ``gt_bboxes``; ``neighbour_bboxes`` (xyxy, image pixels)
    of a sample that has neighbours. Changed key: ``img``, now of four channels.

    Raises:
        InputError: If it stands in the wrong place, or a box comes without its neighbours.
    """

    def transform(self, results: dict) -> dict:
        """Append."""
        if 'patch_bbox' not in results or results.get('flip'):
            raise InputError(
                'NeighbourChannel stands in the wrong place of its pipeline: it must come after '
                'the crop and before the flip'
            )
        if 'bbox' in results and 'neighbour_bboxes' not in results:
            raise InputError(
                'NeighbourChannel needs the other boxes of the image: set with_neighbours=True of '
                'the BoxInstanceDataset'
            )
        size = results['img'].shape[:2]
        # Salient samples have those alone that were pasted.
        neighbours = np.reshape(results.get('neighbour_bboxes', ()), (-1, 4))
        drawn = neighbour_map(
            results['gt_bboxes'].tensor[0].numpy(),
            bboxes_in_window(neighbours, results['patch_bbox'], size),
            size,
        )
        results['img'] = np.dstack([results['img'], drawn])
        return results
