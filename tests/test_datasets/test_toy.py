import cv2
import numpy as np
import pytest

from mmboxcaseg.datasets import toy
from mmboxcaseg.datasets.toy import (
    SALIENT_SHAPES,
    TOY_CLASSES,
    draw_salient_image,
    draw_scene,
    draw_shape,
    draw_texture,
)

SIZE = 64


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize('family', [*TOY_CLASSES, *SALIENT_SHAPES])
def test_a_shape_lies_in_its_circle_and_fills_its_box_poorly(family):
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    shares = []
    for seed in range(20):
        coverage = draw_shape(family, (30, 34), 20, SIZE, rng(seed))
        assert coverage.shape == (SIZE, SIZE) and coverage.dtype == np.float32
        assert 0 == coverage.min() and coverage.max() == 1
        # A blob or a heart may stick out a little; a pixel's corner is no further than 1 away.
        assert not coverage[np.hypot(x - 30, y - 34) > 20 * 1.2 + 1].any()
        rows, columns = np.nonzero(coverage > 0.5)
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        shares.append(len(rows) / box)
        assert cv2.connectedComponents((coverage > 0.5).astype(np.uint8))[0] == 2
    assert 0.2 < np.mean(shares) < 0.8
    # No two are the same: their angle and their stretch are drawn.
    assert len({round(share, 6) for share in shares}) > 10


def test_the_edge_of_a_shape_is_partly_covered(monkeypatch):
    # A square from pixel 6 to the middle of pixel 14, of whose quarters the third is drawn too.
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    monkeypatch.setitem(toy._OUTLINES, 'square', lambda rng: square)

    class Still:
        def uniform(self, low, high):
            return 1.0 if high == 1 else 0.0

    coverage = draw_shape('square', (10.25, 10.25), 4.25, 24, Still())
    assert (coverage[6:14, 6:14] == 1).all()
    assert coverage[8, 5] == 0 and coverage[8, 15] == 0
    assert coverage[8, 14] == pytest.approx(3 / 4, abs=0.01)
    assert coverage[14, 14] == pytest.approx(9 / 16, abs=0.01)


def test_a_texture_has_two_colours_of_its_field():
    def field(size, rng):
        return (np.mgrid[:size, :size][1] >= size // 2).astype(float)

    texture = draw_texture(SIZE, [field], rng())
    assert texture.shape == (SIZE, SIZE, 3) and texture.dtype == np.float32
    assert 0 <= texture.min() and texture.max() <= 255
    left, right = texture[:, :32].mean((0, 1)), texture[:, 32:].mean((0, 1))
    assert 45 < np.linalg.norm(left - right) < 95
    # Grain of 6 grey levels on each.
    assert 5 < texture[:, :32].std((0, 1)).min() <= texture[:, 32:].std((0, 1)).max() < 7


@pytest.mark.parametrize('field', [*toy.GROUND_FIELDS, *toy.OBJECT_FIELDS])
def test_fields_lie_between_0_and_1(field):
    values = field(SIZE, rng())
    assert values.shape == (SIZE, SIZE)
    assert -1e-9 <= values.min() < values.max() <= 1 + 1e-9


def test_objects_of_a_scene(monkeypatch):
    whole = []
    draw = toy.draw_shape

    def spy(*args):
        whole.append(draw(*args) > 0.5)
        return whole[-1]

    monkeypatch.setattr(toy, 'draw_shape', lambda *args: spy(*args).astype(np.float32))
    counts = set()
    for seed in range(30):
        whole.clear()
        image, masks, labels = draw_scene(SIZE, 5, rng(seed))
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
        assert masks.shape == (len(labels), SIZE, SIZE) and masks.dtype == bool
        assert labels.dtype == np.int64 and set(labels) <= set(range(len(TOY_CLASSES)))
        assert masks.sum(0).max() == 1
        counts.add(len(labels))
        # Each is one that was tried, of which at least half is seen.
        for mask in masks:
            full = [w for w in whole if not (mask & ~w).any() and mask.sum() >= 0.5 * w.sum()]
            assert full
    assert counts >= {4, 5}  # some hide another and are left out
    assert len(draw_scene(SIZE, 1, rng())[2]) == 1


def test_a_salient_image():
    for seed in range(40):
        image, mask = draw_salient_image(SIZE, rng(seed))
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
        assert mask.shape == (SIZE, SIZE) and mask.dtype == bool
        assert 0.02 < mask.mean() < 0.6
        # Seen against its ground: without a least distance of colours one of these is not.
        assert np.linalg.norm(image[mask].mean(0) - image[~mask].mean(0)) > 40


def test_chance_is_the_generators():
    for draw in (lambda rng: draw_scene(SIZE, 3, rng), lambda rng: draw_salient_image(SIZE, rng)):
        first, again, other = draw(rng(7)), draw(rng(7)), draw(rng(8))
        assert all((a == b).all() for a, b in zip(first, again, strict=True))
        assert (first[0] != other[0]).any()


def test_no_class_is_a_salient_shape():
    assert not set(TOY_CLASSES) & set(SALIENT_SHAPES)
    assert toy._OUTLINES.keys() == {*TOY_CLASSES, *SALIENT_SHAPES}
