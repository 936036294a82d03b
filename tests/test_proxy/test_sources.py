import cv2
import numpy as np
import pytest

from mmboxcaseg.proxy import box_mask, ellipse_mask, grabcut_mask


def ints(mask):
    assert mask.dtype == bool
    return mask.astype(int).tolist()


@pytest.mark.parametrize(
    ('bbox', 'expected'),
    [
        ([1, 1, 4, 3], [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]),
        # Edges go to the nearest pixel edge and into the image.
        ([-3, 0.4, 1.5, 1.5], [[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]),
        (
            [2.1, 3.1, 2.2, 3.2],
            [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 1, 0, 0]],
        ),
    ],
)
def test_box_mask(bbox, expected):
    assert ints(box_mask(np.array(bbox), (4, 5))) == expected


def test_ellipse_mask():
    # From the centre, half the width being 1, pixel centres lie at 1/6, 3/6 and 5/6; half the
    # height being 1, at 1/4 and 3/4. Only the corners, (5/6)^2 + (3/4)^2 > 1, lie outside.
    expected = [
        [0, 0, 1, 1, 1, 1, 0],
        [0, 1, 1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    assert ints(ellipse_mask(np.array([1, 0, 7, 4]), (5, 7))) == expected


@pytest.mark.parametrize(('width', 'height'), [(1, 1), (1, 9), (9, 1), (2, 2), (2, 3)])
def test_small_ellipses_touch_every_side(width, height):
    mask = ellipse_mask(np.array([1, 1, 1 + width, 1 + height]), (12, 12))
    assert np.flatnonzero(mask.any(axis=0)).tolist() == list(range(1, 1 + width))
    assert np.flatnonzero(mask.any(axis=1)).tolist() == list(range(1, 1 + height))


def test_area_of_an_ellipse():
    mask = ellipse_mask(np.array([10, 20, 310, 220]), (240, 320))
    assert mask.sum() == pytest.approx(np.pi * 150 * 100, rel=1e-3)


def disc(size=60, shift=(0, 0)):
    """A bright disc on noise, its mask and its box."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
    mask = np.zeros((size, size), np.uint8)
    centre, radius = (size // 2 + shift[0], size // 2 + shift[1]), size // 5
    cv2.circle(mask, centre, radius, 1, -1)
    image[mask > 0] = (60, 180, 200)
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return image, mask > 0, np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@pytest.mark.parametrize('shift', [(0, 0), (-18, 0), (18, 18)])
def test_grabcut_finds_a_bright_disc(shift):
    image, mask, bbox = disc(shift=shift)
    original = image.copy()
    assert (grabcut_mask(image, bbox) == mask).all()
    assert (image == original).all()


@pytest.mark.parametrize(
    ('bbox', 'window', 'inner'),
    [
        # A quarter of 20 and of 12 on each side, where the image goes on.
        ([30, 40, 50, 52], [25, 37, 55, 55], [5, 3, 25, 15]),
        ([0, 40, 20, 60], [0, 35, 25, 60], [0, 5, 20, 25]),
    ],
)
def test_grabcut_starts_from_the_box_in_its_context(monkeypatch, bbox, window, inner):
    calls = []

    def spy(crop, labels, rect, ground, objects, iterations, mode):
        calls.append((crop, labels.copy(), iterations, mode))

    monkeypatch.setattr(cv2, 'grabCut', spy)
    image = np.random.default_rng(0).integers(0, 255, (60, 70, 3), dtype=np.uint8)
    grabcut_mask(image, np.array(bbox))
    [(crop, labels, iterations, mode)] = calls
    x1, y1, x2, y2 = window
    assert (crop == image[y1:y2, x1:x2]).all()
    x1, y1, x2, y2 = inner
    assert (labels[y1:y2, x1:x2] == cv2.GC_PR_FGD).all()
    assert (labels == cv2.GC_BGD).sum() == labels.size - (x2 - x1) * (y2 - y1)
    assert (iterations, mode) == (5, cv2.GC_INIT_WITH_MASK)


def test_grabcut_stays_in_the_box():
    image, mask, bbox = disc()
    half = np.array([bbox[0], bbox[1], (bbox[0] + bbox[2]) / 2, bbox[3]])
    assert not (grabcut_mask(image, half) & ~box_mask(half, mask.shape)).any()


def test_grabcut_does_not_depend_on_the_random_state():
    # An image on which other random numbers end in another mask.
    image = np.random.default_rng(4).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(image, (9, 9), 0)
    cv2.circle(image, (30, 30), 12, (60, 180, 200), 3)
    masks = []
    for seed in range(4):
        cv2.setRNGSeed(seed)
        masks.append(grabcut_mask(image, np.array([12, 12, 48, 48])))
        assert (masks[-1] == masks[0]).all()


@pytest.mark.parametrize(
    ('bbox', 'fill'),
    [
        ([0, 0, 20, 16], None),  # no surrounding
        ([-5, -5, 30, 30], None),
        ([6, 5, 7, 6], 0),  # a pixel as its surrounding
        ([5, 5, 15, 12], 0),  # nothing to tell apart
    ],
)
def test_grabcut_falls_back_on_the_box(bbox, fill):
    image = np.random.default_rng(0).integers(0, 255, (16, 20, 3), dtype=np.uint8)
    if fill is not None:
        image[:] = fill
    bbox = np.array(bbox)
    assert (grabcut_mask(image, bbox) == box_mask(bbox, (16, 20))).all()


def test_grabcut_survives_any_box():
    rng = np.random.default_rng(0)
    for _ in range(100):
        height, width = rng.integers(1, 12, 2)
        image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        corners = np.sort(rng.uniform(-2, 13, (2, 2)), axis=0)
        mask = grabcut_mask(image, corners.ravel())
        assert mask.shape == (height, width) and mask.any()
