from itertools import product

import numpy as np
import pytest

from mmboxcaseg.proxy import decode_rle, encode_rle, refine_rles

# The large object's mask covers the small one's.
LARGE = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
SMALL = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
MERGED = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]], bool)


def refine(masks, bboxes, **options):
    """Refine arrays: masks (N, H, W) bool and their agreement."""
    shape = masks.shape[1:]
    rles, agreement = refine_rles([encode_rle(m) for m in masks], bboxes, shape, **options)
    return np.stack([decode_rle(rle, shape) for rle in rles]), agreement


def test_refine_rles():
    masks, agreement = refine(np.stack([LARGE, SMALL]), np.array([[0, 0, 4, 3], [0, 2, 4, 4]]))
    assert (masks == [MERGED, SMALL]).all()
    # Of the merged mask, not of the raw one.
    assert agreement.tolist() == [8 / 12, 4 / 8]


def test_refine_rles_without_merge():
    raw = np.stack([LARGE, SMALL])
    masks, agreement = refine(raw, np.array([[0, 0, 4, 3], [0, 2, 4, 4]]), merge=False)
    assert (masks == raw).all()
    assert agreement.tolist() == [1, 4 / 8]


def released(masks, xywh):
    """The release's procedure, a pixel at a time: merged masks and their agreement."""
    height, width = masks.shape[1:]
    owned = [set() for _ in masks]
    for r, c in product(range(height), range(width)):
        claimants = [n for n in range(len(masks)) if masks[n, r, c]]
        if claimants:
            owned[min(claimants, key=lambda n: xywh[n][2] * xywh[n][3])].add((r, c))
    agreement = []
    for pixels, (x, y, w, h) in zip(owned, xywh, strict=True):
        x, y, w, h = int(x), int(y), int(w), int(h)
        truth = set(product(range(y, y + h + 1), range(x, x + w + 1)))
        rows, columns = zip(*pixels, strict=True) if pixels else ((), ())
        proxy = {
            (r, c)
            for r, c in product(range(height), range(width))
            if pixels and min(rows) <= r <= max(rows) and min(columns) <= c <= max(columns)
        }
        agreement.append(len(proxy & truth) / len(proxy | truth))
    return owned, agreement


@pytest.mark.parametrize('seed', range(5))
def test_as_the_release(seed):
    rng = np.random.default_rng(seed)
    raw = np.zeros((6, 9, 11), bool)
    xywh = np.concatenate([rng.random((6, 2)) * 6, 1 + rng.random((6, 2)) * 5], axis=1).round(2)
    for mask, (x, y, w, h) in zip(raw[1:], xywh[1:].astype(int), strict=True):
        mask[y : y + h + 1, x : x + w + 1] = (
            rng.random(mask[y : y + h + 1, x : x + w + 1].shape) > 0.3
        )
    owned, expected = released(raw, xywh.tolist())
    bboxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    masks, agreement = refine(raw, bboxes, inclusive_boxes=True)
    assert [set(map(tuple, np.argwhere(mask).tolist())) for mask in masks] == owned
    assert agreement.tolist() == pytest.approx(expected)
    assert agreement[0] == 0 and (agreement[1:] > 0).any()
