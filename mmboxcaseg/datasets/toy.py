"""Synthetic scenes: textured shapes that fill their boxes poorly, on textured ground."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

TOY_CLASSES = ('star', 'crescent', 'blob', 'bracket', 'triangle', 'ellipse')
# Other families than the boxes': no mask of a box's class is ever seen in training.
SALIENT_SHAPES = ('cross', 'heart', 'gear', 'arrow')

_SUPERSAMPLING = 4
_MIN_COLOUR_DISTANCE = 40
_MIN_VISIBLE_SHARE = 0.5


def draw_shape(
    family: str, centre: Sequence[float], radius: float, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw one randomly rotated and stretched shape.

    Args:
        family: One of :data:`TOY_CLASSES` or :data:`SALIENT_SHAPES`.
        centre: x and y in pixels.
        radius: Of the circle around the unstretched shape, in pixels.
        size: Width and height of the image in pixels.
        rng: The source of all chance.

    Returns:
        (size, size) float32, the share of each pixel that the shape covers.
    """
    outline = _OUTLINES[family](rng)
    stretch = np.array([1, rng.uniform(0.7, 1)])
    angle = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (outline * stretch) @ rotation.T * radius + centre
    canvas = np.zeros((size * _SUPERSAMPLING, size * _SUPERSAMPLING), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points * _SUPERSAMPLING).astype(np.int32)], 255)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def draw_texture(size: int, fields: Sequence[Callable], rng: np.random.Generator) -> np.ndarray:
    """Draw a pattern between two random colours.

    Args:
        size: Width and height of the image in pixels.
        fields: One of them is drawn: :data:`GROUND_FIELDS` or :data:`OBJECT_FIELDS`.
        rng: The source of all chance.

    Returns:
        (size, size, 3) float32 BGR in 0 to 255.
    """
    field = fields[rng.integers(len(fields))](size, rng)
    first = rng.uniform(30, 225, 3)
    direction = rng.normal(size=3)
    second = first + rng.uniform(50, 90) * direction / np.linalg.norm(direction)
    texture = first + field[..., None] * (second - first)
    return np.clip(texture + rng.normal(0, 6, texture.shape), 0, 255).astype(np.float32)


def draw_scene(
    size: int, num_objects: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw objects that overlap each other; every one stays at least half visible.

    Args:
        size: Width and height of the image in pixels.
        num_objects: Objects tried; one that would hide another is left out.
        rng: The source of all chance.

    Returns:
        The image (size, size, 3) uint8 BGR, the visible masks (N, size, size) bool, which share
        no pixel, and the labels (N,) int64, indices into :data:`TOY_CLASSES`; N is at least 1.
    """
    image = draw_texture(size, GROUND_FIELDS, rng)
    ground = image.mean((0, 1))
    masks = np.zeros((0, size, size), bool)
    areas = np.zeros(0, np.int64)
    labels, centres = [], []
    # The larger lie behind, as in most photographs; merging by box area relies on it.
    for radius in np.sort(size * rng.uniform(0.14, 0.3, num_objects))[::-1]:
        label = int(rng.integers(len(TOY_CLASSES)))
        centre = _object_centre(size, radius, centres, rng)
        coverage = draw_shape(TOY_CLASSES[label], centre, radius, size, rng)
        mask = coverage > 0.5
        still_visible = masks & ~mask
        if (still_visible.sum((1, 2)) < _MIN_VISIBLE_SHARE * areas).any():
            continue
        image = _blend(image, _distinct_texture(size, ground, rng), coverage)
        masks = np.concatenate([still_visible, mask[None]])
        areas = np.append(areas, mask.sum())
        labels.append(label)
        centres.append(centre)
    return _finish(image, rng), masks, np.array(labels, np.int64)


def draw_salient_image(size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw one large object of a family in :data:`SALIENT_SHAPES` alone on its ground.

    Returns:
        The image (size, size, 3) uint8 BGR and the mask (size, size) bool.
    """
    ground = draw_texture(size, GROUND_FIELDS, rng)
    family = SALIENT_SHAPES[rng.integers(len(SALIENT_SHAPES))]
    radius = size * rng.uniform(0.25, 0.45)
    coverage = draw_shape(family, _object_centre(size, radius, [], rng), radius, size, rng)
    image = _blend(ground, _distinct_texture(size, ground.mean((0, 1)), rng), coverage)
    return _finish(image, rng), coverage > 0.5


def _object_centre(size, radius, others, rng):
    if others and rng.random() < 0.6:
        direction = rng.normal(size=2)
        near = others[rng.integers(len(others))] + 1.4 * radius * direction / np.hypot(*direction)
        return np.clip(near, 0.8 * radius, size - 0.8 * radius)
    return rng.uniform(radius, size - radius, 2)


def _distinct_texture(size, ground_colour, rng):
    while True:
        texture = draw_texture(size, OBJECT_FIELDS, rng)
        if np.linalg.norm(texture.mean((0, 1)) - ground_colour) >= _MIN_COLOUR_DISTANCE:
            return texture


def _blend(image, texture, coverage):
    return image + coverage[..., None] * (texture - image)


def _finish(image, rng):
    light = 1 + 0.25 * _gradient(image.shape[0], rng)[..., None] - 0.125
    return np.clip(image * light, 0, 255).astype(np.uint8)


def _polar(radii, angles):
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def _circle(count):
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _star(rng):
    spikes = int(rng.integers(4, 7))
    inner = rng.uniform(0.3, 0.45)
    return _polar(np.tile([1, inner], spikes), _circle(2 * spikes))


def _crescent(rng):
    # The disc's left arc and, back again, an arc of smaller curvature through the same ends.
    opening = rng.uniform(0.3, 0.5) * np.pi
    outer = np.linspace(opening, 2 * np.pi - opening, 40)
    bulge = rng.uniform(0.2, 0.45)
    sweep = np.linspace(-1, 1, 40)
    inner_x = np.cos(opening) - bulge - (1 - sweep**2) * 0.35
    inner = np.stack([inner_x + bulge * sweep**2, np.sin(opening) * sweep], 1)
    return np.concatenate([_polar(np.ones(40), outer), inner])


def _blob(rng):
    angles = _circle(80)
    radii = np.ones(80)
    for frequency in (2, 3, 4, 5):
        radii += rng.uniform(0.1, 0.3) * np.cos(frequency * angles + rng.uniform(0, 2 * np.pi))
    return _polar(radii / radii.max(), angles)


def _bracket(rng):
    width = rng.uniform(0.25, 0.45)
    left = -0.7 if rng.random() < 0.5 else -width / 2  # an L or a T
    bar = [(-0.7, -0.7), (0.7, -0.7), (0.7, -0.7 + width)]
    stem = [(left + width, -0.7 + width), (left + width, 0.7), (left, 0.7)]
    return np.array([*bar, *stem, (left, -0.7 + width), (-0.7, -0.7 + width)])


def _triangle(rng):
    return _polar(np.ones(3), 2 * np.pi * (np.arange(3) / 3 + rng.uniform(-0.08, 0.08, 3)))


def _ellipse(rng):
    return _polar(np.ones(60), _circle(60)) * [1, rng.uniform(0.35, 0.6)]


def _cross(rng):
    arm = rng.uniform(0.2, 0.35)
    quarter = np.array([(arm, arm), (1, arm), (1, -arm)]) @ [[0, 1], [-1, 0]]
    turn = np.array([[0, -1], [1, 0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


def _heart(rng):
    t = _circle(80)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y * rng.uniform(0.8, 1.1)], 1) / 17


def _gear(rng):
    angles = _circle(120)
    teeth = np.sign(np.cos(angles * rng.integers(6, 10)))
    return _polar(1 - rng.uniform(0.1, 0.2) * (1 - teeth), angles)


def _arrow(rng):
    shaft = rng.uniform(0.15, 0.3)
    head = [(0, -0.75), (1, 0), (0, 0.75)]
    return np.array([(-1, -shaft), (0, -shaft), *head, (0, shaft), (-1, shaft)])


def _gradient(size, rng):
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / size - 0.5
    return 0.5 + (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(2)


def _noise(size, rng):
    field = np.zeros((size, size))
    for cells in (4, 9, 18, 40):
        grid = rng.normal(size=(cells, cells))
        field += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) / np.sqrt(cells)
    return (field - field.min()) / np.ptp(field)


def _stripes(size, rng):
    phase = _gradient(size, rng) * size / rng.uniform(0.7, 1.5) + 4 * _noise(size, rng)
    return 0.5 + 0.5 * np.sin(phase)


def _spots(size, rng):
    period = rng.uniform(0.7, 1.3)
    across, along = _gradient(size, rng), _gradient(size, rng)
    return (np.sin(across * size / period) * np.sin(along * size / period) > 0.3).astype(float)


# Grounds and objects share all colours; what tells them apart is the pattern.
GROUND_FIELDS = (_gradient, _noise)
OBJECT_FIELDS = (_stripes, _spots)
_OUTLINES = dict(
    star=_star,
    crescent=_crescent,
    blob=_blob,
    bracket=_bracket,
    triangle=_triangle,
    ellipse=_ellipse,
    cross=_cross,
    heart=_heart,
    gear=_gear,
    arrow=_arrow,
)
