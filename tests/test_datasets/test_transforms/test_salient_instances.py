import cv2
import numpy as np
import pytest
from mmdet.datasets.transforms import PackDetInputs, Resize

from mmboxcaseg.datasets.transforms import InstanceFromMask, LoadPatchImage


@pytest.fixture
def results(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[1:4, 2:7] = 255
    mask[1, 2] = 0
    cv2.imwrite(str(tmp_path / 'mask.png'), mask)
    cv2.imwrite(str(tmp_path / 'image.png'), np.zeros((6, 8, 3), np.uint8))
    paths = dict(img_path=str(tmp_path / 'image.png'), mask_path=str(tmp_path / 'mask.png'))
    return LoadPatchImage()(dict(paths, supervision='mask')), mask > 0


def test_instance_from_mask(results):
    results, mask = results
    results = InstanceFromMask()(results)
    assert results['gt_bboxes'].tensor.tolist() == [[2, 1, 7, 4]]
    assert (results['gt_masks'].masks == mask).all()
    assert results['gt_bboxes_labels'].tolist() == [0]
    assert results['gt_ignore_flags'].tolist() == [False]


def test_goes_through_a_pipeline_of_mmdet(results):
    results = Resize(scale=(16, 12))(InstanceFromMask()(results[0]))
    sample = PackDetInputs(meta_keys=('img_shape', 'supervision'))(results)['data_samples']
    assert sample.supervision == 'mask' and 'gt_sem_seg' not in sample
    assert sample.gt_instances.bboxes.tensor.tolist() == [[4, 2, 14, 8]]
    assert sample.gt_instances.masks.masks.shape == (1, 12, 16)
