import numpy as np
import pytest

from mmboxcaseg.visualization.draw import (
    distinct_colours,
    draw_bbox,
    draw_instance,
    draw_mask,
    draw_rles,
    make_sheet,
    surroundings,
)

RED = (0, 0, 255)


def black(height, width):
    return np.zeros((height, width, 3), np.uint8)


def test_draw_mask_tints_the_inside_and_draws_the_rim():
    img = np.full((5, 5, 3), 100, np.uint8)
    mask = np.zeros((5, 5), bool)
    mask[1:4, 1:4] = True
    drawn = draw_mask(img, mask, RED, opacity=0.25)
    expected = np.full((5, 5, 3), 100, np.uint8)
    expected[1:4, 1:4] = RED
    expected[2, 2] = (75, 75, 139)  # 0.75 * 100 + 0.25 * 255 = 138.75
    np.testing.assert_array_equal(drawn, expected)
    assert (img == 100).all()


def test_draw_mask_leaves_the_image_alone_where_the_mask_is_empty():
    np.testing.assert_array_equal(draw_mask(black(3, 3), np.zeros((3, 3), bool), RED), black(3, 3))


def test_masks_have_the_only_colours():
    img = np.full((2, 4, 3), (200, 200, 0), np.uint8)
    # In columns, from the top: pixels 0 and 1, and 6 and 7.
    rles = [dict(size=[2, 4], counts=[0, 2, 6]), dict(size=[2, 4], counts=[6, 2])]
    drawn = draw_rles(img, rles, [RED, (0, 255, 0)])
    # 0.114 * 200 + 0.587 * 200 = 140.2
    assert drawn[0].tolist() == [[0, 0, 255], [140] * 3, [140] * 3, [0, 255, 0]]
    assert (drawn[0] == drawn[1]).all() and (img == (200, 200, 0)).all()


def test_draw_bbox_stays_inside_exclusive_edges():
    expected = black(4, 4)
    expected[0:3, 1:4] = RED
    expected[1, 2] = 0
    np.testing.assert_array_equal(draw_bbox(black(4, 4), (1, 0, 4, 3), RED), expected)


def test_draw_instance_shows_what_was_predicted_what_is_true_and_what_was_asked():
    mask, true_mask = np.zeros((2, 20, 20), bool)
    mask[5:9, 5:9] = true_mask[6:12, 11:14] = True
    orange, green, white = (40, 160, 255), (60, 220, 60), (255, 255, 255)
    # Two pixels more than the box on each side.
    expected = black(14, 14)
    expected[2:12, 2:12] = white
    expected[3:11, 3:11] = 0
    expected[2:6, 2:6] = orange
    expected[3:5, 3:5] = (16, 64, 102)  # 0.4 of it on black
    expected[3:9, 8:11] = green
    expected[4:8, 9] = 0
    expected[2, 2:12] = expected[2:12, 2] = white
    drawn = draw_instance(black(20, 20), (5, 5, 15, 15), mask, true_mask)
    np.testing.assert_array_equal(drawn, expected)
    alone = draw_instance(black(20, 20), (5, 5, 15, 15), mask)
    assert not (alone == green).all(2).any() and (alone == orange).all(2).any()


def test_draw_instance_shows_all_of_a_mask_that_leaves_its_box():
    mask = np.zeros((20, 20), bool)
    mask[2:9, 5:9] = True
    drawn = draw_instance(black(20, 20), (5, 5, 10, 10), mask)
    # A fifth of the longer side, 8 pixels from the mask's top to the box's bottom, more.
    assert drawn.shape[:2] == (2 + 8 + 2, 2 + 5 + 2)


@pytest.mark.parametrize('factor', [0.5, 4])
def test_draw_instance_draws_thin_lines_at_any_scale(factor):
    # The box is 40 of the 56 pixels that are shown.
    mask = np.zeros((80, 80), bool)
    mask[20:40, 20:60] = True
    size = round(56 * factor)
    drawn = draw_instance(black(80, 80), (20, 20, 60, 60), mask, longer_side=size)
    assert drawn.shape == (size, size, 3)
    start, middle, stop = (round(edge * factor) for edge in (8, 28, 48))
    row = (drawn[(middle + stop) // 2] == 255).all(1)
    assert np.flatnonzero(row).tolist() == [start, stop - 1]
    column = drawn[:, size // 2].any(1)
    assert column[start:middle].all() and not column[middle : stop - 1].any()


@pytest.mark.parametrize(
    ('bbox', 'rows', 'columns'),
    [
        ((4, 4, 8, 6), (2, 8), (2, 10)),  # grown by half of 4
        ((0, 0, 4, 4), (0, 6), (0, 6)),  # cut at the image's corner
        ((8, 8, 10, 10), (7, 10), (7, 10)),
    ],
)
def test_surroundings(bbox, rows, columns):
    pixels = np.arange(100).reshape(10, 10)
    window = surroundings(bbox, (10, 10), context=0.5)
    np.testing.assert_array_equal(pixels[window], pixels[slice(*rows), slice(*columns)])


def test_sheet_holds_every_picture_in_its_place_at_its_shape():
    wide, tall = np.full((10, 20, 3), 50, np.uint8), np.full((40, 20, 3), 90, np.uint8)
    sheet = make_sheet([wide, tall, wide], ['', '', ''], columns=2, tile_size=40)
    areas = {value: (sheet == value).all(2) for value in (50, 90)}
    assert areas[50].sum() == 2 * 20 * 40
    assert areas[90].sum() == 40 * 20
    assert areas[50][:, : sheet.shape[1] // 2].sum() == 2 * 20 * 40  # both in the first column


def test_sheet_writes_captions_below_the_pictures():
    def ink(caption):
        sheet = make_sheet([np.full((8, 8, 3), 255, np.uint8)], [caption], columns=1, tile_size=64)
        rows = np.flatnonzero((sheet < 128).any((1, 2)))
        return sheet.shape[0], rows

    height, rows = ink('star 0.93')
    assert rows.min() > 64 and rows.max() < height


def test_sheet_cuts_a_caption_off_where_the_next_picture_begins():
    white = np.full((8, 8, 3), 255, np.uint8)
    both = make_sheet([white] * 2, ['w' * 99, 'i'], columns=2, tile_size=64)
    other = make_sheet([white] * 2, ['', 'i'], columns=2, tile_size=64)
    assert (both[:, 40:70] < 128).any()
    assert np.array_equal(both[:, 70:], other[:, 70:])


def test_distinct_colours_differ():
    colours = distinct_colours(8)
    assert len(set(colours)) == 8
    assert all(0 <= channel <= 255 for colour in colours for channel in colour)
