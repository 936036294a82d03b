import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmboxcaseg.datasets.transforms import BoxFromMask, MoveBox
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
