import json

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations

from mmboxcaseg.datasets import ProxyCocoDataset
from mmboxcaseg.datasets.transforms import DropProxyMasks
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import encode_rle, is_kept


def annotation(id_, bbox, **fields):
    mask = np.zeros((10, 10), bool)
    x, y, w, h = bbox
    mask[y : y + h, x : x + w] = True
    return dict(
        id=id_,
        image_id=1,
        category_id=1,
        bbox=bbox,
        area=w * h,
        iscrowd=0,
        segmentation=encode_rle(mask),
        **fields,
    )


def crowd(id_):
    return dict(annotation(id_, [0, 0, 9, 9], box_agreement=0.0), iscrowd=1)


def load(tmp_path, annotations, class_=ProxyCocoDataset):
    coco = dict(
        images=[dict(id=1, file_name='a.png', width=10, height=10)],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
        annotations=annotations,
    )
    (tmp_path / 'proxy.json').write_text(json.dumps(coco))
    return class_(
        ann_file=str(tmp_path / 'proxy.json'),
        data_prefix=dict(img=''),
        metainfo=dict(classes=('cat',)),
        pipeline=[],
    )


ANNOTATIONS = [
    annotation(10, [0, 0, 4, 4], quality=0.9),
    # mmdet leaves these two out.
    dict(annotation(11, [1, 1, 1, 1], quality=0.1), bbox=[1, 1, 0.5, 0.5]),
    dict(annotation(12, [1, 1, 3, 3], quality=0.2), category_id=2),
    crowd(13),
    annotation(14, [4, 4, 3, 3], quality=0.3),
    annotation(15, [6, 1, 3, 3], box_agreement=0.0),
]


def test_quality_stays_with_its_instance(tmp_path):
    ours = load(tmp_path, ANNOTATIONS)[0]
    instances = ours.pop('instances')
    assert [instance.pop('quality') for instance in instances] == [0.9, 0, 0.3, 0]
    theirs = load(tmp_path, ANNOTATIONS, CocoDataset)[0]
    assert instances == theirs.pop('instances')
    assert ours == theirs


def test_mask_without_quality(tmp_path):
    with pytest.raises(InputError, match=r'annotation 16 of .*proxy\.json has no quality'):
        load(tmp_path, [*ANNOTATIONS, annotation(16, [0, 0, 3, 3], box_agreement=0.5)])


@pytest.mark.parametrize(
    ('settings', 'kept'),
    [
        (dict(), [True, True, True, True]),
        (dict(min_quality=0.3), [True, False, False, False]),
        (dict(min_quality=0.2), [True, False, True, False]),
        (dict(min_agreement=1.0, min_quality=0.2), [False] * 4),
    ],
)
def test_drop(tmp_path, settings, kept):
    info = dict(load(tmp_path, ANNOTATIONS)[0], img_shape=(10, 10), ori_shape=(10, 10))
    results = LoadAnnotations(with_bbox=True, with_mask=True)(info)
    dropped = DropProxyMasks(**{'min_agreement': 0.5, **settings})(results)
    assert is_kept(dropped['gt_masks'].masks).tolist() == kept


def test_drop_without_the_dataset(tmp_path):
    info = dict(load(tmp_path, ANNOTATIONS, CocoDataset)[0], img_shape=(10, 10))
    results = LoadAnnotations(with_bbox=True, with_mask=True)(dict(info, ori_shape=(10, 10)))
    with pytest.raises(InputError, match='load proxy masks of .* with mmboxcaseg.ProxyCocoDataset'):
        DropProxyMasks(min_quality=0.5)(results)


def test_min_quality_that_is_none():
    with pytest.raises(InputError, match=r'min_quality must be in \[0, 1\]'):
        DropProxyMasks(min_quality=75)
