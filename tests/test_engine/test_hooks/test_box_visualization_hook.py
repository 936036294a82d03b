import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData

from mmboxcaseg.engine.hooks.box_visualization_hook import draw_sample
from mmboxcaseg.visualization.draw import draw_instance, make_sheet


def sample_of(folder, **metainfo):
    cv2.imwrite(str(folder / 'a.png'), np.full((8, 12, 3), 90, np.uint8))
    sample = DetDataSample(
        metainfo=dict(img_path=str(folder / 'a.png'), ori_shape=(8, 12), threshold=0.5, **metainfo)
    )
    sample.pred_maps = PixelData(weak=torch.eye(2)[None], fused=torch.tensor([[[1.0, 0], [1, 0]]]))
    return sample


def image():
    return np.full((8, 12, 3), 90, np.uint8)


def test_maps_become_masks_in_the_box(tmp_path):
    """The name's order; of 'fused' the left half of the box, of 'weak' two of its quarters."""
    fused, weak = np.zeros((2, 8, 12), bool)
    fused[2:6, 4:6] = weak[2:4, 4:6] = weak[4:6, 6:8] = True
    tiles = [draw_instance(image(), (4, 2, 8, 6), mask) for mask in (fused, weak)]
    drawn = draw_sample(sample_of(tmp_path, bbox=[4, 2, 8, 6]))
    np.testing.assert_array_equal(drawn, make_sheet(tiles, ['fused', 'weak'], columns=2))


def test_a_mask_that_leaves_its_box_is_drawn_whole(tmp_path):
    fused, weak = np.zeros((2, 8, 12), bool)
    fused[0:8, 2:6] = weak[0:4, 2:6] = weak[4:8, 6:10] = True
    tiles = [draw_instance(image(), (4, 2, 8, 6), mask) for mask in (fused, weak)]
    drawn = draw_sample(sample_of(tmp_path, bbox=[4, 2, 8, 6], slack=0.5))
    np.testing.assert_array_equal(drawn, make_sheet(tiles, ['fused', 'weak'], columns=2))


def test_a_salient_image_is_drawn_as_a_whole_with_its_mask(tmp_path):
    sample = sample_of(tmp_path, patch_bbox=np.array([0, 0, 12, 8]))
    true_mask = np.zeros((8, 12), bool)
    true_mask[3:7, 2:9] = True
    sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(true_mask[None].view(np.uint8)))
    mask = np.zeros((8, 12), bool)
    mask[:, :6] = True
    tile = draw_instance(image(), (0, 0, 12, 8), mask, true_mask)
    expected = make_sheet([tile], ['fused'], columns=1)
    np.testing.assert_array_equal(draw_sample(sample)[:, : expected.shape[1]], expected)


def test_a_mask_that_was_cut_with_the_patch_is_not_the_truth_of_the_image(tmp_path):
    sample = sample_of(tmp_path, bbox=[4, 2, 8, 6])
    plain = draw_sample(sample)
    sample.gt_sem_seg = PixelData(sem_seg=torch.ones(1, 2, 2, dtype=torch.uint8))
    np.testing.assert_array_equal(draw_sample(sample), plain)
