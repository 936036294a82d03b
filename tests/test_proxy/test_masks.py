import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmboxcaseg.proxy import decode_rle, encode_rle, normalize_probability, paste_probability


def test_normalize_probability():
    assert normalize_probability(np.array([[0.2, 0.4], [0.3, 0.6]])) == pytest.approx(
        np.array([[0, 0.5], [0.25, 1]])
    )


def test_paste_probability_same_size():
    prob = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]], np.float32)
    mask = paste_probability(prob, np.array([1, 1, 4, 3]), (4, 5))
    # Normalised: 0, 0.5, 1; a half is not above the threshold.
    expected = [[0, 0, 0, 0, 0], [0, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert mask.dtype == bool
    assert mask.astype(int).tolist() == expected


def test_paste_probability_threshold():
    prob = np.array([[0.0, 0.4, 1.0]])
    for threshold, expected in [(0.3, [0, 1, 1]), (0.5, [0, 0, 1]), (1.0, [0, 0, 0])]:
        mask = paste_probability(prob, np.array([0, 0, 3, 1]), (1, 3), threshold)
        assert mask[0].astype(int).tolist() == expected


def test_paste_probability_is_bilinear():
    # Pixel centres of the large map lie at 0.25, 0.75, 1.25, 1.75 of the small one's pixels, so
    # the values are 0, 0.25, 0.75, 1.
    prob = np.array([[0.0, 1.0]])
    for threshold, expected in [(0.2, [0, 1, 1, 1]), (0.3, [0, 0, 1, 1]), (0.8, [0, 0, 0, 1])]:
        mask = paste_probability(prob, np.array([0, 0, 4, 1]), (1, 4), threshold)
        assert mask[0].astype(int).tolist() == expected


@pytest.mark.parametrize(('value', 'expected'), [(0.0, 0), (0.4, 0), (0.6, 4), (1.0, 4)])
def test_paste_probability_flat_map(value, expected):
    with np.errstate(all='raise'):
        mask = paste_probability(np.full((6, 6), value), np.array([1, 1, 3, 3]), (4, 4))
    assert mask.sum() == expected


def test_paste_probability_box_over_the_border():
    mask = paste_probability(np.ones((3, 3)), np.array([-2, 2, 2, 9]), (4, 4))
    expected = [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
    assert mask.astype(int).tolist() == expected


def test_encode_rle_is_what_coco_reads():
    mask = np.array([[0, 1, 1], [1, 0, 0]], bool)
    rle = encode_rle(mask)
    assert rle['size'] == [2, 3]
    assert isinstance(rle['counts'], str)
    assert coco_mask.decode(rle).tolist() == mask.astype(int).tolist()


def test_encode_rle_empty():
    rle = encode_rle(np.zeros((2, 3), bool))
    assert coco_mask.area(rle) == 0
    assert isinstance(rle['counts'], str)


@pytest.mark.parametrize(
    'segmentation',
    [
        # Column by column: 0, 1; 1, 0; 1, 0.
        dict(size=[2, 3], counts=[1, 2, 1, 1, 1]),
        encode_rle(np.array([[0, 1, 1], [1, 0, 0]])),
        coco_mask.encode(np.asfortranarray([[0, 1, 1], [1, 0, 0]], np.uint8)),
    ],
    ids=['uncompressed', 'str', 'bytes'],
)
def test_decode_rle(segmentation):
    mask = decode_rle(segmentation, (2, 3))
    assert mask.dtype == bool
    assert mask.astype(int).tolist() == [[0, 1, 1], [1, 0, 0]]


def test_decode_rle_polygons():
    polygons = [[0, 0, 2, 0, 2, 2, 0, 2], [3, 3, 4, 3, 4, 4, 3, 4]]
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert decode_rle(polygons, (4, 4)).astype(int).tolist() == expected


def test_rle_round_trip():
    rng = np.random.default_rng(0)
    for _ in range(200):
        mask = rng.random(rng.integers(1, 60, 2)) > rng.random()
        assert (decode_rle(encode_rle(mask), mask.shape) == mask).all()
    large = np.zeros((1500, 1200), bool)
    large[7:1400, 1:1199] = True
    assert (decode_rle(encode_rle(large), large.shape) == large).all()


@pytest.mark.parametrize(
    'segmentation',
    [
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        dict(counts='04'),
        dict(size=[2, 2], counts=[2, 2]),
        dict(size=[2, 3], counts=[2, 2]),
        dict(size=[2, 3], counts=[5, 5]),
        dict(size=[2, 3], counts=[8, -2]),
        dict(size=[2, 3], counts=''),
        dict(size=[2, 3], counts='11'),
        dict(size=[2, 3], counts='zzz'),
        dict(size=[2, 3], counts='06\u00e9'),
        dict(size=[2, 3], counts='06P'),
        dict(size=[2, 3], counts=b'\xff'),
        dict(size=[2, 3], counts=5),
        dict(size=[2, 3], counts=None),
        dict(size=[2, 3], counts=['a']),
        dict(size=[2, 3], counts=[0.5, 5.5]),
        dict(size=None, counts='06'),
        dict(size=6, counts='06'),
        [[0, 0, 2, 0, 2, float('nan')]],
        [[0, 0, 2, 0, 2, float('inf')]],
        [[0, 0, 2, 0, 2, 1e12]],
        [[0, 0, 2, 0, 2, 10**400]],
        [[0, 0, 2, 0, 2, 'a']],
        'a mask',
        None,
    ],
)
def test_decode_rle_refuses(segmentation):
    with pytest.raises(ValueError, match='its|polygon|neither'):
        decode_rle(segmentation, (2, 3))
