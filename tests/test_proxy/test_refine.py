from itertools import product

import numpy as np
import pytest

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import decode_rle, encode_rle, refine_annotations, refine_rles
from mmboxcaseg.proxy.refine import summarize_proxies

# The large object's mask covers the small one's.
LARGE = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
SMALL = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
MERGED = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]], bool)
IMAGE = dict(id=1, width=4, height=4)


def annotation(id_, bbox, **fields):
    return dict(id=id_, image_id=1, category_id=1, bbox=bbox, **fields)


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


def test_refine_annotations():
    raw = {1: encode_rle(LARGE), 2: dict(size=[4, 4], counts=[2, 1, 3, 1, 3, 1, 3, 1, 1])}
    annotations = [
        annotation(1, [0, 0, 4, 3], area=99, note='mine', segmentation='never read'),
        annotation(2, [0, 2, 4, 2], iscrowd=0),
        annotation(3, [0, 0, 2.5, 2]),
    ]
    one, two, three = refine_annotations(IMAGE, annotations, raw)

    assert (decode_rle(one['segmentation'], (4, 4)) == MERGED).all()
    assert one['box_agreement'] == 8 / 12
    assert one['area'] == 99 and one['note'] == 'mine' and one['iscrowd'] == 0
    assert (decode_rle(two['segmentation'], (4, 4)) == SMALL).all()
    assert two['box_agreement'] == 0.5 and two['area'] == 8
    assert not decode_rle(three['segmentation'], (4, 4)).any()
    assert three['box_agreement'] == 0 and three['area'] == 5
    for proxy, before in zip((one, two, three), annotations, strict=True):
        assert isinstance(proxy['segmentation']['counts'], str)
        assert {**proxy, **before} == {
            **proxy,
            'segmentation': before.get('segmentation', proxy['segmentation']),
        }


def test_scores_are_the_quality():
    raw = {1: encode_rle(LARGE), 2: encode_rle(SMALL)}
    annotations = [annotation(n, [0, 0, 4, 3]) for n in (1, 2, 3)]
    # Of one whose mask is known, of one that has none; the other mask has no score.
    proxies = refine_annotations(IMAGE, annotations, raw, scores={1: 0.25, 3: 0.5})
    assert [proxy.get('quality') for proxy in proxies] == [0.25, None, None]


def test_refine_annotations_passes_its_options_on():
    raw = {1: encode_rle(LARGE), 2: encode_rle(SMALL)}
    annotations = [annotation(1, [0, 0, 4, 3]), annotation(2, [0, 2, 4, 2])]
    one, _ = refine_annotations(IMAGE, annotations, raw, merge=False, inclusive_boxes=True)
    assert (decode_rle(one['segmentation'], (4, 4)) == LARGE).all()
    assert one['box_agreement'] == 12 / 20


@pytest.mark.parametrize('other', [dict(iscrowd=1, bbox=[0, 2, 4, 2]), dict(bbox=[0, 2, 4, 0])])
def test_crowds_and_degenerate_boxes_take_no_part(other):
    raw = {1: encode_rle(LARGE), 2: encode_rle(SMALL)}
    annotations = [annotation(1, [0, 0, 4, 3]), dict(annotation(2, None), **other)]
    one, two = refine_annotations(IMAGE, annotations, raw)
    assert (decode_rle(one['segmentation'], (4, 4)) == LARGE).all()
    assert not decode_rle(two['segmentation'], (4, 4)).any()
    assert two['box_agreement'] == 0
    assert two['iscrowd'] == other.get('iscrowd', 0)


def test_broken_mask():
    raw = {1: encode_rle(np.zeros((5, 4)))}
    with pytest.raises(InputError, match=r'annotation 1 in raw\.json is broken: its size'):
        refine_annotations(IMAGE, [annotation(1, [0, 0, 4, 3])], raw, 'raw.json')


def test_image_without_annotations():
    assert refine_annotations(IMAGE, [], {}) == []


def test_summarize_proxies():
    proxies = [
        dict(annotation(n, [0, 0, 1, 1]), box_agreement=value)
        for n, value in enumerate((0, 0.75, 0.8, 0.96))
    ]
    proxies.append(dict(annotation(9, [0, 0, 1, 1], iscrowd=1), box_agreement=0))
    assert summarize_proxies(proxies) == (
        '4 boxes, 1 empty masks; agreement: 50.0% above 0.75, 25.0% above 0.85, '
        '25.0% above 0.90, 25.0% above 0.95'
    )
    assert summarize_proxies([]) == 'no box that wants a mask'
