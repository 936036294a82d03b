import json

import numpy as np

from mmboxcaseg.coco.annotations import annotations_by_image
from mmboxcaseg.coco.groups import ImageGroups

COCO = dict(
    info=dict(note='a "quoted" ] } \\ , é 日本 \U0001f600', none=None, flag=True),
    images=[
        dict(id=7, file_name='é.jpg', width=40, height=30, extra=[1, [2, {}]]),
        dict(id='b', file_name='b.jpg', width=40, height=30),
        dict(id=3, file_name='c.jpg', width=40, height=30),
    ],
    annotations=[
        dict(segmentation=[[1, 2.5, 3]], id=5, image_id=3, category_id=1, bbox=[0, 0, 1.25e1, 9]),
        dict(id='x', image_id=7, category_id=1, bbox=[1, 2, 3, 4], iscrowd=1, é='\n日'),
        dict(id=6, image_id=3, category_id=1, bbox=[0, 0, 0, 4], big=10**30),
        dict(id=9, image_id=7, category_id=1, bbox=[1, 2, 3, 4], nested=[dict(a=[])]),
    ],
    categories=[dict(id=1, name='ü')],
    empty=[],
    number=12345,
)


def test_groups_are_those_of_the_file(as_coco):
    coco = as_coco(COCO)
    groups = ImageGroups(coco)
    expected = annotations_by_image(coco)
    assert len(groups) == 3
    for index, image in enumerate(coco.images):
        assert groups.image(index) == image
        own = groups.annotations(index)
        assert [a.id for a in own] == [a.id for a in expected[image.id]]
        assert [a.bbox for a in own] == [a.bbox for a in expected[image.id]]
        assert groups.num_boxes[index] == sum(a.is_object for a in own)
    assert groups.order.tolist() == [1, 3, 0, 2]
    assert [groups.span(0, 1), groups.span(1, 2), groups.span(0, 3)] == [
        *(slice(0, 2), slice(2, 2), slice(0, 4)),
    ]


def test_all_is_kept_but_masks(as_coco):
    groups = ImageGroups(as_coco(COCO))
    kept = [a.content() for index in range(3) for a in groups.annotations(index)]
    contents = [COCO['annotations'][index] for index in (1, 3, 0, 2)]
    assert kept == [c | (dict(segmentation=None) if 'segmentation' in c else {}) for c in contents]
    assert [list(content) for content in kept] == [list(content) for content in contents]
    top = {key: json.loads(text) for key, text in groups.top.items() if key != 'annotations'}
    assert top == {key: value for key, value in COCO.items() if key != 'annotations'}
    assert list(groups.top) == list(COCO)


def test_true_masks_are_kept_if_asked_for(as_coco):
    mask = [[1, 2, 9, 2, 5, 8]]
    coco = dict(COCO, annotations=[dict(COCO['annotations'][3], segmentation=mask)])
    coco['annotations'].append(dict(coco['annotations'][0], id=10, quality=0.5))
    groups = ImageGroups(as_coco(coco), keep_masks=True)
    # The second one is a proxy mask, which another takes the place of.
    assert [a.segmentation for a in groups.annotations(0)] == [mask, None]
    assert [a.id for a in groups.wanted(0)] == [10] and groups.num_boxes.tolist() == [1, 0, 0]
    groups = ImageGroups(as_coco(coco))
    assert [a.segmentation for a in groups.annotations(0)] == [None, None]
    assert [a.id for a in groups.wanted(0)] == [9, 10] and groups.num_boxes.tolist() == [2, 0, 0]


def test_file_order(as_coco):
    groups = ImageGroups(as_coco(COCO))
    by_image = [str(a.id).encode() for i in range(3) for a in groups.annotations(i)]
    assert by_image == [b'x', b'9', b'5', b'6']
    assert groups.in_file_order(iter(by_image)) == [b'5', b'x', b'6', b'9']


def test_memory_is_that_of_the_boxes_not_of_the_masks(as_coco):
    count = 3000
    polygon = np.arange(200.0).tolist()
    annotations = [
        dict(id=i, image_id=7, category_id=1, bbox=[0, 0, 9, 9], segmentation=[polygon])
        for i in range(count)
    ]
    groups = ImageGroups(as_coco(COCO | dict(annotations=annotations)))
    assert len(groups._texts) < 100 * count
    assert all(isinstance(text, bytes) for text in groups.top.values())


def test_no_annotations(as_coco):
    groups = ImageGroups(as_coco(COCO | dict(annotations=[])))
    assert groups.num_boxes.tolist() == [0, 0, 0]
    assert groups.annotations(1) == []
    assert groups.in_file_order([]) == []
