import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmboxcaseg.formats.outlines import join, mask_parts, simplify


def pixels(text):
    return np.array([[character == '#' for character in line] for line in text.split()])


MASKS = {
    'pixel': '.#',
    'line': '.#. .#. .#.',
    'diagonal': '#.. .#. ..#',
    'ring': '##### #...# #.#.# #...# #####',
    'holes': '####### #.#.#.# ####### #..#..# #######',
    'holes that touch': '###### #.#### ##.### ######',
    'hole at a notch': '##.## #.### #####',
    'parts': '##..# ##..# ..... #....',
    'comb': '#.#.# #.#.# #####',
}


def by_pycocotools(outlines, shape):
    rles = coco_mask.frPyObjects([outline.ravel().tolist() for outline in outlines], *shape)
    return coco_mask.decode(coco_mask.merge(rles)).astype(bool)


def by_opencv(outlines, shape, to_int):
    filled = np.zeros(shape, np.uint8)
    for outline in outlines:
        cv2.fillPoly(filled, [to_int(outline).astype(np.int32)], 1)
    return filled.astype(bool)


@pytest.mark.parametrize('name', [*MASKS, *range(30)])
def test_what_is_filled_is_the_mask(name):
    if name in MASKS:
        mask = np.pad(pixels(MASKS[name]), ((2, 1), (1, 3)))
    else:
        mask = np.random.default_rng(name).random((9, 12)) < 0.25 + 0.02 * name
    edges = [join([part.outer, *part.holes]) for part in mask_parts(mask)]
    assert (by_pycocotools(edges, mask.shape) == mask).all()
    inside = [join([part.outer, *part.holes]) for part in mask_parts(mask, 0.45, 0.45)]
    assert all(len(outline) >= 3 for outline in inside)
    for to_int in (np.trunc, np.round):
        assert (by_opencv(inside, mask.shape, to_int) == mask).all()


def test_parts_and_holes_by_hand():
    ring, dot = mask_parts(pixels('.###.. .#.#.# .###..'))
    if len(ring.outer) != 4 or not ring.holes:
        ring, dot = dot, ring
    assert sorted(ring.outer.tolist()) == [[1, 0], [1, 3], [4, 0], [4, 3]]
    (hole,) = ring.holes
    assert sorted(hole.tolist()) == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert sorted(dot.outer.tolist()) == [[5, 1], [5, 2], [6, 1], [6, 2]] and not dot.holes
    assert mask_parts(np.zeros((3, 3), bool)) == []


def test_join_goes_to_the_nearest_first():
    """A hole behind another one is reached through it, not across it."""
    first, *holes = (np.array([[x, 0], [x, 1], [x + 1, 1], [x + 1, 0]], float) for x in (0, 8, 4))
    joined = join([first, *holes]).tolist()
    assert [point[0] for point in joined] == [0, 0, 1, 4, 5, 8, 9, 9, 8, 8, 5, 5, 4, 4, 1, 1]


def test_simplify_keeps_three_corners():
    triangle = np.array([[0.0, 0], [0.2, 0], [0, 0.2]])
    assert simplify(triangle, 1.0) is triangle
