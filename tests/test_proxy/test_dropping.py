import numpy as np

from mmboxcaseg.proxy import DROPPED, drop_masks, is_kept

MASKS = np.array(
    [
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ],
    np.uint8,
)
BBOXES = np.array([[0, 0, 2, 2], [1.4, 0.6, 4, 3], [0, 3, 1, 4]])


def test_drop_masks():
    d = DROPPED
    expected = [
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, d, d, d], [0, d, d, d], [0, 0, 0, 0]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [d, 0, 0, 0]],
    ]
    before = MASKS.copy()
    for masks in (MASKS, MASKS.astype(bool)):
        dropped = drop_masks(masks, BBOXES, np.array([1, 0.2, 0]), 0.95)
        assert dropped.dtype == np.uint8
        assert dropped.tolist() == expected
        assert is_kept(dropped).tolist() == [True, False, False]
    assert (MASKS == before).all()


def test_agreement_must_be_above_the_threshold():
    agreement = np.array([0.96, 0.95, 0.0])
    assert is_kept(drop_masks(MASKS, BBOXES, agreement, 0.95)).tolist() == [True, False, False]


def test_an_empty_mask_is_never_kept():
    assert is_kept(drop_masks(MASKS, BBOXES, np.array([1, 0.2, 0]), -1)).tolist() == [
        True,
        True,
        False,
    ]


def test_dropping_again_brings_nothing_back():
    once = drop_masks(MASKS, BBOXES, np.array([1, 0.2, 0]), 0.95)
    assert (drop_masks(once, BBOXES, np.ones(3), 0.95) == once).all()


def test_masks_that_leave_their_boxes():
    beside = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.uint8)
    masks, bboxes = np.array([beside, beside]), np.array([[2, 2, 4, 4], [2, 2, 4, 4]])
    kept, dropped = drop_masks(masks, bboxes, np.array([1, 0]), 0.5)
    # A kept mask is one wherever it lies; of a dropped one no pixel is left beside its box.
    assert (kept == beside).all()
    d = DROPPED
    assert dropped.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, d, d], [0, 0, d, d]]
    assert is_kept(np.array([kept, dropped])).tolist() == [True, False]


def test_no_masks():
    masks = np.zeros((0, 4, 4), np.uint8)
    assert drop_masks(masks, np.zeros((0, 4)), np.zeros(0), 0.5).shape == (0, 4, 4)
    assert is_kept(masks).shape == (0,)
