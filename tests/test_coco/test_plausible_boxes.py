import re

import pytest

from mmboxcaseg.coco.checks import check_bboxes, similar_classes
from mmboxcaseg.errors import InputError


@pytest.fixture
def check(as_coco):
    """Check boxes of an image of 100x50 pixels."""

    def check(*boxes):
        content = dict(
            images=[dict(id=1, file_name='a.png', width=100, height=50)],
            categories=[dict(id=1, name='cat')],
            annotations=[
                dict(id=id_, image_id=1, category_id=1, bbox=box)
                for id_, box in enumerate(boxes, 1)
            ],
        )
        check_bboxes(as_coco(content), strict=True)

    return check


@pytest.mark.parametrize(
    'boxes',
    [
        [[10, 5, 20, 20]],
        [[0, 0, 100, 50]],
        [[10, 5, 94, 47]],  # over the border by carelessness
        [[0.2, 0.3, 0.5, 0.5], [10, 5, 20, 20]],
        # One leaves, the other can be neither x1, y1, x2, y2 nor a centre.
        [[40, 20, 80, 40], [8, 20, 30, 10]],
        [[-10, 0, 21, 50]],  # inside by 11 pixels, outside by 10
    ],
)
def test_plausible_boxes(check, boxes):
    check(*boxes)


@pytest.mark.parametrize(
    ('boxes', 'message'),
    [
        ([], 'boxes.json holds no box'),
        ([[0.2, 0.3, 0.5, 0.5], [0, 0, 1, 1]], 'all boxes of boxes.json lie between 0 and 1'),
        ([[40, 20, 80, 40], [1, 2, 30, 40]], 'they are probably x1, y1, x2, y2, where x, y, width'),
        # [70, 10, 20, 30] and [10, 30, 20, 20], by their centres; the first leaves at the bottom.
        ([[80, 25, 20, 30], [20, 40, 20, 20]], 'probably x, y of the centre, where those of the'),
        ([[25, 80, 15, 15], [30, 5, 10, 10]], 'or they are y, x, height, width, where x, y'),
        ([[5, 60, 45, 90], [10, 10, 40, 60]], 'all would lie inside as y1, x1, y2, x2, so they'),
        (
            [[10, 5, 20, 20], [90, 0, 21, 10]],
            '1 boxes of boxes.json lie outside their images for more than half, the first '
            '[90, 0, 21, 10] (annotation 2) of a.png (100x50): do they',
        ),
        (
            [[10, 5, 20, 20], [10, 5, 20, 21], [10, 5, 20, 20]],
            'annotations 1 and 3 of boxes.json are the same box twice',
        ),
        ([[100, 0, 5, 5]], 'annotation 1 of boxes.json has its box [100, 0, 5, 5] outside'),
    ],
)
def test_others_are_refused(check, boxes, message):
    with pytest.raises(InputError, match=re.escape(message)):
        check(*boxes)


def test_an_image_with_two_entries(as_coco):
    images = [dict(id=id_, file_name='a.png', width=100, height=50) for id_ in (1, 2)]
    boxes = [dict(id=id_, image_id=id_, category_id=1, bbox=[id_, 5, 20, 20]) for id_ in (1, 2)]
    content = dict(images=images, categories=[dict(id=1, name='cat')], annotations=boxes)
    with pytest.raises(InputError, match=r'boxes.json has 2 entries of image a.png: give it one'):
        check_bboxes(as_coco(content), strict=True)


@pytest.mark.parametrize(
    ('names', 'said'),
    [
        (
            ['Raccoon', 'dog', 'raccoon'],
            ["classes 'Raccoon' and 'raccoon' may be one: if so, give"],
        ),
        (['traffic light', 'traffic_light'], ["'traffic light' and 'traffic_light'"]),
        (['cat', 'cats', '-', '+'], []),
    ],
)
def test_classes_that_may_be_one(as_coco, names, said):
    categories = [dict(id=id_, name=name) for id_, name in enumerate(names)]
    found = similar_classes(as_coco(dict(images=[], annotations=[], categories=categories)))
    assert len(found) == len(said) and all(map(str.__contains__, found, said))
