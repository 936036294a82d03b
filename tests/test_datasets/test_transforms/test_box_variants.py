import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmboxcaseg.datasets.transforms import BoxFromMask, BoxPatch, MoveBox, RandomMoveBox
from mmboxcaseg.errors import InputError


def test_box_from_mask_gives_what_the_metric_reads():
    mask = np.array(
        [
            [0, 0, 0, 0, 0],
            [0, 0, 1, 0, 0],
            [0, 1, 1, 0, 0],
            [0, 0, 0, 0, 0],
        ],
        np.uint8,
    )
    results = BoxFromMask()(dict(gt_seg_map=mask))
    assert results['bbox'] == [1, 1, 3, 3]
    assert results['area'] == 3
    assert results['label'] == 0
    assert np.array_equal(coco_mask.decode(results['segmentation']), mask)


def test_box_from_a_mask_that_is_not_there():
    with pytest.raises(InputError, match='BoxFromMask needs samples with a mask'):
        BoxFromMask()(dict(bbox=[0, 0, 4, 4]))


@pytest.mark.parametrize(
    ('arguments', 'bbox'),
    [
        ({}, [20, 30, 40, 70]),
        (dict(scale=1.5), [15, 20, 45, 80]),
        (dict(scale=0.5), [25, 40, 35, 60]),
        (dict(shift=(0.1, -0.2)), [22, 22, 42, 62]),
        # It ends where the image, 50 wide and 90 high, does.
        (dict(scale=4.0), [0, 0, 50, 90]),
        (dict(shift=(1, 1)), [40, 70, 50, 90]),
    ],
)
def test_moved_box(arguments, bbox):
    results = dict(bbox=[20, 30, 40, 70], img_shape=(90, 50))
    assert MoveBox(**arguments)(results)['bbox'] == pytest.approx(bbox)


def test_other_boxes_move_too():
    results = dict(bbox=[0, 0, 4, 4], other_bboxes=[[20, 30, 40, 70]], img_shape=(90, 50))
    moved = MoveBox(shift=(0.1, -0.2), scale=0.5)(results)['other_bboxes']
    assert moved == [pytest.approx([27, 32, 37, 52])]


def test_no_box_is_left():
    with pytest.raises(InputError, match='scale must be above 0, not 0'):
        MoveBox(scale=0)


def test_random_move_box_draws_each_box_anew():
    np.random.seed(0)
    transform = RandomMoveBox(prob=1.0, shift=0.25, scale=(0.5, 1.5))
    boxes = np.array([[100, 200, 140, 280], [300, 100, 340, 180]], np.float64)
    drawn = []
    for _ in range(400):
        results = dict(
            bbox=boxes[0].tolist(), other_bboxes=boxes[1:].tolist(), img_shape=(500, 500)
        )
        results = transform(results)
        drawn.append([results['bbox'], *results['other_bboxes']])
    drawn = np.array(drawn)
    sizes = drawn[..., 2:] - drawn[..., :2]
    shifts = ((drawn[..., 2:] + drawn[..., :2]) - (boxes[:, 2:] + boxes[:, :2])) / 2 / [40, 80]
    # For each box, x and y: uniform over the whole range, none depending on another.
    draws = np.concatenate([shifts, sizes / [40, 80] - 1], axis=-1).reshape(400, 8)
    limits = np.tile([0.25, 0.25, 0.5, 0.5], 2)
    assert (np.abs(draws) <= limits + 1e-9).all()
    assert (np.abs(draws).max(0) > 0.97 * limits).all()
    assert draws.std(0) == pytest.approx(limits / np.sqrt(3), rel=0.1)
    assert np.abs(np.corrcoef(draws.T) - np.eye(8)).max() < 0.2


def test_random_move_box_ends_at_the_border():
    np.random.seed(0)
    transform = RandomMoveBox(prob=1.0, shift=0.5, scale=(0.1, 4.0))
    boxes = np.array(
        [transform(dict(bbox=[0, 50, 30, 90], img_shape=(90, 50)))['bbox'] for _ in range(200)]
    )
    assert boxes.min(0).tolist()[:2] == [0, 0]
    assert boxes.max(0).tolist()[2:] == [50, 90]
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_random_move_box_moves_as_often_as_it_says():
    np.random.seed(0)
    transform = RandomMoveBox(prob=0.3)
    moved = 0
    for _ in range(400):
        results = transform(
            dict(bbox=[20, 30, 40, 70], other_bboxes=[[1, 2, 9, 9]], img_shape=(90, 90))
        )
        stays = results['bbox'] == [20, 30, 40, 70]
        # All boxes of a sample or none.
        assert stays == (results['other_bboxes'] == [[1, 2, 9, 9]])
        # What a BoxPrompt(loose=True) goes by.
        assert results['loose'] == (not stays)
        moved += not stays
    assert moved == pytest.approx(120, abs=30)


@pytest.mark.parametrize('prob', [0.0, 1.0])
def test_random_move_box_gives_a_salient_sample_its_tight_box(prob):
    mask = np.zeros((9, 12), np.uint8)
    mask[2:6, 3] = mask[4, 3:9] = 1
    results = RandomMoveBox(prob, shift=0.0, scale=(0.5, 0.5))(
        dict(gt_seg_map=mask.copy(), img_shape=(9, 12))
    )
    assert results['bbox'] == ([4.5, 3, 7.5, 5] if prob else [3, 2, 9, 6])
    assert np.array_equal(results['gt_seg_map'], mask)


def test_the_prompt_is_the_moved_box_and_the_truth_the_whole_object():
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 1
    results = dict(img=np.zeros((40, 40, 3), np.uint8), gt_seg_map=mask, img_shape=(40, 40))
    results = RandomMoveBox(1.0, shift=0.0, scale=(0.5, 0.5))(results)
    results = BoxPatch(size=20, margin=0.5)(results)
    assert results['patch_bbox'].tolist() == [10, 10, 30, 30]
    assert results['gt_bboxes'].tensor.tolist() == [[5, 5, 15, 15]]
    assert results['gt_seg_map'].all()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(prob=1.5), r'prob must be in \[0, 1\], not 1.5'),
        (dict(shift=-0.1), r'shift must be in \[0, 1\], not -0.1'),
        (dict(shift=0.6), 'shift must be at most 0.5, not 0.6'),
        (dict(scale=(0, 1)), 'scale must be two factors above 0'),
        (dict(scale=(1.1, 0.9)), 'scale must be two factors above 0'),
        (dict(scale=(1.1,)), 'scale must be two factors above 0'),
    ],
)
def test_random_move_box_checks_its_settings(arguments, message):
    with pytest.raises(InputError, match=message):
        RandomMoveBox(**arguments)
