import numpy as np
import pytest

from mmboxcaseg.proxy import box_agreement


@pytest.mark.parametrize(
    ('mask', 'bbox', 'expected'),
    [
        pytest.param(
            [[0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]],
            [0, 0, 3, 3],
            1,
            id='touches every side',
        ),
        pytest.param(
            [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            [0, 0, 4, 4],
            4 / 16,
            id='a quarter',
        ),
        pytest.param(
            [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            [0, 0, 4, 4],
            0,
            id='empty',
        ),
        pytest.param(
            [[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            [0, 0, 2, 2],
            2 / 6,
            id='leaves the box',
        ),
        pytest.param(
            [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            [-3, -3, 2.2, 1.8],
            1,
            id='box off the grid and over the border',
        ),
    ],
)
def test_box_agreement(mask, bbox, expected):
    for dtype in (bool, np.uint8):
        agreement = box_agreement(np.array([mask], dtype), np.array([bbox]))
        assert agreement.dtype == np.float64
        assert agreement.tolist() == [expected]


@pytest.mark.parametrize(
    ('mask', 'bbox', 'expected'),
    [
        pytest.param(
            [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]],
            [0, 0, 3, 3],
            9 / 16,
            id='fills its box',
        ),
        pytest.param(
            [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]],
            [0, 0, 3, 3],
            1,
            id='a pixel larger',
        ),
        pytest.param(
            [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]],
            [2, 2, 4, 4],
            4 / 9,
            id='at the border',
        ),
        pytest.param(
            [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            [0, 0, 3, 3],
            0,
            id='empty',
        ),
        pytest.param(
            [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            [1.7, 0.3, 3.5, 1.9],
            4 / 4,
            id='cut to pixels',
        ),
    ],
)
def test_inclusive_boxes(mask, bbox, expected):
    agreement = box_agreement(np.array([mask]), np.array([bbox]), inclusive_boxes=True)
    assert agreement.tolist() == [expected]


def test_least_square_that_inclusive_boxes_keep():
    for side, kept in [(38, False), (39, True)]:
        mask = np.ones((1, side, side), bool)
        agreement = box_agreement(mask, np.array([[0, 0, side, side]]), inclusive_boxes=True)
        assert (agreement > 0.95).tolist() == [kept]


def test_no_masks():
    assert box_agreement(np.zeros((0, 4, 4), bool), np.zeros((0, 4))).shape == (0,)
