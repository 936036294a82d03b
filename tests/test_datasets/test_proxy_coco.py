import copy
import json

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations

from mmboxcaseg.datasets import ProxyCocoDataset
from mmboxcaseg.datasets.transforms import DropProxyMasks, MergeProxyMasks
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import empty_rle, encode_rle, is_kept


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
    annotation(10, [0, 0, 4, 4], quality=0.9, box_agreement=0.8),
    # mmdet leaves these two out.
    dict(annotation(11, [1, 1, 1, 1], quality=0.1, box_agreement=0.1), bbox=[1, 1, 0.5, 0.5]),
    dict(annotation(12, [1, 1, 3, 3], quality=0.2, box_agreement=0.2), category_id=2),
    crowd(13),
    annotation(14, [4, 4, 3, 3], quality=0.3, box_agreement=0.9),
    dict(annotation(15, [6, 1, 3, 3], box_agreement=0.0), segmentation=empty_rle((10, 10))),
]


def test_numbers_stay_with_their_instance(tmp_path):
    ours = load(tmp_path, ANNOTATIONS)[0]
    instances = ours.pop('instances')
    # Of crowds and of a box that has no mask they are 0.
    assert [instance.pop('quality') for instance in instances] == [0.9, 0, 0.3, 0]
    assert [instance.pop('box_agreement') for instance in instances] == [0.8, 0, 0.9, 0]
    theirs = load(tmp_path, ANNOTATIONS, CocoDataset)[0]
    assert instances == theirs.pop('instances')
    assert ours == theirs


def test_numbers_that_the_file_does_not_have(tmp_path):
    dataset = load(tmp_path, [annotation(16, [0, 0, 3, 3]), annotation(17, [0, 0, 3, 3])])
    assert [
        instance.keys() & {'quality', 'box_agreement'} for instance in instances_of(dataset)
    ] == [
        set(),
        set(),
    ]
    with pytest.raises(InputError, match=r'annotation 16 of .*proxy\.json has no box_agreement'):
        load(tmp_path, [*ANNOTATIONS, annotation(16, [0, 0, 3, 3])])
    with pytest.raises(InputError, match='no file of proxy masks'):
        ProxyCocoDataset(ann_file='none.json', pipeline=[])


def test_some_boxes_have_no_mask(tmp_path):
    bare = dict(id=17, image_id=1, category_id=1, bbox=[1, 2, 3, 4])
    box = [[4, 4, 9, 4, 9, 9, 4, 9]]  # what some tools write where there is no mask
    polygon = [[0, 0, 4, 0, 4, 4]]
    annotations = [
        bare,
        dict(annotation(18, [4, 4, 5, 5]), segmentation=box),
        dict(bare, id=19, segmentation=[], iscrowd=1),
        dict(annotation(20, [0, 0, 4, 4]), segmentation=polygon),
    ]
    instances = {i['mask'] == polygon: i for i in instances_of(load(tmp_path, annotations))}
    assert [instances[True][name] for name in ('quality', 'box_agreement')] == [1, 1]
    dataset = load(tmp_path, annotations)
    empty = empty_rle((10, 10))
    numbers = [
        (i['ignore_flag'], i['mask'] == empty, i['quality'], i['box_agreement'])
        for i in instances_of(dataset)
    ]
    # Of the crowd, whose mask trains nothing, the box stands for the mask.
    assert sorted(numbers) == [(0, False, 1, 1), (0, True, 0, 0), (0, True, 0, 0), (1, False, 0, 0)]
    results = DropProxyMasks(0.95, 0.95)(MergeProxyMasks()(results_of(dataset)))
    assert is_kept(results['gt_masks'].masks).tolist() == [False, False, False, True]
    # Proxy masks among them have their own numbers, or are refused without an agreement.
    proxy = annotation(21, [5, 0, 4, 4], quality=0.5, box_agreement=0.7)
    instances = instances_of(load(tmp_path, [*annotations, proxy]))
    assert [i['quality'] for i in instances].count(0.5) == 1
    del proxy['box_agreement']
    with pytest.raises(InputError, match=r'annotation 21 of .*proxy\.json has no box_agreement'):
        load(tmp_path, [*annotations, proxy])
    # The box itself is no mask beside others; where there are no others it is a raw one.
    instances = instances_of(load(tmp_path, [annotations[1], annotations[3]]))
    assert [i['quality'] for i in instances] == [0, 1]
    (instance,) = instances_of(load(tmp_path, [annotations[1]]))
    assert instance['mask'] == box and 'quality' not in instance
    with pytest.raises(InputError, match='annotation 17 .* no segmentation: make proxy masks'):
        load(tmp_path, [bare, dict(bare, id=22)])


def instances_of(dataset):
    return dataset[0]['instances']


def results_of(dataset):
    """What LoadAnnotations leaves behind of the only image."""
    info = dict(dataset[0], img_shape=(10, 10), ori_shape=(10, 10))
    return LoadAnnotations(with_bbox=True, with_mask=True)(info)


@pytest.mark.parametrize(
    ('settings', 'kept'),
    [
        # All masks fill their box: what counts is what the file says.
        (dict(), [True, False, True, False]),
        (dict(min_agreement=0.8), [False, False, True, False]),
        (dict(min_quality=0.3), [True, False, False, False]),
        (dict(min_quality=0.2), [True, False, True, False]),
        (dict(min_agreement=1.0, min_quality=0.2), [False] * 4),
    ],
)
def test_drop_goes_by_the_file(tmp_path, settings, kept):
    results = results_of(load(tmp_path, ANNOTATIONS))
    dropped = DropProxyMasks(**{'min_agreement': 0.5, **settings})(results)
    assert is_kept(dropped['gt_masks'].masks).tolist() == kept


def test_without_numbers_the_agreement_is_measured_and_a_quality_is_asked_for(tmp_path):
    # The crowd, which mmdet puts last, and the box without a mask.
    dropped = DropProxyMasks(0.99)(results_of(load(tmp_path, ANNOTATIONS, CocoDataset)))
    assert is_kept(dropped['gt_masks'].masks).tolist() == [True, True, True, False]
    for dataset in (
        load(tmp_path, ANNOTATIONS, CocoDataset),
        load(tmp_path, [annotation(16, [0, 0, 3, 3], box_agreement=1.0)]),
    ):
        message = 'load proxy masks of .* with mmboxcaseg.ProxyCocoDataset'
        with pytest.raises(InputError, match=message):
            DropProxyMasks(min_quality=0.5)(results_of(dataset))


#: Overlapping: the second, smaller one takes a corner of the first one.
RAW = [annotation(20, [0, 0, 8, 8]), annotation(21, [4, 4, 4, 4]), crowd(22)]


@pytest.mark.parametrize('class_', [ProxyCocoDataset, CocoDataset])
def test_raw_masks_are_merged_and_measured(tmp_path, class_):
    results = MergeProxyMasks()(results_of(load(tmp_path, RAW, class_)))
    assert [int(mask.sum()) for mask in results['gt_masks'].masks] == [64 - 16, 16, 81]
    assert [i['box_agreement'] for i in results['instances']] == [1, 1, 0]
    # By inclusive boxes 64 / 81, 16 / 25 and, of the crowd, 81 / 100.
    dropped = DropProxyMasks(0.7, inclusive_boxes=True)(results)['gt_masks'].masks
    assert is_kept(dropped).tolist() == [True, False, True]


def test_what_was_merged_is_not_merged_again(tmp_path):
    """As after tools/refine_proxy_masks.py --no-merge: the masks overlap and are to stay so."""
    numbers = [dict(a, box_agreement=0.5) for a in RAW]
    before = results_of(load(tmp_path, numbers))
    after = MergeProxyMasks()(copy.deepcopy(before))
    assert (after['gt_masks'].masks == before['gt_masks'].masks).all()
    assert [i['box_agreement'] for i in after['instances']] == [0.5, 0.5, 0]
    kept = is_kept(DropProxyMasks(0.4)(copy.deepcopy(after))['gt_masks'].masks)
    assert kept.tolist() == [True, True, False]
    assert not is_kept(DropProxyMasks(0.6)(after)['gt_masks'].masks).any()


def test_the_merge_says_once_that_it_is_done_here(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        'mmboxcaseg.datasets.transforms.proxy_masks.print_log', lambda *args: said.append(args[0])
    )
    merge = MergeProxyMasks()
    merge(results_of(load(tmp_path, ANNOTATIONS)))
    assert said == []
    for _ in range(2):
        merge(results_of(load(tmp_path, RAW)))
    (sentence,) = said
    assert 'no box_agreement' in sentence and 'mmboxcaseg refine' in sentence


def test_min_quality_that_is_none():
    with pytest.raises(InputError, match=r'min_quality must be in \[0, 1\]'):
        DropProxyMasks(min_quality=75)
