import random
from copy import deepcopy

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.datasets.transforms import (
    CopyPaste,
    FilterAnnotations,
    LoadAnnotations,
    MinIoURandomCrop,
    PackDetInputs,
    Pad,
    RandomCrop,
    RandomErasing,
    RandomFlip,
    Resize,
    Rotate,
    ShearX,
    TranslateY,
)
from mmdet.registry import TRANSFORMS as MMDET_TRANSFORMS
from mmdet.structures.mask import PolygonMasks
from mmengine.registry import DefaultScope

from mmboxcaseg.coco import refine_annotations
from mmboxcaseg.datasets.transforms.proxy_masks import (
    DenoiseProxyMasks,
    DropProxyMasks,
    MergeProxyMasks,
)
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import (
    box_agreement,
    box_mask,
    decode_rle,
    drop_masks,
    encode_rle,
    is_kept,
    merge_masks,
    tight_bboxes,
)

SIZE = 40
# Boxes xyxy; the label of each is its index, by which it is found again after a transform. Masks
# fill their box where they are kept and its upper left quarter where they are dropped.
BBOXES = np.array(
    [
        [2, 2, 12, 12],
        [4, 20, 18, 34],
        [20, 4, 36, 16],
        [22, 22, 38, 38],
        [8, 8, 30, 30],
        [1, 35, 6, 39],
    ]
)
KEPT = [True, False, True, False, False, True]


def loaded(seed=0):
    """What LoadAnnotations leaves behind."""
    rng = np.random.default_rng(seed)
    instances = []
    for label, ((x1, y1, x2, y2), kept) in enumerate(zip(BBOXES, KEPT, strict=True)):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[y1 : y2 if kept else (y1 + y2) // 2, x1 : x2 if kept else (x1 + x2) // 2] = 1
        instances.append(
            dict(bbox=[x1, y1, x2, y2], bbox_label=label, ignore_flag=0, mask=encode_rle(mask))
        )
    results = dict(
        img=rng.integers(0, 255, (SIZE, SIZE, 3), np.uint8),
        img_shape=(SIZE, SIZE),
        ori_shape=(SIZE, SIZE),
        instances=instances,
    )
    return LoadAnnotations(with_bbox=True, with_mask=True)(results)


def dropped(seed=0):
    return DropProxyMasks(min_agreement=0.95)(loaded(seed))


def flags(results):
    """Label of each instance and whether its mask is kept."""
    kept = is_kept(results['gt_masks'].masks)
    labels = results['gt_bboxes_labels']
    assert len(kept) == len(labels) == len(results['gt_bboxes']) == len(results['gt_ignore_flags'])
    return dict(zip(labels.tolist(), kept.tolist(), strict=True))


def test_drop():
    assert flags(dropped()) == dict(enumerate(KEPT))
    assert flags(DropProxyMasks(min_agreement=0.2)(loaded())) == dict.fromkeys(range(6), True)


def test_drop_by_the_threshold_of_the_paper():
    results = loaded()
    for instance, value in zip(
        results['instances'], (1.0, 0.951, 0.95, 0.949, 0.0, 0.96), strict=True
    ):
        instance['box_agreement'] = value
    expected = dict(enumerate([True, True, False, False, False, True]))
    assert flags(DropProxyMasks()(results)) == expected


def test_drop_by_inclusive_boxes():
    # Kept masks fill their box of 10x10, 16x12 and 5x4 pixels: of w x h they agree by
    # wh / ((w + 1) (h + 1)), 0.83, 0.87 and 0.67.
    drop = DropProxyMasks(min_agreement=0.7, inclusive_boxes=True)
    expected = dict(enumerate([True, False, True, False, False, False]))
    assert flags(drop(loaded())) == flags(drop(MergeProxyMasks()(loaded()))) == expected
    # The file's numbers are of the other convention.
    results = loaded()
    for instance in results['instances']:
        instance['box_agreement'] = 1.0
    assert flags(drop(results)) == expected
    assert 'inclusive_boxes=True' in repr(drop)


def test_drop_leaves_kept_masks_and_boxes_alone():
    before, after = loaded(), dropped()
    for label, kept in enumerate(KEPT):
        if kept:
            assert (before['gt_masks'].masks[label] == after['gt_masks'].masks[label]).all()
    assert (before['gt_bboxes'].tensor == after['gt_bboxes'].tensor).all()


@pytest.mark.parametrize(
    'transform',
    [
        pytest.param(RandomCrop((20, 20)), id='crop'),
        pytest.param(RandomCrop((20, 20), recompute_bbox=True), id='crop, recompute'),
        pytest.param(RandomCrop((0.5, 0.9), crop_type='relative_range'), id='crop, relative'),
        pytest.param(MinIoURandomCrop(), id='min iou crop'),
        pytest.param(FilterAnnotations(min_gt_bbox_wh=(11, 11)), id='filter by box'),
        pytest.param(
            FilterAnnotations(by_box=False, by_mask=True, min_gt_mask_area=30), id='filter by mask'
        ),
        pytest.param(RandomFlip(prob=1.0), id='flip'),
        pytest.param(RandomFlip(prob=1.0, direction='vertical'), id='flip, vertical'),
        pytest.param(Resize(scale=(57, 91)), id='enlarge'),
        pytest.param(Resize(scale=(19, 23)), id='shrink'),
        pytest.param(Resize(scale=(64, 64), keep_ratio=True), id='rescale'),
        pytest.param(Pad(size=(64, 48)), id='pad'),
        pytest.param(RandomErasing(n_patches=2, ratio=0.2, bbox_erased_thr=0.6), id='erase'),
        pytest.param(Rotate(prob=1.0, level=7), id='rotate'),
        pytest.param(ShearX(prob=1.0, level=5), id='shear'),
        pytest.param(TranslateY(prob=1.0, level=5), id='translate'),
        pytest.param(
            Compose([RandomCrop((24, 24)), Rotate(prob=1.0), FilterAnnotations(by_mask=True)]),
            id='several',
        ),
    ],
)
def test_flag_stays_with_its_box(transform):
    seen = set()
    for seed in range(25):
        np.random.seed(seed)
        random.seed(seed)
        results = dropped()
        results = transform(results)
        if results is None:
            continue
        for (label, kept), mask in zip(flags(results).items(), results['gt_masks'], strict=True):
            # A kept mask of which nothing is left teaches nothing; a dropped one never comes back.
            assert kept == (KEPT[label] and bool(mask.any()))
            seen.add(label)
    assert {True, False} <= {KEPT[label] for label in seen}


@pytest.mark.parametrize(
    'transform',
    [
        RandomCrop((24, 24)),
        RandomFlip(prob=1.0),
        RandomFlip(prob=1.0, direction='diagonal'),
        Resize(scale=(80, 120)),
    ],
    ids=repr,
)
def test_mask_stays_in_its_box(transform):
    # Every mask of the set fills its box, kept or dropped.
    for seed in range(10):
        np.random.seed(seed)
        results = transform(dropped())
        assert tight_bboxes(results['gt_masks'].masks).tolist() == (
            results['gt_bboxes'].tensor.tolist()
        )


def test_filter_removes_boxes():
    # Something that a flag beside the masks would fall over.
    assert set(flags(FilterAnnotations(min_gt_bbox_wh=(11, 11))(dropped()))) == {1, 2, 3, 4}


def test_flag_stays_with_its_box_in_copy_paste():
    for seed in range(10):
        np.random.seed(seed)
        source = dropped(seed=1)
        source['gt_bboxes_labels'] = source['gt_bboxes_labels'] + 100
        results = dropped()
        results['mix_results'] = [source]
        results = CopyPaste(max_num_pasted=4, selected=True)(results)
        for label, kept in flags(results).items():
            assert kept == KEPT[label % 100]


def test_flag_reaches_the_data_sample():
    sample = PackDetInputs(meta_keys=())(dropped())['data_samples']
    instances = sample.gt_instances
    assert instances.labels.tolist() == list(range(6))
    assert is_kept(instances.masks.masks).tolist() == KEPT


def test_merge_is_the_offline_merge():
    results = loaded()
    merged = MergeProxyMasks()(deepcopy(results))
    masks = results['gt_masks'].masks
    assert (masks.sum(axis=0) > 1).any()
    assert (merged['gt_masks'].masks == merge_masks(masks, BBOXES)).all()
    assert merged['gt_masks'].masks.dtype == np.uint8
    again = MergeProxyMasks()(deepcopy(merged))
    assert (again['gt_masks'].masks == merged['gt_masks'].masks).all()


def test_merge_and_drop_agree_with_the_tools(as_coco):
    results = loaded()
    raw = {n: instance['mask'] for n, instance in enumerate(results['instances'])}
    annotations = [
        dict(id=n, image_id=1, category_id=1, bbox=[x1, y1, x2 - x1, y2 - y1])
        for n, (x1, y1, x2, y2) in enumerate(BBOXES.tolist())
    ]
    coco = as_coco(
        dict(
            images=[dict(id=1, file_name='a.png', width=SIZE, height=SIZE)],
            categories=[dict(id=1, name='cat')],
            annotations=annotations,
        )
    )
    proxies = refine_annotations(coco.images[0], coco.annotations, raw)
    masks = np.stack([decode_rle(p['segmentation'], (SIZE, SIZE)) for p in proxies])
    agreement = np.array([p['box_agreement'] for p in proxies])

    results = MergeProxyMasks()(results)
    assert (results['gt_masks'].masks == masks).all()
    assert (box_agreement(results['gt_masks'].masks, BBOXES) == agreement).all()
    results = DropProxyMasks(0.5)(results)
    assert (results['gt_masks'].masks == drop_masks(masks, BBOXES, agreement, 0.5)).all()


def test_ignored_instances_take_no_part_in_the_merge():
    results = loaded()
    results['gt_ignore_flags'][4] = True
    masks = results['gt_masks'].masks.copy()
    others = [0, 1, 2, 3, 5]
    merged = MergeProxyMasks()(results)['gt_masks'].masks
    assert (merged[4] == masks[4]).all()
    assert (merged[others] == merge_masks(masks[others], BBOXES[others])).all()
    assert (merged.sum(axis=0) > 1).any()


@pytest.mark.parametrize('name', ['MergeProxyMasks', 'DropProxyMasks'])
def test_no_instances(name):
    results = dict(img_shape=(4, 5), ori_shape=(4, 5), instances=[])
    results = LoadAnnotations(with_bbox=True, with_mask=True)(results)
    with DefaultScope.overwrite_default_scope('mmdet'):
        transform = MMDET_TRANSFORMS.build(dict(type=f'mmboxcaseg.{name}'))
    assert transform(results)['gt_masks'].masks.shape == (0, 4, 5)


@pytest.mark.parametrize('transform', [MergeProxyMasks(), DropProxyMasks()], ids=repr)
def test_refuses_polygons_and_missing_masks(transform):
    results = loaded()
    name = type(transform).__name__
    with pytest.raises(InputError, match=f'{name} .*poly2mask=True'):
        transform(dict(results, gt_masks=PolygonMasks([], SIZE, SIZE)))
    results.pop('gt_masks')
    with pytest.raises(InputError, match=f'{name} .*with_mask=True'):
        transform(results)


@pytest.mark.parametrize('transform', [MergeProxyMasks(), DropProxyMasks()], ids=repr)
@pytest.mark.parametrize(
    'before', [Resize(scale=(50, 50)), RandomFlip(prob=0.0), RandomCrop((39, 39))], ids=repr
)
def test_refuses_to_stand_after_geometry(transform, before):
    with pytest.raises(InputError, match=f'{type(transform).__name__} stands after'):
        transform(before(loaded()))


def test_merge_refuses_to_stand_after_drop():
    with pytest.raises(InputError, match='MergeProxyMasks stands after DropProxyMasks'):
        MergeProxyMasks()(dropped())


@pytest.mark.parametrize('setting', ['min_agreement', 'min_quality'])
def test_thresholds_are_shares(setting):
    with pytest.raises(InputError, match=rf'{setting} must be in \[0, 1\], not 95'):
        DropProxyMasks(**{setting: 95})


def test_denoise():
    results = DenoiseProxyMasks(min_iou=0.5)(loaded())
    masks, before = results['gt_masks'].masks, loaded()['gt_masks'].masks
    for label, (kept, bbox) in enumerate(zip(KEPT, results['gt_bboxes'].tensor, strict=True)):
        # The others have a quarter of their box, and become the box.
        assert kept == (masks[label] == before[label]).all()
        assert (masks[label] == box_mask(bbox.numpy(), (SIZE, SIZE))).all()
    assert 'ignore=True' in repr(DenoiseProxyMasks(ignore=True))


@pytest.mark.parametrize(
    'transform', [None, RandomFlip(prob=1.0), Resize(scale=(57, 91)), Rotate(prob=1.0, level=7)]
)
def test_ignored_pixels_follow_their_box(transform):
    results = DenoiseProxyMasks(min_iou=0.2, ignore=True)(loaded())
    masks = (transform(results) if transform else results)['gt_masks'].masks
    assert is_kept(masks).all()
    for label, kept in enumerate(KEPT):
        # Three quarters of the boxes that are not filled.
        share = (masks[label] > 1).sum() / (masks[label] > 0).sum()
        assert share == pytest.approx(0 if kept else 0.75, abs=0.1)


def test_denoise_stands_before_drop():
    with pytest.raises(InputError, match='DenoiseProxyMasks stands after DropProxyMasks'):
        DenoiseProxyMasks()(dropped())
    with pytest.raises(InputError, match='min_iou must be .*, not 2'):
        DenoiseProxyMasks(min_iou=2)
