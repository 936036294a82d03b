import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.dataset import pseudo_collate

from mmboxcaseg.datasets.transforms import PackPatchInputs
from mmboxcaseg.errors import InputError
from mmboxcaseg.models import PatchPreprocessor
from mmboxcaseg.models.data_preprocessors import collate_patches, resize_patches

NORM = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)


def patches(*numbers_of_others):
    """A patch with a mask, a patch without, and so on, with boxes that say whose they are."""
    rng = np.random.default_rng(0)
    pack = PackPatchInputs()
    batch = []
    for place, others in enumerate(numbers_of_others):
        bboxes = np.float32([[place, number, 4, 6] for number in range(1 + others)])
        results = dict(
            img=rng.integers(0, 256, (6, 8, 3), dtype=np.uint8),
            gt_bboxes=HorizontalBoxes(bboxes),
            supervision='box' if place % 2 else 'mask',
        )
        if place % 2 == 0:
            results['gt_seg_map'] = rng.integers(0, 2, (6, 8), dtype=np.uint8)
        batch.append(pack(results))
    return batch


def test_samples_get_back_what_is_theirs():
    preprocessor = PatchPreprocessor(**NORM)
    expected = preprocessor(pseudo_collate(patches(2, 0, 1, 3)))
    batch = collate_patches(patches(2, 0, 1, 3))
    assert batch['inputs'].shape == (4, 3, 6, 8)
    assert batch['bboxes'].shape == (10, 4) and batch['masks'].shape == (2, 1, 6, 8)
    assert not any({'gt_instances', 'gt_sem_seg'} & set(s.keys()) for s in batch['data_samples'])
    result = preprocessor(batch, training=True)
    assert result.keys() == {'inputs', 'data_samples'}
    assert torch.equal(result['inputs'], expected['inputs'])
    for sample, other in zip(result['data_samples'], expected['data_samples'], strict=True):
        assert isinstance(sample, DetDataSample) and sample.supervision == other.supervision
        assert torch.equal(sample.gt_instances.bboxes, other.gt_instances.bboxes)
        assert torch.equal(sample.other_instances.bboxes, other.other_instances.bboxes)
        assert ('gt_sem_seg' in sample) is ('gt_sem_seg' in other)
        if 'gt_sem_seg' in sample:
            assert torch.equal(sample.gt_sem_seg.sem_seg, other.gt_sem_seg.sem_seg)


def test_without_masks():
    batch = collate_patches(patches(0, 1)[1:])
    assert batch['masks'] is None
    (sample,) = PatchPreprocessor(sizes=[4], **NORM)(batch, training=True)['data_samples']
    assert 'gt_sem_seg' not in sample


def test_a_size_of_several_in_training_alone():
    preprocessor = PatchPreprocessor(sizes=[4, 12], **NORM)
    shapes = set()
    for _ in range(20):
        result = preprocessor(collate_patches(patches(1, 0)), training=True)
        size = result['inputs'].shape[-1]
        shapes.add(result['inputs'].shape)
        first = result['data_samples'][0]
        assert first.gt_sem_seg.sem_seg.shape == (1, size, size)
        # (0, 1, 4, 6) in a patch 8 wide and 6 high.
        expected = torch.tensor([[0, size / 6, size / 2, size]])
        torch.testing.assert_close(first.other_instances.bboxes, expected)
    assert shapes == {(2, 3, 4, 4), (2, 3, 12, 12)}
    assert preprocessor(collate_patches(patches(0)))['inputs'].shape == (1, 3, 6, 8)


def test_resized_pixels_by_hand():
    image = torch.tensor([[0.0, 0, 4, 8]] * 2).expand(1, 3, 2, 4)
    mask = torch.tensor([[0, 1, 1, 1]] * 2, dtype=torch.uint8).view(1, 1, 2, 4)
    images, bboxes, masks = resize_patches(image, torch.tensor([[1.0, 1, 4, 2]]), mask, 2)
    # Twice as narrow: a pixel takes 3/8 of each of its own two, 1/8 of those beside them, and at
    # the border its three in the proportion 3 : 3 : 1.
    torch.testing.assert_close(images[0, 0, 0], torch.tensor([4 / 7, 36 / 7]))
    assert bboxes.tolist() == [[0.5, 1, 2, 2]]
    assert masks.tolist() == [[[[1, 1], [1, 1]]]]


def test_a_wrong_size():
    with pytest.raises(InputError, match='sizes must be'):
        PatchPreprocessor(sizes=[0], **NORM)
