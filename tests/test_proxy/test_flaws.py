import numpy as np
import pytest

from mmboxcaseg.proxy import FLAWS, mask_flaws

BOX = [10, 10, 30, 20]  # of 200 pixels


def mask_of(*parts):
    """Rectangles xyxy on an image of 40x40."""
    mask = np.zeros((40, 40), bool)
    for x1, y1, x2, y2 in parts:
        mask[y1:y2, x1:x2] = True
    return mask


@pytest.mark.parametrize(
    ('parts', 'expected'),
    [
        ([], ['empty']),
        ([(10, 10, 28, 20)], []),  # 90% of the box
        ([(10, 10, 29, 20)], ['fills its box']),  # 95%
        ([(2, 2, 12, 9)], []),  # outside its box
        ([(10, 10, 19, 20), (20, 10, 21, 20)], []),  # 90 of 100 pixels are one part
        ([(10, 10, 18, 20), (20, 10, 21, 20)], ['fragments']),  # 80 of 90
        ([(10, 10, 15, 15), (15, 15, 20, 20)], []),  # corners touch
        ([(0, 10, 20, 20)], ['at the border']),
        ([(20, 10, 40, 15)], ['at the border']),
        ([(10, 0, 12, 20)], ['at the border']),
        ([(10, 10, 12, 40)], ['at the border']),
        ([(1, 1, 39, 39)], ['fills its box']),
        ([(10, 10, 30, 20), (0, 0, 20, 9)], ['fills its box', 'fragments', 'at the border']),
    ],
)
def test_flaws(parts, expected):
    found = mask_flaws(mask_of(*parts), np.array(BOX))
    assert found == expected
    assert set(found) <= FLAWS.keys()
