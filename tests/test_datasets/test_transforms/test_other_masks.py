import numpy as np
import pytest
import torch

from mmboxcaseg.datasets.transforms import OtherMask, other_masks_map
from mmboxcaseg.models.layers import other_boxes_maps


def mask_at(corner, *rows):
    return OtherMask(np.array(rows, np.uint8), corner)


class TestOtherMask:
    def test_of_a_whole_mask(self):
        part = OtherMask.of(np.array([[0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]], np.uint8))
        assert part.window.tolist() == [[0, 1], [1, 0]] and part.corner == (1, 1)
        assert part.bbox == [1, 1, 3, 3]

    @pytest.mark.parametrize(
        ('window', 'corner', 'rows'),
        [
            ([0, 0, 9, 9], (3, 2), [[1, 2, 3], [4, 5, 6]]),
            ([3, 2, 6, 4], (0, 0), [[1, 2, 3], [4, 5, 6]]),
            ([4, 0, 9, 3], (0, 2), [[2, 3]]),
            ([0, 3, 5, 9], (3, 0), [[4, 5]]),
            ([4, 3, 5, 4], (0, 0), [[5]]),
        ],
    )
    def test_within(self, window, corner, rows):
        part = mask_at((3, 2), [1, 2, 3], [4, 5, 6]).within(window)
        assert part.corner == corner and part.window.tolist() == rows

    @pytest.mark.parametrize('window', [[0, 0, 3, 9], [6, 0, 9, 9], [0, 0, 9, 2], [0, 4, 9, 9]])
    def test_nothing_within(self, window):
        assert not mask_at((3, 2), [1, 1, 1], [1, 1, 1]).within(window).window.size


class TestOtherMasksMap:
    def drawn(self, others, window=(0, 0, 4, 2), size=(2, 4), own=(0, 0, 3, 2)):
        bboxes, masks = [bbox for bbox, _ in others], [mask for _, mask in others]
        drawn = other_masks_map(np.array(own), bboxes, masks, np.array(window), size)
        assert drawn.dtype == np.uint8
        return drawn.tolist()

    def test_nothing_to_draw(self):
        assert self.drawn([]) == [[0] * 4] * 2

    def test_a_part_of_a_box(self):
        # Own area 6, as large: a half, in the mask alone.
        assert self.drawn([([1, 0, 4, 2], mask_at((1, 0), [0, 1, 1], [1, 0, 0]))]) == [
            [0, 0, 128, 128],
            [0, 128, 0, 0],
        ]

    def test_the_smaller_one_stands_in_any_order(self):
        # Areas 6 and 2: a half, and 6 / 8.
        others = [
            ([1, 0, 4, 2], mask_at((1, 0), [1, 1, 1], [1, 1, 1])),
            ([3, 1, 5, 2], mask_at((3, 1), [1, 1])),
        ]
        expected = [[0, 128, 128, 128], [0, 128, 128, 191]]
        assert self.drawn(others) == self.drawn(others[::-1]) == expected

    def test_boxes_without_a_mask_are_drawn(self):
        assert self.drawn([([3, 1, 5, 2], None)]) == [[0, 0, 0, 0], [0, 0, 0, 191]]

    def test_a_box_on_the_own_one_is_drawn_as_a_box(self):
        mask = mask_at((0, 0), [1, 0, 0], [0, 0, 0])
        assert self.drawn([([0, 0, 3, 2], mask)]) == [[128, 128, 128, 0]] * 2
        # An IoU of 6 / 8 is another object's.
        assert self.drawn([([0, 0, 4, 2], mask)])[1] == [0] * 4

    @pytest.mark.parametrize('beside', [[4, 0, 6, 2], [-3, 0, 0, 2], [0, 2, 4, 5], [1, 1, 1, 1]])
    def test_beside_the_patch_and_without_area(self, beside):
        assert self.drawn([(beside, None)]) == [[0] * 4] * 2

    def test_a_window_that_leaves_the_image_and_is_enlarged(self):
        other = [([1, 0, 2, 1], mask_at((1, 0), [1]))]  # 6 / 7
        assert self.drawn(other, window=(-1, -1, 3, 1), size=(2, 4)) == [[0] * 4, [0, 0, 219, 0]]
        # A pixel becomes four; the seam of enlarged ones is a slope.
        enlarged = np.array(self.drawn(other, window=(0, 0, 2, 1), size=(4, 8)))
        assert (np.diff(enlarged, axis=1) >= 0).all() and (enlarged == enlarged[0]).all()
        assert enlarged[0, [0, -1]].tolist() == [0, 219]

    def test_shrunk_by_area(self):
        other = [([1, 0, 4, 2], mask_at((1, 0), [1, 1, 1], [1, 0, 0]))]
        # Of four pixels 2 and 2, of a half.
        assert self.drawn(other, size=(1, 2)) == [[64, 64]]

    def test_filled_masks_are_what_boxes_are(self):
        own, bboxes = [1, 1, 7, 6], [[0, 0, 3, 4], [2, 2, 9, 9], [5, 0, 8, 2]]
        boxes = torch.tensor(bboxes, dtype=torch.float32)
        expected = other_boxes_maps(torch.tensor([own], dtype=torch.float32), [boxes], 8, 10)
        for masks in (
            [None] * 3,
            [mask_at(b[:2], *np.ones((b[3] - b[1], b[2] - b[0]))) for b in bboxes],
        ):
            drawn = other_masks_map(np.array(own), bboxes, masks, np.array([0, 0, 10, 8]), (8, 10))
            np.testing.assert_allclose(drawn / 255, expected[0, 0].numpy(), atol=0.5 / 255 + 1e-6)
