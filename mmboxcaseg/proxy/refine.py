"""Merge and agreement together: what turns raw masks into proxy masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .agreement import tight_bbox_agreement
from .merging import merge_rles
from .rle import rle_bboxes

#: The agreements that the paper compares (Sec. 4.2.5); the summary reports them.
AGREEMENTS = (0.75, 0.85, 0.90, 0.95)


def refine_rles(
    rles: Sequence[dict],
    bboxes: np.ndarray,
    img_shape: tuple[int, int],
    *,
    merge: bool = True,
    inclusive_boxes: bool = False,
    fixed: np.ndarray | None = None,
) -> tuple[list[dict], np.ndarray]:
    """Merge an image's raw masks and measure how well each then agrees with its box.

    Args:
        rles: N RLEs of :func:`read_rles`, raw masks of one image's objects.
        bboxes: (N, 4) their ground-truth boxes xyxy in image pixels.
        img_shape: (height, width) of the image.
        merge: Whether to merge; without, as in the rows of Table 7 that do not, the agreement is
            that of the raw masks.
        inclusive_boxes: See :func:`box_agreement`; true in the released code.
        fixed: (N,) bool, true masks: see :func:`merge_masks`. Their agreement is 1.

    Returns:
        N RLEs of the same kind and (N,) float64 box agreement.

    Example:
        >>> from mmboxcaseg.proxy import decode_rle, encode_rle
        >>> rles = [encode_rle(np.array([row])) for row in ([1, 1, 1], [0, 1, 1])]
        >>> bboxes = np.array([[0, 0, 3, 1], [1, 0, 3, 1]])
        >>> merged, agreement = refine_rles(rles, bboxes, (1, 3))
        >>> [decode_rle(rle, (1, 3)).astype(int).tolist() for rle in merged]
        [[[1, 0, 0]], [[0, 1, 1]]]
        >>> agreement.round(2).tolist()
        [0.33, 1.0]
    """
    rles = merge_rles(rles, bboxes, fixed) if merge else list(rles)
    agreement = tight_bbox_agreement(rle_bboxes(rles), bboxes, img_shape, inclusive_boxes)
    return rles, agreement if fixed is None else np.where(fixed, 1.0, agreement)
