import numpy as np
import pytest
from mmcv.transforms import Compose

from mmboxcaseg.datasets.transforms import PasteClutter, RandomTruncate
from mmboxcaseg.datasets.transforms.clutter import paste_object, truncating_edges, visible_bbox
from mmboxcaseg.errors import InputError

ROWS, COLUMNS = np.mgrid[:30, :40]


def sample(mask=None, **more):
    """A grey image with a lighter object; rows 8 to 20, columns 10 to 30 by default."""
    if mask is None:
        mask = np.zeros((30, 40), np.uint8)
        mask[8:20, 10:30] = 1
    image = np.repeat(40 + 100 * mask[..., None], 3, axis=2).astype(np.uint8)
    return dict(img=image, gt_seg_map=mask, img_shape=mask.shape, supervision='mask', **more)


@pytest.fixture
def paste(data_root):
    """The transform, with the test's salient images."""

    def make(**kwargs):
        dataset = dict(type='mmboxcaseg.SalientObjectDataset', data_root=str(data_root / 'salient'))
        return PasteClutter(dataset, **{'prob': 1.0, **kwargs})

    return make


class TestPasteObject:
    image = np.full((3, 4, 3), 10, np.uint8)
    mask = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]], np.uint8)
    other = np.full((2, 2, 3), 110, np.uint8)

    def paste(self, opacity, corner, front):
        opacity = np.array(opacity, np.float32)
        image, mask = paste_object(self.image, self.mask, self.other, opacity, corner, front)
        assert (image == image[..., :1]).all()
        return image[..., 0].tolist(), mask.tolist()

    def test_in_front(self):
        image, mask = self.paste([[1, 0.5], [0.4, 0]], (1, 1), True)
        assert image == [[10, 10, 10, 10], [10, 110, 60, 10], [10, 50, 10, 10]]
        assert mask == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0]]

    def test_behind(self):
        image, mask = self.paste([[1, 0.5], [1, 1]], (2, 0), False)
        assert image == [[10, 10, 110, 60], [10, 10, 10, 110], [10, 10, 10, 10]]
        assert mask == self.mask.tolist()

    @pytest.mark.parametrize('front', [True, False])
    def test_partly_outside(self, front):
        image, mask = self.paste([[1, 1], [1, 0.2]], (-1, -1), front)
        assert image == [[30, 10, 10, 10], [10, 10, 10, 10], [10, 10, 10, 10]]
        image, mask = self.paste([[0.2, 1], [1, 1]], (3, 2), front)
        assert image == [[10, 10, 10, 10], [10, 10, 10, 10], [10, 10, 10, 30]]
        assert mask == self.mask.tolist()

    @pytest.mark.parametrize('corner', [(-2, 0), (0, -2), (4, 0), (0, 3), (-9, -9), (9, 9)])
    def test_outside(self, corner):
        for front in (True, False):
            image, mask = self.paste([[1, 1], [1, 1]], corner, front)
            assert image == self.image[..., 0].tolist()
            assert mask == self.mask.tolist()

    def test_inputs_stay_as_they_are(self):
        image, mask = self.image.copy(), self.mask.copy()
        self.paste([[1, 1], [1, 1]], (1, 1), True)
        assert np.array_equal(self.image, image)
        assert np.array_equal(self.mask, mask)


class TestVisibleBbox:
    mask = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]], np.uint8)

    @pytest.mark.parametrize(
        ('opacity', 'corner', 'front', 'expected'),
        [
            ([[1, 1], [1, 1]], (0, 0), True, [0, 0, 2, 2]),
            # Less than a half is not seen.
            ([[0.4, 1], [0.2, 0.5]], (0, 0), True, [1, 0, 2, 2]),
            # Behind the object: its first row, and what lies left of it.
            ([[1, 1], [1, 1]], (1, 0), False, [1, 0, 3, 1]),
            ([[1, 1], [1, 1]], (1, 1), False, None),
            # Partly and wholly outside.
            ([[1, 1], [1, 1]], (3, 2), True, [3, 2, 4, 3]),
            ([[1, 1], [1, 1]], (-1, -1), True, [0, 0, 1, 1]),
            ([[1, 1], [1, 1]], (4, 0), True, None),
            ([[1, 1], [1, 1]], (-2, 0), True, None),
        ],
    )
    def test_by_hand(self, opacity, corner, front, expected):
        assert visible_bbox(self.mask, np.array(opacity), corner, front) == expected


class TestPasteClutter:
    def test_tells_where_it_pasted(self, paste):
        transform = paste(max_num=1, front_prob=0.5, twin_prob=0.5)
        told = 0
        for _ in range(20):
            before = sample(other_bboxes=[[0, 1, 2, 3]])
            after = transform(dict(before))
            first, *pasted = after['other_bboxes']
            assert first == [0, 1, 2, 3]
            assert before['other_bboxes'] == [[0, 1, 2, 3]]
            assert len(pasted) <= 1
            changed = (after['img'] != before['img']).any(axis=2)
            for x1, y1, x2, y2 in pasted:
                told += 1
                # Little is changed outside: the seam of an object is seen by less than a half.
                inside = (
                    (x1 - 1 <= COLUMNS) & (x2 + 1 > COLUMNS) & (y1 - 1 <= ROWS) & (y2 + 1 > ROWS)
                )
                assert changed[inside].any()
                assert not changed[~inside].any()
        assert told > 10

    def test_changes_image_and_mask_alone(self, paste):
        before = sample(img_path='x')
        image, mask = before['img'].copy(), before['gt_seg_map'].copy()
        after = paste(front_prob=1, min_visible=0.1, max_num=3)(dict(before))
        assert (after['img'] != image).any()
        assert (after['gt_seg_map'] <= mask).all()
        assert after.keys() == before.keys() | {'other_bboxes'}
        # The image may be shared with the samples that follow.
        assert np.array_equal(before['img'], image)
        assert np.array_equal(before['gt_seg_map'], mask)

    def test_behind_leaves_the_object(self, paste):
        transform = paste(front_prob=0, max_num=3)
        changed = 0
        for _ in range(20):
            before = sample()
            after = transform(dict(before))
            object_ = before['gt_seg_map'] > 0
            assert np.array_equal(after['gt_seg_map'], before['gt_seg_map'])
            assert np.array_equal(after['img'][object_], before['img'][object_])
            changed += (after['img'] != before['img']).any()
        assert changed > 10

    def test_pixels_that_are_hidden_leave_the_mask(self, paste):
        transform = paste(front_prob=1, min_visible=0.01)
        hidden = 0
        for _ in range(20):
            before = sample()
            after = transform(dict(before))
            lost = before['gt_seg_map'] > after['gt_seg_map']
            kept = after['gt_seg_map'] > 0
            hidden += lost.sum()
            # The object is of one colour: where it is more than half visible little has changed.
            assert (after['img'] != before['img']).any(axis=2)[lost].all()
            assert (after['img'] == before['img']).all(axis=2)[kept].mean() > 0.5
        assert hidden > 100

    @pytest.mark.parametrize('min_visible', [0.3, 0.8, 1.0])
    def test_min_visible_counts_all_that_is_pasted(self, paste, min_visible):
        transform = paste(front_prob=1, max_num=5, min_visible=min_visible, scale=(0.5, 2))
        shares = []
        for _ in range(40):
            before = sample()
            shares.append(transform(dict(before))['gt_seg_map'].sum() / before['gt_seg_map'].sum())
        assert min_visible <= min(shares)
        assert min(shares) < min_visible + 0.2

    def test_objects_come_from_the_dataset_or_are_twins(self, paste, monkeypatch):
        transform = paste(twin_prob=0.5, max_num=1, front_prob=0)
        drawn = []
        draw = transform._draw_object
        monkeypatch.setattr(
            transform, '_draw_object', lambda *args: drawn.append(args) or draw(*args)
        )
        before = sample()
        for _ in range(40):
            transform(dict(before))
        twins = [
            image is before['img'] and mask is before['gt_seg_map'] for image, mask, _ in drawn
        ]
        assert 10 < sum(twins) < 30
        assert {args[0].shape for args, twin in zip(drawn, twins, strict=True) if not twin} == {
            (36, 44, 3)
        }

    def test_a_list_file_bounds_where_objects_come_from(self, data_root, tmp_path):
        (tmp_path / 'some.txt').write_text('s1\ns4\n')
        dataset = dict(
            type='mmboxcaseg.SalientObjectDataset',
            data_root=str(data_root / 'salient'),
            ann_file=str(tmp_path / 'some.txt'),
        )
        transform = PasteClutter(dataset)
        paths = [transform.dataset.get_data_info(index)['img_path'] for index in range(2)]
        assert [path[-6:] for path in paths] == ['s1.png', 's4.png']
        assert len(transform.dataset) == 2

    def test_size_and_place(self, paste):
        transform = paste(scale=(0.5, 2))
        beside = sample()['gt_seg_map']  # a box of 20x12 at x 10, y 8
        sizes, centres = [], []
        mask = np.zeros((30, 40), np.uint8)
        mask[10:20, 5:15] = 1
        for _ in range(200):
            image, opacity, (x, y) = transform._draw_object(sample()['img'], mask, beside)
            height, width = opacity.shape
            assert image.shape == (height, width, 3)
            assert abs(height - width) <= 1
            sizes.append(width / np.sqrt(20 * 12))
            centres.append((x + width / 2, y + height / 2))
        assert 0.4 < min(sizes) < 0.6 < 1.8 < max(sizes) < 2.1
        low, high = np.min(centres, axis=0), np.max(centres, axis=0)
        # Half of 20 and of 12 beyond the box, and the rounding of the corner.
        assert np.all(low >= [-1, 1]) and np.all(low <= [3, 4])
        assert np.all(high <= [41, 27]) and np.all(high >= [37, 24])

    def test_flips(self, paste):
        transform = paste(scale=(1, 1))
        mask = np.zeros((30, 40), np.uint8)
        mask[0:20, 0] = mask[0, 0:20] = 1
        image = np.repeat(200 * mask[..., None], 3, axis=2).astype(np.uint8)
        left = 0
        for _ in range(40):
            other, opacity, _ = transform._draw_object(image, mask, mask)
            assert np.array_equal(other[..., 0] > 100, opacity > 0.5)
            left += opacity[-1, 0] > 0.5
        assert 10 < left < 30

    @pytest.mark.parametrize('pixels', [(1, 1), (1, 3), (3, 1)])
    def test_tiny_images_and_objects(self, paste, pixels):
        transform = paste(max_num=4, twin_prob=0.3)
        for shape in (pixels, (5, 4)):
            mask = np.zeros(shape, np.uint8)
            mask[-1, -1] = 1
            after = Compose([transform])(sample(mask))
            assert after['img'].shape == (*shape, 3)
            assert after['gt_seg_map'].sum() == 1

    def test_samples_without_a_mask_stay(self, paste):
        results = dict(img=sample()['img'], bbox=[1, 2, 3, 4])
        assert paste()(dict(results)) == results

    def test_prob(self, paste):
        transform, before = paste(prob=0.25), sample()
        pasted = [transform(dict(before))['img'] is not before['img'] for _ in range(200)]
        assert 30 < sum(pasted) < 70

    @pytest.mark.parametrize(
        ('settings', 'sentence'),
        [
            (dict(prob=1.5), r'prob must be in \[0, 1\]'),
            (dict(front_prob=2), r'front_prob must be in \[0, 1\]'),
            (dict(twin_prob=-1), r'twin_prob must be in \[0, 1\]'),
            (dict(max_num=0), 'max_num must be a whole number'),
            (dict(min_visible=0), 'min_visible must be above 0'),
            (dict(scale=(0, 1)), 'scale must be two factors above 0'),
            (dict(scale=(2, 1)), 'the smaller first'),
        ],
    )
    def test_settings_out_of_range(self, paste, settings, sentence):
        with pytest.raises(InputError, match=sentence):
            paste(**settings)

    def test_a_dataset_without_masks(self, data_root):
        dataset = dict(
            type='mmboxcaseg.BoxInstanceDataset',
            data_root=str(data_root / 'coco'),
            ann_file='annotations/instances.json',
            data_prefix=dict(img='train'),
        )
        with pytest.raises(InputError, match='BoxInstanceDataset, which has no masks'):
            PasteClutter(dataset)


@pytest.mark.parametrize(
    ('side', 'edges'),
    [
        # Columns hold 0, 4, 2, 2, 0 of the object's 8 pixels, rows 1, 3, 3, 1.
        (0, [2, 3]),
        (2, [2, 3]),
        (1, [1, 2]),
        (3, [2, 3]),
    ],
)
def test_truncating_edges(side, edges):
    mask = np.array([[0, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 1, 0, 0, 0]], np.uint8)
    assert truncating_edges(mask, side, 0.25).tolist() == edges


def test_truncating_edges_leave_enough():
    mask = np.array([[0, 1, 1, 1, 1, 0]], np.uint8)
    assert truncating_edges(mask, 0, 0.75).tolist() == [2]
    assert truncating_edges(mask, 2, 0.75).tolist() == [4]
    assert truncating_edges(mask, 0, 0.76).tolist() == []
    assert truncating_edges(mask, 1, 0.01).tolist() == []
    assert truncating_edges(mask, 0, 0.01).tolist() == [2, 3, 4]


class TestRandomTruncate:
    def test_cuts_image_mask_and_box_alike(self):
        mask = np.zeros((30, 40), np.uint8)
        mask[8:20, 10:30] = 1
        cut_sides = set()
        for _ in range(60):
            # Red says the row and green the column of each pixel.
            image = np.stack([np.zeros_like(ROWS), COLUMNS, ROWS], axis=2).astype(np.uint8)
            results = dict(img=image, gt_seg_map=mask, img_shape=(30, 40), bbox=[10, 8, 30, 20])
            results = RandomTruncate(prob=1, min_visible=0.5)(results)
            columns, rows = results['img'][0, :, 1], results['img'][:, 0, 2]
            x1, x2, y1, y2 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
            assert results['img_shape'] == (y2 - y1, x2 - x1) == results['gt_seg_map'].shape
            assert np.array_equal(results['gt_seg_map'], mask[y1:y2, x1:x2])
            assert results['bbox'] == [
                max(10, x1) - x1, max(8, y1) - y1, min(30, x2) - x1, min(20, y2) - y1
            ]  # fmt: skip
            sides = np.flatnonzero([x1 > 0, y1 > 0, x2 < 40, y2 < 30])
            assert len(sides) == 1
            assert 0.5 <= results['gt_seg_map'].sum() / mask.sum() < 1
            cut_sides.add(int(sides[0]))
        assert cut_sides == {0, 1, 2, 3}

    def test_objects_that_are_too_thin_stay(self):
        mask = np.zeros((5, 5), np.uint8)
        mask[2, 2] = 1
        for _ in range(8):
            results = RandomTruncate(prob=1)(sample(mask))
            assert results['gt_seg_map'] is mask
            assert results['img'].shape == (5, 5, 3)

    def test_samples_without_a_mask_stay(self):
        results = dict(img=sample()['img'], bbox=[10, 8, 30, 20])
        assert RandomTruncate(prob=1)(dict(results)) == results

    def test_prob(self):
        cut = [RandomTruncate(prob=0.25)(sample())['img_shape'] != (30, 40) for _ in range(200)]
        assert 30 < sum(cut) < 70

    @pytest.mark.parametrize('settings', [dict(prob=2), dict(min_visible=0), dict(min_visible=2)])
    def test_settings_out_of_range(self, settings):
        with pytest.raises(InputError, match=f'{next(iter(settings))} must be'):
            RandomTruncate(**settings)


def test_other_boxes_are_cut_as_the_box_is():
    transform = RandomTruncate(prob=1.0)
    moved = 0
    for _ in range(20):
        bbox = [10, 8, 30, 20]
        results = transform(sample(bbox=bbox, other_bboxes=[bbox, [0, 0, 40, 30]]))
        height, width = results['img'].shape[:2]
        assert results['other_bboxes'] == [results['bbox'], [0, 0, width, height]]
        moved += results['bbox'] != bbox
    assert moved > 10


def test_what_went_behind_is_told_as_it_is_seen(paste):
    # All of the object must stay visible, so whatever is drawn in front goes behind.
    transform = paste(front_prob=1, min_visible=1.0, max_num=1, scale=(0.3, 0.6))
    hidden = 0
    for _ in range(60):
        after = transform(sample())
        assert (after['gt_seg_map'] == sample()['gt_seg_map']).all()
        for x1, y1, x2, y2 in np.array(after['other_bboxes'], dtype=int).reshape(-1, 4):
            rows, columns = after['gt_seg_map'][y1:y2, x1:x2], after['gt_seg_map'][y1:y2, x1:x2].T
            # Each side of the box of what is seen touches something seen.
            assert not any(line.all() for line in (rows[0], rows[-1], columns[0], columns[-1]))
        hidden += not after['other_bboxes']
    assert hidden
