import numpy as np
import pytest

from mmboxcaseg.proxy import exclusive_maps

RNG = np.random.default_rng(0)


def test_two_boxes_by_hand():
    # 2x2 boxes that share the pixel (1, 1): odds of 3 and 1, of equal boxes, and ground 1.
    first = np.float32([[0.5, 0.6], [0.7, 0.75]])
    second = np.float32([[0.5, 0.6], [0.7, 0.8]])
    maps = exclusive_maps([first, second], [[0, 0, 2, 2], [1, 1, 3, 3]], (3, 3))
    assert maps[0] == pytest.approx(np.array([[0.5, 0.6], [0.7, 3 / 5]]))
    assert maps[1] == pytest.approx(np.array([[1 / 5, 0.6], [0.7, 0.8]]))


def test_the_smaller_box_counts_more():
    # A box of a pixel in one of 4x4, side by side one to four: odds of 4 in both.
    large, small = np.full((4, 4), 0.8, np.float32), np.full((1, 1), 0.8, np.float32)
    maps = exclusive_maps([large, small], [[0, 0, 4, 4], [2, 1, 3, 2]], (4, 4))
    assert maps[0][1, 2] == pytest.approx(4 / (1 + 4 + 4 * 4))
    assert maps[1][0, 0] == pytest.approx(4 / (1 + 4 + 4 / 4))
    others = np.ones((4, 4), bool)
    others[1, 2] = False
    assert (maps[0][others] == np.float32(0.8)).all()


def test_two_that_are_sure_share():
    # Beyond 0.99 nobody's word counts, neither the claim nor what it is held against.
    maps = exclusive_maps(
        [np.ones((1, 1), np.float32), np.ones((1, 2), np.float32)],
        [[0, 0, 1, 1], [0, 0, 2, 1]],
        (1, 2),
    )
    assert maps[0] == pytest.approx(1 / (1 + 0.01 * 99 / np.sqrt(2)), abs=1e-4)
    assert maps[1][0, 0] == pytest.approx(1 / (1 + 0.01 * 99 * np.sqrt(2)), abs=1e-4)
    assert maps[1][0, 1] == 1


def test_boxes_that_lie_on_each_other_do_not_compete():
    # An IoU of 20 / 21 of the first two; the third is in both.
    bboxes = [[0, 0, 10, 20], [0, 0, 10, 21], [0, 0, 5, 4]]
    probs = [np.full((y, x), 0.75, np.float32) for y, x in ((20, 10), (21, 10), (4, 5))]
    maps = exclusive_maps(probs, bboxes, (21, 10))
    for index, area in ((0, 200), (1, 210)):
        assert maps[index][:4, :5] == pytest.approx(3 / (1 + 3 + 3 * np.sqrt(area / 20)), abs=1e-5)
        assert maps[index][4:] == pytest.approx(0.75, abs=1e-5)
    both = 3 * np.sqrt(20) * (1 / np.sqrt(200) + 1 / np.sqrt(210))
    assert maps[2] == pytest.approx(3 / (1 + 3 + both), abs=1e-5)
    # An IoU of 0.9 is not above it.
    _, second = exclusive_maps(probs[:2], [[0, 0, 10, 18], [0, 0, 10, 20]], (20, 10))
    assert second[:10] == pytest.approx(3 / (1 + 3 + 3 * np.sqrt(200 / 180)), abs=1e-5)


def test_a_small_box_leaves_what_is_around_it():
    # A pixel of the map is 10x10 pixels of the image, and 4 of them are the small box's.
    large, small = np.full((4, 4), 0.9, np.float32), np.full((2, 2), 0.9, np.float32)
    large, _ = exclusive_maps([large, small], [[0, 0, 40, 40], [4, 4, 6, 6]], (40, 40))
    assert 0.9 * 0.96 <= large[0, 0] < 0.9
    assert large.ravel()[1:] == pytest.approx(0.9)


def test_a_box_alone_keeps_its_map():
    probs = [np.float32([[0.2, 1.0]]), np.float32([[0.0, 0.7]]), np.float32([[0.9]])]
    maps = exclusive_maps(probs, [[0, 0, 2, 1], [2, 0, 4, 1], [0, 1, 4, 2]], (2, 4))
    assert all(given is got for given, got in zip(probs, maps, strict=True))
    assert exclusive_maps([], np.zeros((0, 4)), (2, 4)) == []


def brute_force(probs, windows, sides, shape):
    """Maps that are as large as their windows, pixel by pixel."""
    maps = [prob.copy() for prob in probs]
    for y, x in np.ndindex(*shape):
        here = [i for i, (x1, y1, x2, y2) in enumerate(windows) if x1 <= x < x2 and y1 <= y < y2]
        odds = {}
        for i in here:
            prob = min(float(probs[i][y - windows[i][1], x - windows[i][0]]), 0.99)
            odds[i] = prob / (1 - prob)
        for i in here:
            others = sum(odds[j] * sides[i] / sides[j] for j in here if j != i)
            maps[i][y - windows[i][1], x - windows[i][0]] = odds[i] / (1 + odds[i] + others)
    return maps


@pytest.mark.parametrize('slack', [0.0, 0.25])
def test_brute_force(slack):
    shape = (24, 20)
    bboxes = np.array([[2, 3, 14, 19], [6, 3, 10, 7], [0, 0, 20, 24], [8, 8, 16, 12]])
    grown = np.array([[-1, -1, 17, 23], [5, 2, 11, 8], [-5, -6, 25, 30], [6, 7, 18, 13]])
    windows = grown.clip(0, [20, 24, 20, 24]) if slack else bboxes
    sides = np.sqrt((bboxes[:, 2:] - bboxes[:, :2]).prod(axis=1))
    probs = [RNG.uniform(0, 0.98, (y2 - y1, x2 - x1)) for x1, y1, x2, y2 in windows]
    maps = exclusive_maps(probs, bboxes, shape, slack)
    for got, expected in zip(maps, brute_force(probs, windows, sides, shape), strict=True):
        assert got == pytest.approx(expected, abs=1e-5)


def test_maps_of_other_sizes_lie_on_each_other():
    # The right half of the first box is the second one's: maps of 8x8 and 2x2 of windows of 4x4.
    first = np.full((8, 8), 0.5, np.float32)
    second = np.full((2, 2), 0.75, np.float32)
    first, second = exclusive_maps([first, second], [[0, 0, 4, 4], [2, 0, 6, 4]], (4, 6))
    assert (first.shape, second.shape) == ((8, 8), (2, 2))
    assert first[:, 0] == pytest.approx(0.5)
    assert first[:, 7] == pytest.approx(1 / (1 + 1 + 3))
    assert (np.diff(first, axis=1) <= 1e-6).all()
    assert second[:, 1] == pytest.approx(0.75)
    assert second[:, 0] == pytest.approx(3 / (1 + 3 + 1))


def test_the_order_of_boxes_does_not_matter():
    bboxes = np.array([[0, 0, 12, 9], [3, 2, 8, 8], [5, 4, 12, 9]])
    probs = [RNG.uniform(0, 1, (16, 16)).astype(np.float32) for _ in bboxes]
    forth = exclusive_maps(probs, bboxes, (9, 12))
    back = exclusive_maps(probs[::-1], bboxes[::-1], (9, 12))[::-1]
    for one, other in zip(forth, back, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_claim_shrinks_by_area():
    # A map of 4x4 of a window of one pixel claims by its mean, wherever that pixel is sampled.
    small = np.zeros((4, 4), np.float32)
    small[:, 0] = 0.8
    large = np.full((2, 2), 0.5, np.float32)
    large, _ = exclusive_maps([large, small], [[0, 0, 2, 2], [0, 0, 1, 1]], (2, 2))
    assert large[0, 0] == pytest.approx(1 / (1 + 1 + 0.2 / 0.8 * 2))


def test_a_claim_that_grows_in_one_direction_is_a_ramp():
    # A map of 4x2 of a window of 2x4 pixels, in one of 3x4.
    first = np.tile(np.float32([0, 0.8]), (4, 1))
    second = np.full((3, 4), 0.5, np.float32)
    _, second = exclusive_maps([first, second], [[0, 0, 4, 2], [0, 0, 4, 3]], (3, 4))
    ramp = np.array([0, 0.2, 0.6, 0.8])
    claims = ramp / (1 - ramp) * np.sqrt(12 / 8)
    assert second[0] == pytest.approx(1 / (2 + claims), abs=1e-5)


def test_boxes_lie_on_the_pixel_grid():
    # 1.4 pixels are one.
    probs = [np.full((1, 1), 0.5, np.float32), np.full((1, 2), 0.5, np.float32)]
    maps = exclusive_maps(probs, [[0, 0, 1.4, 1], [0, 0, 2, 1]], (1, 2))
    assert maps[0][0, 0] == pytest.approx(1 / (2 + np.sqrt(1 / 2)))


class TestTaken:
    def test_by_hand(self):
        # Of 2x2 boxes that share the pixel (1, 1) as above; a column of the second is taken.
        first = np.float32([[0.5, 0.6], [0.7, 0.75]])
        second = np.float32([[0.5, 0.6], [0.7, 0.8]])
        taken = np.zeros((3, 3), bool)
        taken[:, 2] = True
        bboxes = [[0, 0, 2, 2], [1, 1, 3, 3]]
        for pixels in (taken, taken.view(np.uint8)):
            maps = exclusive_maps([first, second], bboxes, (3, 3), taken=pixels)
            assert maps[0] == pytest.approx(np.array([[0.5, 0.6], [0.7, 3 / 5]]))
            assert maps[1] == pytest.approx(np.array([[1 / 5, 0], [0.7, 0]]))

    def test_from_a_box_that_no_other_overlaps(self):
        prob, taken = np.full((2, 2), 0.8, np.float32), np.zeros((2, 4), bool)
        taken[0, 1:] = True
        (prob,) = exclusive_maps([prob], [[0, 0, 2, 2]], (2, 4), taken=taken)
        assert prob.tolist() == [[np.float32(0.8), 0], [np.float32(0.8), np.float32(0.8)]]

    def test_all_of_a_box(self):
        prob, taken = np.full((8, 8), 0.8, np.float32), np.ones((2, 2), bool)
        (prob,) = exclusive_maps([prob], [[0, 0, 2, 2]], (2, 2), taken=taken)
        assert not prob.any()

    def test_beside_the_boxes_and_nowhere(self):
        probs = [np.full((4, 4), 0.5, np.float32), np.full((4, 4), 0.6, np.float32)]
        bboxes = [[0, 0, 3, 3], [1, 1, 4, 4]]
        taken = np.zeros((4, 9), bool)
        expected = exclusive_maps(probs, bboxes, (4, 9))
        for column in (None, 8):
            if column is not None:
                taken[:, column] = True
            for one, other in zip(
                exclusive_maps(probs, bboxes, (4, 9), taken=taken), expected, strict=True
            ):
                assert np.array_equal(one, other)

    def test_in_the_grown_box(self):
        # The window is from 1 to 7.
        prob, taken = np.full((6, 6), 0.8, np.float32), np.zeros((8, 8), bool)
        taken[1] = True
        (prob,) = exclusive_maps([prob], [[2, 2, 6, 6]], (8, 8), slack=0.25, taken=taken)
        assert not prob[0].any() and (prob[1:] == np.float32(0.8)).all()


def test_maps_that_are_given_stay_as_they_are():
    probs = [np.full((4, 4), 0.5, np.float32), np.full((4, 4), 0.6, np.float32)]
    taken = np.eye(4, dtype=bool)
    exclusive_maps(probs, [[0, 0, 3, 3], [1, 1, 4, 4]], (4, 4), taken=taken)
    assert np.array_equal(taken, np.eye(4))
    assert (probs[0] == np.float32(0.5)).all()
    assert (probs[1] == np.float32(0.6)).all()
