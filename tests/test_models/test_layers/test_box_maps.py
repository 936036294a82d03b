import numpy as np
import pytest
import torch

from mmboxcaseg.models.layers import box_maps, map_of_box


class TestBoxMaps:
    def test_by_hand(self):
        bboxes = torch.tensor([[1.0, 0, 3, 2], [0.25, 1.5, 1.5, 4]])
        maps = box_maps(bboxes, 3, 4)
        assert maps.tolist() == [
            [[[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]],
            [[[0, 0, 0, 0], [0.375, 0.25, 0, 0], [0.75, 0.5, 0, 0]]],
        ]

    def test_sum_is_the_area(self):
        corners = np.sort(np.random.rand(20, 2, 2) * [12, 9], axis=1)
        bboxes = torch.from_numpy(corners.reshape(20, 4))
        sums = box_maps(bboxes, 9, 12).sum((1, 2, 3)).numpy()
        np.testing.assert_allclose(sums, np.diff(corners, axis=1).prod((1, 2)))

    @pytest.mark.parametrize('bbox', [[2, 2, 2, 2], [-5, 0, 0, 3], [4, 0, 9, 3]])
    def test_boxes_without_a_pixel(self, bbox):
        assert not box_maps(torch.tensor([bbox], dtype=torch.float32), 3, 4).any()


class TestMapOfBox:
    @pytest.mark.parametrize('bbox', [[8, 4, 24, 20], [6.5, 5, 30, 28], [9, 9, 10, 10]])
    def test_pixels_lie_where_they_are_in_the_patch(self, bbox):
        # A map that rises by 2 a patch pixel in x and falls by 3 in y, a quarter of the size.
        y, x = torch.meshgrid(torch.arange(10) + 0.5, torch.arange(12) + 0.5, indexing='ij')
        logits = (2 * 4 * x - 3 * 4 * y)[None, None]
        size = (40, 48)
        got = map_of_box(logits, size, torch.tensor([bbox]))
        assert got.shape == (1, 1, *size)
        x1, y1, x2, y2 = bbox
        rows = y1 + (torch.arange(40) + 0.5) / 40 * (y2 - y1)
        columns = x1 + (torch.arange(48) + 0.5) / 48 * (x2 - x1)
        expected = 2 * columns - 3 * rows[:, None]
        torch.testing.assert_close(got[0, 0], expected, atol=1e-3, rtol=0)

    def test_each_patch_has_its_own_box(self):
        logits = torch.randn(2, 1, 8, 8)
        bboxes = torch.tensor([[0.0, 0, 32, 32], [8, 8, 24, 24]])
        both = map_of_box(logits, (32, 32), bboxes)
        for index in (0, 1):
            one = slice(index, index + 1)
            alone = map_of_box(logits[one], (32, 32), bboxes[one])
            torch.testing.assert_close(both[one], alone, atol=1e-5, rtol=0)

    def test_upsamples_in_single_precision(self):
        logits = torch.randn(1, 1, 6, 8).bfloat16()
        bboxes = torch.tensor([[3.3, 5.7, 29.1, 20.6]])
        upsampled = map_of_box(logits, (24, 32), bboxes)
        assert torch.equal(upsampled, map_of_box(logits.float(), (24, 32), bboxes))
