import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from mmboxcaseg.datasets.transforms import PackPatchInputs


def packed(others=(), **extra):
    image = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    bboxes = HorizontalBoxes(np.array([[0, 1, 3, 2], *others], np.float32))
    return image, PackPatchInputs()(dict(img=image, gt_bboxes=bboxes, **extra))


def test_box_patch():
    image, results = packed(supervision='box', label=3, ann_id=9, sample_idx=1)
    assert set(results) == {'inputs', 'data_samples'}
    assert results['inputs'].dtype == torch.uint8
    assert np.array_equal(results['inputs'].numpy(), image.transpose(2, 0, 1))
    sample = results['data_samples']
    assert sample.supervision == 'box'
    assert (sample.label, sample.ann_id) == (3, 9)
    assert 'sample_idx' not in sample
    assert type(sample.gt_instances.bboxes) is torch.Tensor
    assert sample.gt_instances.bboxes.dtype == torch.float32
    assert sample.gt_instances.bboxes.tolist() == [[0, 1, 3, 2]]
    assert sample.other_instances.bboxes.shape == (0, 4)
    assert 'gt_sem_seg' not in sample


def test_own_box_stands_first():
    others = [[-1, 0, 9, 2], [2, 0, 4, 1]]
    sample = packed(others=others)[1]['data_samples']
    assert sample.gt_instances.bboxes.tolist() == [[0, 1, 3, 2]]
    assert sample.other_instances.bboxes.tolist() == others


def test_mask_patch():
    mask = np.array([[0, 0, 0, 0], [1, 1, 1, 0]], np.uint8)
    _, results = packed(supervision='mask', gt_seg_map=mask)
    sample = results['data_samples']
    assert sample.supervision == 'mask'
    assert sample.gt_sem_seg.sem_seg.dtype == torch.uint8
    assert sample.gt_sem_seg.sem_seg.tolist() == [mask.tolist()]


def test_flipped_views_are_packed():
    # A flip leaves arrays with negative strides, which torch cannot wrap.
    image = np.zeros((2, 4, 3), np.uint8)[:, ::-1]
    mask = np.ones((2, 4), np.uint8)[:, ::-1]
    bboxes = HorizontalBoxes(np.zeros((1, 4), np.float32))
    results = PackPatchInputs()(
        dict(img=image, gt_seg_map=mask, gt_bboxes=bboxes, supervision='mask')
    )
    assert results['inputs'].shape == (3, 2, 4)


@pytest.mark.parametrize('rows', [slice(None), slice(None, None, -1)])
@pytest.mark.parametrize('columns', [slice(None), slice(None, None, -1), slice(1, 5)])
def test_pixels_of_views(rows, columns):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)[rows, columns]
    bboxes = HorizontalBoxes(np.zeros((1, 4), np.float32))
    packed = PackPatchInputs()(dict(img=image, gt_bboxes=bboxes, supervision='box'))
    inputs = packed['inputs'].numpy()
    assert inputs.flags.c_contiguous
    assert np.array_equal(inputs, image.transpose(2, 0, 1))
