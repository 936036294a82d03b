import numpy as np
import pytest

from mmboxcaseg.proxy import clean_mask

# In a box of 100 pixels: a part of 12 with a hole of 1, parts of 2 (diagonal) and 3, a notch.
MASK = """
####......
#.##...#..
####....#.
..........
###.......
..........
"""


def pixels(text):
    return np.array([[character == '#' for character in line] for line in text.split()])


@pytest.mark.parametrize(
    ('min_part', 'max_hole', 'expected'),
    [
        (0, 0, MASK),
        (0.02, 0, MASK),
        (0.021, 0, MASK.replace('...#..', '......').replace('....#.', '......')),
        (0.031, 0, '####...... #.##...... ####......' + ' ..........' * 3),
        (1, 0, '####...... #.##...... ####......' + ' ..........' * 3),  # the largest stays
        (0, 0.009, MASK),
        (0, 0.01, MASK.replace('#.##', '####')),
        (1, 0.5, '####...... ####...... ####......' + ' ..........' * 3),
    ],
)
def test_by_hand(min_part, max_hole, expected):
    mask = pixels(MASK)
    box = [0, 0, 10, 10]  # the image has 6 of its 10 rows
    full = np.zeros((10, 10), bool)
    full[:6] = mask
    cleaned = clean_mask(full, box, min_part, max_hole)
    assert (cleaned[:6] == pixels(expected)).all() and not cleaned[6:].any()
    assert (full[:6] == mask).all()


@pytest.mark.parametrize(
    'text',
    [
        '.##. .#.. .##.',  # open at the right
        '#.# ### ###',  # open at the image's border
        '.#. #.# .#.',  # closed by corners alone, which is closed
    ],
)
def test_what_is_a_hole(text):
    mask = pixels(text)
    filled = clean_mask(mask, [0, 0, 4, 3], max_hole=1.0)
    is_closed = text.startswith('.#.')
    assert filled.sum() == mask.sum() + is_closed and filled[1, 1] == (is_closed or mask[1, 1])


def test_shares_are_of_the_box_wherever_it_lies():
    # Of 4 x 4 pixels a part of 3 is less than a fifth, one of 4 is not.
    full = np.zeros((12, 14), bool)
    full[6:10, 7:11] = pixels('.... ###. .... ####')
    kept = np.zeros_like(full)
    kept[9, 7:11] = True
    assert (clean_mask(full, [7, 6, 11, 10], 0.2) == kept).all()
    full[7, 10] = True
    assert (clean_mask(full, [7, 6, 11, 10], 0.2) == full).all()


def test_nothing_is_cleaned_unless_asked_for():
    mask = pixels(MASK)
    assert (clean_mask(mask, [0, 0, 10, 6]) == mask).all()


def test_an_empty_mask_stays():
    assert not clean_mask(np.zeros((4, 4), bool), [0, 0, 4, 4], 0.1, 0.1).any()
