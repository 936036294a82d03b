import cv2
import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import RandomFlip
from mmdet.structures.bbox import HorizontalBoxes

from mmboxcaseg.datasets.transforms import (
    BoxPatch,
    RandomBoxPatch,
    RandomDownscale,
    RandomSalientPatch,
    WholeImagePatch,
)
from mmboxcaseg.datasets.transforms.patches import bboxes_in_window, crop_resize, jitter_bbox
from mmboxcaseg.errors import InputError

HEIGHT, WIDTH = 40, 60


def coordinate_image(height=HEIGHT, width=WIDTH):
    """An image whose pixels say where they are: blue is x, green is y."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)


def sample(bbox=None, mask=None, image=None):
    image = coordinate_image() if image is None else image
    results = dict(img=image, img_shape=image.shape[:2])
    if bbox is not None:
        results['bbox'] = bbox
    if mask is not None:
        results['gt_seg_map'] = mask
    return results


def rectangle(x1, y1, x2, y2, shape=(HEIGHT, WIDTH)):
    mask = np.zeros(shape, np.uint8)
    mask[y1:y2, x1:x2] = 1
    return mask


def fixed_draws(monkeypatch, *draws):
    draws = iter(draws)
    monkeypatch.setattr(np.random, 'uniform', lambda *args: np.array(next(draws)))


@pytest.mark.parametrize(
    ('shift', 'scale', 'shift_unit', 'expected'),
    [
        ((0, 0), (1, 1), 'full', [10, 20, 30, 24]),
        ((0.25, -0.5), (1, 1), 'full', [15, 18, 35, 22]),
        ((0.25, -0.5), (1, 1), 'half', [12.5, 19, 32.5, 23]),
        ((0, 0), (0.5, 1.5), 'full', [15, 19, 25, 25]),
        ((-0.25, 0.25), (1.5, 0.5), 'full', [0, 22, 30, 24]),
        ((-0.25, 0.25), (1.5, 0.5), 'half', [2.5, 21.5, 32.5, 23.5]),
    ],
)
def test_jitter_bbox(shift, scale, shift_unit, expected):
    got = jitter_bbox([10, 20, 30, 24], np.array(shift), np.array(scale), shift_unit)
    assert got.tolist() == expected


def test_bboxes_in_window_are_not_clipped():
    bboxes = np.array([[10, 10, 20, 30], [0, 0, 5, 5]])
    mapped = bboxes_in_window(bboxes, np.array([10, 20, 30, 30]), (5, 40))
    assert mapped.tolist() == [[0, -5, 20, 5], [-20, -10, -10, -7.5]]
    assert bboxes_in_window([], np.array([10, 20, 30, 30]), (5, 40)).shape == (0, 4)


def test_crop_of_its_own_size_is_exact():
    crop = crop_resize(coordinate_image(), np.array([7, 3, 27, 13]), (10, 20))
    assert np.array_equal(crop, coordinate_image()[3:13, 7:27])


@pytest.mark.parametrize(
    ('window', 'size'), [((8, 4, 40, 36), (8, 16)), ((5, 6, 15, 14), (40, 40))]
)
def test_resize_keeps_pixels_where_they_are(window, size):
    x1, y1, x2, y2 = window
    patch = crop_resize(4 * coordinate_image(), window, size) / 4
    # The centre of patch pixel i lies at (i + 0.5) / size of the window.
    x = x1 + (np.arange(size[1]) + 0.5) * (x2 - x1) / size[1] - 0.5
    y = y1 + (np.arange(size[0]) + 0.5) * (y2 - y1) / size[0] - 0.5
    assert np.abs(patch[..., 0] - x.clip(x1, x2 - 1)).max() <= 0.25
    assert np.abs(patch[..., 1] - y.clip(y1, y2 - 1)[:, None]).max() <= 0.25


def test_shrinking_averages():
    dots = np.zeros((16, 16, 3), np.uint8)
    dots[::4, ::4] = 160
    assert (crop_resize(dots, np.array([0, 0, 16, 16]), (4, 4)) == 10).all()


class TestBoxPatch:
    def test_crop_is_the_box(self):
        results = BoxPatch(size=(10, 20))(sample(bbox=[3, 4, 23, 14]))
        assert np.array_equal(results['img'], coordinate_image()[4:14, 3:23])
        assert results['img_shape'] == (10, 20)
        assert results['patch_bbox'].tolist() == [3, 4, 23, 14]
        assert isinstance(results['gt_bboxes'], HorizontalBoxes)
        assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 20, 10]]

    def test_default_is_the_paper_s(self):
        assert BoxPatch()(sample(bbox=[3, 4, 23, 14]))['img'].shape == (320, 320, 3)

    def test_at_the_border(self):
        results = BoxPatch(size=(5, 10))(sample(bbox=[50, 35, 75, 60]))
        assert results['patch_bbox'].tolist() == [50, 35, 60, 40]
        assert np.array_equal(results['img'], coordinate_image()[35:40, 50:60])
        assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 10, 5]]

    def test_salient_sample_is_cropped_at_its_mask(self):
        results = BoxPatch(size=(6, 9))(sample(mask=rectangle(11, 8, 20, 14)))
        assert results['patch_bbox'].tolist() == [11, 8, 20, 14]
        assert results['gt_seg_map'].all()


class TestMargin:
    def test_window_is_the_pixel_box_grown(self):
        results = BoxPatch(size=(14, 30), margin=0.25)(sample(bbox=[12.4, 9.6, 32.4, 19.6]))
        # The pixel box is [12, 10, 32, 20]; a quarter of 20 is 5, of 10 it is 2.5, and 3 at last.
        assert results['patch_bbox'].tolist() == [7, 7, 37, 23]
        resized = crop_resize(coordinate_image(), np.array([7, 7, 37, 23]), (14, 30))
        assert np.array_equal(results['img'], resized)
        assert results['gt_bboxes'].tensor.tolist() == [[5, 2.625, 25, 11.375]]
        assert results['bbox'] == [12.4, 9.6, 32.4, 19.6]

    def test_outside_is_the_mean_colour(self):
        results = BoxPatch(size=(20, 40), margin=0.5)(sample(bbox=[50, 30, 70, 50]))
        # Pixel box [50, 30, 60, 40], window [45, 25, 65, 45], resized by 2 and by 1.
        assert results['patch_bbox'].tolist() == [45, 25, 65, 45]
        assert results['gt_bboxes'].tensor.tolist() == [[10, 5, 30, 15]]
        assert (results['img'][15:] == (104, 116, 124)).all()
        assert (results['img'][:, 31:] == (104, 116, 124)).all()
        assert results['img'][0, 0].tolist() == [45, 25, 0]
        assert results['img'][14, 28].tolist() == [59, 39, 0]

    @pytest.mark.parametrize(
        ('bbox', 'margin', 'window', 'inner'),
        [
            # A pixel has no room for a part of itself, until the part is half.
            ([7, 5, 8, 6], 0.4, [7, 5, 8, 6], [0, 0, 12, 12]),
            ([7, 5, 8, 6], 0.5, [6, 4, 9, 7], [4, 4, 8, 8]),
            ([7.2, 5.2, 7.3, 5.3], 1, [6, 4, 9, 7], [4, 4, 8, 8]),
            # Larger than the image.
            ([-9, -9, 99, 99], 0.5, [-30, -20, 90, 60], [3, 3, 9, 9]),
        ],
    )
    def test_edges(self, bbox, margin, window, inner):
        results = BoxPatch(size=12, margin=margin)(sample(bbox=bbox))
        assert results['patch_bbox'].tolist() == window
        assert results['gt_bboxes'].tensor.tolist() == [inner]

    def test_without_a_margin_the_box_is_the_patch(self):
        results = BoxPatch(size=16)(sample(bbox=[3.4, 2.3, 20.4, 11.8]))
        assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 16, 16]]

    def test_salient_sample(self):
        mask = rectangle(2, 10, 12, 20)
        results = BoxPatch(size=20, margin=0.5)(sample(mask=mask))
        assert results['patch_bbox'].tolist() == [-3, 5, 17, 25]
        assert np.array_equal(results['gt_seg_map'], rectangle(5, 5, 15, 15, (20, 20)))
        assert results['gt_bboxes'].tensor.tolist() == [[5, 5, 15, 15]]
        # Resized, what lies outside the image is no object either.
        results = BoxPatch(size=10, margin=0.5)(sample(mask=rectangle(0, 10, 10, 20)))
        assert not results['gt_seg_map'][:, :2].any()

    @pytest.mark.parametrize('margin', [-0.1, float('nan'), float('inf'), '0.1', None])
    def test_margin_that_is_none(self, margin):
        with pytest.raises(InputError, match="margin must be a part of the box's sides"):
            BoxPatch(margin=margin)


@pytest.mark.parametrize(
    'window', [(-4, -3, 8, 6), (50, 30, 75, 44), (-5, 8, 70, 9), (70, 3, 95, 9), (0, -9, 60, 0)]
)
def test_window_that_leaves_the_image(window):
    x1, y1, x2, y2 = window
    padded = np.full((HEIGHT + 100, WIDTH + 100, 3), (104, 116, 124), np.uint8)
    padded[50:-50, 50:-50] = coordinate_image()
    crop = crop_resize(coordinate_image(), np.array(window), (y2 - y1, x2 - x1))
    assert np.array_equal(crop, padded[50 + y1 : 50 + y2, 50 + x1 : 50 + x2])


class TestRandomBoxPatch:
    def test_crop_box_and_pixels_agree(self, monkeypatch):
        fixed_draws(monkeypatch, (0.25, -0.25), (1.5, 1.0))
        results = RandomBoxPatch(size=(8, 30))(sample(bbox=[10, 20, 30, 28]))
        # Centre (20, 24) moves to (25, 22), 20x8 grows to 30x8.
        assert results['patch_bbox'].tolist() == [10, 18, 40, 26]
        assert np.array_equal(results['img'], coordinate_image()[18:26, 10:40])
        assert results['gt_bboxes'].tensor.tolist() == [[0, 2, 20, 8]]

    def test_clipped_to_the_image(self, monkeypatch):
        fixed_draws(monkeypatch, (0.25, 0.25), (1.5, 1.5))
        results = RandomBoxPatch(size=(10, 10))(sample(bbox=[48, 30, 60, 40]))
        # Centre (57, 37.5), 18x15: [48, 30, 66, 45] before the clipping.
        assert results['patch_bbox'].tolist() == [48, 30, 60, 40]
        assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 10, 10]]

    def test_may_leave_the_image(self, monkeypatch):
        fixed_draws(monkeypatch, (0.25, 0.25), (1.5, 1.5))
        mask = rectangle(48, 30, 60, 40)
        transform = RandomBoxPatch(size=(15, 18), inside=False)
        results = transform(sample(bbox=[48, 30, 60, 40], mask=mask))
        assert results['patch_bbox'].tolist() == [48, 30, 66, 45]
        assert np.array_equal(results['img'][:10, :12], coordinate_image()[30:, 48:])
        assert (results['img'][10:] == (104, 116, 124)).all()
        assert np.array_equal(results['gt_seg_map'], rectangle(0, 0, 12, 10, (15, 18)))
        assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 12, 10]]

    def test_a_window_outside_is_a_pixel_at_least(self, monkeypatch):
        fixed_draws(monkeypatch, (0, 0), (0.1, 0.1))
        results = RandomBoxPatch(size=4, inside=False)(sample(bbox=[20, 20, 20.6, 20.6]))
        assert results['patch_bbox'].tolist() == [20, 20, 21, 21]

    def test_box_of_a_sample_with_a_mask_is_its_own(self, monkeypatch):
        # A proxy mask is smaller or larger than its object; the box is what is known.
        fixed_draws(monkeypatch, (0, 0), (1, 1))
        transform = RandomBoxPatch(size=(10, 20))
        results = transform(sample(bbox=[10, 10, 30, 20], mask=rectangle(14, 12, 20, 16)))
        assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 20, 10]]

    def test_draws_stay_in_the_paper_s_ranges(self):
        bbox = np.array([400.0, 300, 500, 350])
        image = np.zeros((800, 1000, 3), np.uint8)
        transform = RandomBoxPatch(size=4)
        windows = np.array(
            [transform(sample(bbox=bbox, image=image))['patch_bbox'] for _ in range(300)]
        )
        size = (windows[:, 2:] - windows[:, :2]) / [100, 50]
        shift = ((windows[:, :2] + windows[:, 2:]) / 2 - [450, 325]) / [100, 50]
        assert size.min() == pytest.approx(0.5, abs=0.05)
        assert size.max() == pytest.approx(1.5, abs=0.05)
        assert shift.min() == pytest.approx(-0.25, abs=0.03)
        assert shift.max() == pytest.approx(0.25, abs=0.03)
        # The sides and the directions are drawn apart.
        assert abs(np.corrcoef(size.T)[0, 1]) < 0.2
        assert abs(np.corrcoef(shift.T)[0, 1]) < 0.2

    def test_shift_unit_half_halves_the_shift(self, monkeypatch):
        fixed_draws(monkeypatch, (0.5, 0.5), (1, 1))
        results = RandomBoxPatch(size=8, shift_unit='half')(sample(bbox=[10, 10, 18, 14]))
        assert results['patch_bbox'].tolist() == [12, 11, 20, 15]

    def test_never_empty(self):
        for bbox in ([0, 0, 0.2, 0.2], [59.9, 39.9, 60, 40], [30, 20, 31, 21]):
            for _ in range(20):
                x1, y1, x2, y2 = RandomBoxPatch(size=4)(sample(bbox=bbox))['patch_bbox']
                assert 0 <= x1 < x2 <= WIDTH
                assert 0 <= y1 < y2 <= HEIGHT

    def test_salient_sample_is_cropped_around_its_mask(self, monkeypatch):
        fixed_draws(monkeypatch, (0.25, 0), (1, 1.5))
        results = RandomBoxPatch(size=(12, 8))(sample(mask=rectangle(20, 10, 28, 18)))
        assert results['patch_bbox'].tolist() == [22, 8, 30, 20]
        assert np.array_equal(results['gt_seg_map'], rectangle(20, 10, 28, 18)[8:20, 22:30])
        assert results['gt_bboxes'].tensor.tolist() == [[0, 2, 6, 10]]

    def test_unknown_shift_unit(self):
        with pytest.raises(InputError, match="'full' or 'half'"):
            RandomBoxPatch(shift_unit='quarter')


class TestRandomSalientPatch:
    def test_crop_of_an_image_that_needs_no_resize(self):
        mask = rectangle(20, 10, 45, 30)
        corners = set()
        for _ in range(40):
            results = RandomSalientPatch(resize=(HEIGHT, WIDTH), size=(30, 50))(sample(mask=mask))
            x1, y1, x2, y2 = results['patch_bbox'].astype(int)
            assert (x2 - x1, y2 - y1) == (50, 30)
            assert np.array_equal(results['img'], coordinate_image()[y1:y2, x1:x2])
            assert np.array_equal(results['gt_seg_map'], mask[y1:y2, x1:x2])
            rows, columns = np.nonzero(results['gt_seg_map'])
            tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert results['gt_bboxes'].tensor.tolist() == [tight]
            corners.add((x1, y1))
        assert len(corners) > 20
        assert np.ptp(list(corners), axis=0).tolist() == [10, 10]

    def test_paper_s_sizes(self):
        results = RandomSalientPatch()(sample(mask=rectangle(20, 10, 45, 30)))
        assert results['img'].shape == (288, 288, 3)
        assert results['gt_seg_map'].shape == (288, 288)
        assert results['img_shape'] == (288, 288)

    def test_crop_beside_the_object(self, monkeypatch):
        monkeypatch.setattr(np.random, 'randint', lambda high: high - 1)
        transform = RandomSalientPatch(resize=(HEIGHT, WIDTH), size=10)
        results = transform(sample(mask=rectangle(0, 0, 5, 5)))
        assert not results['gt_seg_map'].any()
        assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 0, 0]]

    def test_too_large_a_patch(self):
        with pytest.raises(InputError, match='does not fit'):
            RandomSalientPatch(resize=32, size=33)


@pytest.mark.parametrize('transform', [RandomBoxPatch, RandomSalientPatch, BoxPatch])
@pytest.mark.parametrize('size', [0, (16, 0), 1.5, '16', None])
def test_size_that_is_none(transform, size):
    with pytest.raises(InputError, match='size must be a whole number of at least 1'):
        transform(size=size)


def test_bad_arguments():
    with pytest.raises(InputError, match='size must be height and width'):
        BoxPatch(size=(1, 2, 3))
    with pytest.raises(InputError, match=r'prob must be in \[0, 1\]'):
        RandomDownscale(prob=60)


@pytest.mark.parametrize('size', [(16, 16), (25, 36), (64, 80)])
def test_mask_stays_on_its_pixels(size):
    # Resized alone or as a part of the image, the object has to lie in the same place.
    mask = rectangle(13, 7, 44, 31)
    image = (mask * 200)[..., None].repeat(3, axis=2)
    results = BoxPatch(size)(sample(bbox=[2, 3, 58, 38], mask=mask, image=image))
    assert np.array_equal(results['gt_seg_map'], (results['img'][..., 0] >= 100).astype(np.uint8))


@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
@pytest.mark.parametrize('transform', [BoxPatch(18), RandomSalientPatch(24, 24)])
def test_patch_of_a_flipped_image_is_the_flipped_patch(transform, direction):
    rng = np.random.default_rng(3)
    mask = (cv2.GaussianBlur(rng.random((HEIGHT, WIDTH)), (0, 0), 3) > 0.5).astype(np.uint8)
    image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    axis = 1 if direction == 'horizontal' else 0
    patch = transform(sample(mask=mask, image=image))
    flipped = transform(sample(mask=np.flip(mask, axis), image=np.flip(image, axis).copy()))
    patch = RandomFlip(prob=1.0, direction=direction)(patch)
    assert np.abs(patch['img'].astype(int) - flipped['img']).max() <= 1
    assert (patch['gt_seg_map'] == flipped['gt_seg_map']).mean() > 0.99
    assert np.allclose(patch['gt_bboxes'].tensor, flipped['gt_bboxes'].tensor, atol=1)


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_flip_keeps_box_mask_and_pixels_together(direction):
    mask = rectangle(5, 8, 25, 20)
    image = (mask * 200)[..., None].repeat(3, axis=2)
    flip = RandomFlip(prob=1.0, direction=direction)
    salient = flip(RandomSalientPatch((HEIGHT, WIDTH), (38, 56))(sample(mask=mask, image=image)))
    box = flip(BoxPatch((36, 52))(sample(bbox=[5, 8, 25, 20], image=image)))
    assert np.array_equal(salient['gt_seg_map'], salient['img'][..., 0] // 200)
    rows, columns = np.nonzero(salient['gt_seg_map'])
    tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert salient['gt_bboxes'].tensor.tolist() == [tight]
    assert box['gt_bboxes'].tensor.tolist() == [[0, 0, 52, 36]]


def test_the_source_image_is_not_changed():
    # LoadPatchImage hands the same array to every box of an image.
    image = coordinate_image()
    for transform in (BoxPatch((HEIGHT, WIDTH)), RandomBoxPatch(16)):
        assert isinstance(transform, BaseTransform)
        results = transform(sample(bbox=[0, 0, WIDTH, HEIGHT], image=image))
        results['img'][:] = 255
        assert np.array_equal(image, coordinate_image())


class TestRandomDownscale:
    def test_patch_is_shrunken_and_enlarged(self):
        image = np.zeros((8, 8, 3), np.uint8)
        image[:4, :4] = 160
        image[0, 0] = 0
        out = RandomDownscale(size=(2, 2), prob=1)(sample(image=image))['img']
        # Shrunken to 2x2 the quarters are their means, 150 and 0; the corners keep them.
        assert out.shape == (8, 8, 3)
        assert out[0, 0].tolist() == [150] * 3 and out[-1, -1].tolist() == [0] * 3

    @pytest.mark.parametrize('transform', [dict(prob=0), dict(size=(8, 8), prob=1)])
    def test_patch_stays_as_it_is(self, transform):
        image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        out = RandomDownscale(**{'size': (2, 4), **transform})(sample(image=image.copy()))
        np.testing.assert_array_equal(out['img'], image)

    def test_probability(self):
        np.random.seed(0)
        image = coordinate_image(16, 16)
        changed = [
            (RandomDownscale(size=(2, 8), prob=0.6)(sample(image=image))['img'] != image).any()
            for _ in range(400)
        ]
        assert np.mean(changed) == pytest.approx(0.6, abs=0.08)


def test_whole_image_patch():
    mask = rectangle(15, 8, 30, 40)
    results = WholeImagePatch(size=(20, 120))(sample(mask=mask))
    whole = np.array([0, 0, WIDTH, HEIGHT])
    assert np.array_equal(results['img'], crop_resize(coordinate_image(), whole, (20, 120)))
    assert results['img_shape'] == (20, 120)
    assert results['patch_bbox'].tolist() == whole.tolist()
    # Nobody says where the object is; the mask stays as it is.
    assert results['gt_bboxes'].tensor.tolist() == [[0, 0, 120, 20]]
    assert results['gt_seg_map'] is mask


class TestOtherBoxes:
    @pytest.mark.parametrize(
        'crop',
        [
            RandomSalientPatch(resize=(60, 90), size=(40, 70)),
            RandomBoxPatch(size=(50, 40), inside=False),
            BoxPatch(size=(50, 40), margin=0.3),
            WholeImagePatch(size=40),
        ],
    )
    def test_lie_on_their_objects_after_every_crop_and_flip(self, crop):
        # The other object is a bright block beside the one asked for.
        image, mask = np.zeros((120, 100, 3), np.uint8), np.zeros((120, 100), np.uint8)
        image[50:90, 40:70] = 200
        mask[30:60, 30:50] = 1
        for direction in (None, 'horizontal', 'vertical', 'diagonal'):
            results = crop(sample(mask=mask, image=image) | dict(other_bboxes=[[40, 50, 70, 90]]))
            if direction:
                results = RandomFlip(prob=1.0, direction=direction)(results)
            bright = results['img'][..., 0] > 100
            _, other = np.rint(results['gt_bboxes'].tensor.numpy()).astype(int).clip(0)
            drawn = rectangle(*other, shape=bright.shape) > 0
            assert bright.sum() > 20
            assert (bright & drawn).sum() / (bright | drawn).sum() > 0.8

    def test_those_are_kept_that_the_patch_shows_a_part_of(self):
        others = [[0, 0, 60, 40], [23, 4, 30, 14], [3, 0, 23, 4], [20, 13, 90, 90], [0, 5, 3, 9]]
        results = BoxPatch(size=(20, 20))(sample(bbox=[3, 4, 23, 14]) | dict(other_bboxes=others))
        # The whole image and what reaches in by its corner; neither is cut.
        assert results['gt_bboxes'].tensor.tolist() == [
            [0, 0, 20, 20],
            [-3, -8, 57, 72],
            [17, 18, 87, 172],
        ]

    def test_the_sample_keeps_its_own(self):
        # Another view of the same sample is cropped after this one.
        before = sample(bbox=[3, 4, 23, 14]) | dict(other_bboxes=[[0, 0, 60, 40]])
        BoxPatch(size=8)(before)
        assert before['other_bboxes'] == [[0, 0, 60, 40]]
