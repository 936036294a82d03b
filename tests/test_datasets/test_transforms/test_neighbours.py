import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.structures.bbox import HorizontalBoxes

from mmboxcaseg.datasets.transforms import NeighbourChannel
from mmboxcaseg.datasets.transforms.neighbours import bboxes_in_window, neighbour_map
from mmboxcaseg.errors import InputError


class TestNeighbourMap:
    @pytest.mark.parametrize(
        ('neighbours', 'expected'),
        [
            ([], [[0, 0, 0, 0], [0, 0, 0, 0]]),
            # Own area 6, as large: a half.
            ([[1, 0, 4, 2]], [[0, 128, 128, 128], [0, 128, 128, 128]]),
            # Area 2: 6 / 8; it leaves the patch by half of its area, which counts all the same.
            ([[3, 1, 5, 2]], [[0, 0, 0, 0], [0, 0, 0, 191]]),
            # Half of a pixel, a quarter of one; area 1.5: 6 / 7.5.
            ([[0, 0, 1, 1.5]], [[204, 0, 0, 0], [102, 0, 0, 0]]),
            ([[0, 0, 0.5, 0.5]], [[61, 0, 0, 0], [0, 0, 0, 0]]),
            # The smaller one stands where two lie, in any order.
            ([[1, 0, 4, 2], [3, 1, 5, 2]], [[0, 128, 128, 128], [0, 128, 128, 191]]),
            ([[3, 1, 5, 2], [1, 0, 4, 2]], [[0, 128, 128, 128], [0, 128, 128, 191]]),
            # Beside the patch, and none at all.
            ([[4, 0, 6, 2], [-3, 0, 0, 2], [0, 2, 4, 5]], [[0, 0, 0, 0], [0, 0, 0, 0]]),
            ([[1, 1, 1, 1]], [[0, 0, 0, 0], [0, 0, 0, 0]]),
        ],
    )
    def test_by_hand(self, neighbours, expected):
        drawn = neighbour_map(np.array([0, 0, 3, 2]), np.array(neighbours), (2, 4))
        assert drawn.dtype == np.uint8
        assert drawn.tolist() == expected

    def test_many_at_random(self):
        rng = np.random.default_rng(0)
        size = (7, 9)
        corners = rng.uniform(-4, 12, (30, 2, 2))
        neighbours = np.sort(corners, axis=1).reshape(-1, 4)
        own = np.array([1, 2, 6, 5.5])
        expected = np.zeros(size)
        for x1, y1, x2, y2 in neighbours:
            value = 17.5 / (17.5 + (x2 - x1) * (y2 - y1))
            for y, x in np.ndindex(size):
                width = max(min(x2, x + 1) - max(x1, x), 0)
                height = max(min(y2, y + 1) - max(y1, y), 0)
                expected[y, x] = max(expected[y, x], value * width * height)
        drawn = neighbour_map(own, neighbours, size)
        assert np.abs(drawn - 255 * expected).max() <= 0.51


def test_bboxes_in_window_are_not_clipped():
    bboxes = np.array([[10, 10, 20, 30], [0, 0, 5, 5]])
    mapped = bboxes_in_window(bboxes, np.array([10, 20, 30, 30]), (5, 40))
    assert mapped.tolist() == [[0, -5, 20, 5], [-20, -10, -10, -7.5]]


class TestNeighbourChannel:
    def sample(self, **more):
        return dict(
            img=np.full((4, 4, 3), 9, np.uint8),
            patch_bbox=np.array([10, 10, 18, 18]),
            gt_bboxes=HorizontalBoxes(np.float32([[0, 0, 2, 4]])),
            **more,
        )

    def test_appends_a_channel(self):
        # Half the size of the image: the neighbour covers columns 2 and 3, rows 0 to 3.
        results = NeighbourChannel()(self.sample(neighbour_bboxes=[[14, 10, 18, 18]]))
        assert results['img'].shape == (4, 4, 4)
        assert results['img'].dtype == np.uint8
        assert (results['img'][..., :3] == 9).all()
        assert results['img'][..., 3].tolist() == [[0, 0, 128, 128]] * 4

    @pytest.mark.parametrize('more', [dict(), dict(neighbour_bboxes=[])])
    def test_without_neighbours(self, more):
        results = NeighbourChannel()(self.sample(**more))
        assert results['img'].shape == (4, 4, 4)
        assert not results['img'][..., 3].any()

    def test_wrong_place(self):
        results = self.sample()
        del results['patch_bbox']
        for wrong in (results, self.sample(flip=True, flip_direction='horizontal')):
            with pytest.raises(InputError, match='NeighbourChannel stands in the wrong place'):
                NeighbourChannel()(wrong)

    def test_box_without_its_neighbours(self):
        with pytest.raises(InputError, match='set with_neighbours=True of the BoxInstanceDataset'):
            NeighbourChannel()(self.sample(bbox=[10, 10, 14, 18]))

    @pytest.mark.parametrize(
        'crop',
        [
            dict(type='mmboxcaseg.RandomSalientPatch', resize=(60, 90), size=(40, 70)),
            dict(type='mmboxcaseg.RandomBoxPatch', size=(50, 40), inside=False),
            dict(type='mmboxcaseg.BoxPatch', size=(50, 40), margin=0.3),
            dict(type='mmboxcaseg.WholeImagePatch', size=40),
        ],
    )
    def test_lies_on_the_neighbour_after_every_crop(self, crop):
        # The neighbour is a bright block beside the object.
        image, mask = np.zeros((120, 100, 3), np.uint8), np.zeros((120, 100), np.uint8)
        image[50:90, 40:70] = 200
        mask[30:60, 30:50] = 1
        steps = Compose([crop, dict(type='mmboxcaseg.NeighbourChannel')])
        results = steps(
            dict(
                img=image,
                gt_seg_map=mask,
                img_shape=(120, 100),
                neighbour_bboxes=[[40, 50, 70, 90]],
            )
        )
        bright, drawn = results['img'][..., 0] > 100, results['img'][..., 3] > 0
        assert bright.sum() > 20
        assert (bright & drawn).sum() / (bright | drawn).sum() > 0.8

    def test_is_flipped_with_the_image(self):
        steps = [dict(type='mmboxcaseg.NeighbourChannel'), dict(type='mmdet.RandomFlip', prob=1.0)]
        results = Compose(steps)(self.sample(neighbour_bboxes=[[14, 10, 18, 18]]))
        assert results['img'][..., 3].tolist() == [[128, 128, 0, 0]] * 4
