import gc
import json

import numpy as np
import pytest
from torch.utils.data import DataLoader

from mmboxcaseg.datasets import BoxInstanceDataset
from mmboxcaseg.errors import InputError


class Poison(dict):
    """A segmentation that nothing may look at."""

    def __bool__(self):
        raise AssertionError('segmentation was read')

    __getitem__ = __iter__ = __len__ = get = keys = items = values = __bool__


@pytest.fixture
def coco(data_root):
    return json.loads((data_root / 'coco' / 'annotations' / 'instances.json').read_text())


@pytest.fixture
def build(data_root, tmp_path):
    """Write a COCO file, or raw text, and build the data set of it."""

    def make(coco, **kwargs):
        ann_file = tmp_path / 'instances.json'
        ann_file.write_text(coco if isinstance(coco, str) else json.dumps(coco))
        kwargs.setdefault('data_prefix', dict(img=str(data_root / 'coco' / 'train')))
        return BoxInstanceDataset(str(ann_file), **kwargs)

    return make


def samples_of(dataset):
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def test_one_sample_per_box(build, coco, data_root):
    dataset = build(coco)
    assert len(dataset) == 12
    sample = dataset.get_data_info(4)
    sample.pop('sample_idx')
    assert sample == dict(
        img_path=str(data_root / 'coco' / 'train' / '002.png'),
        img_id=2,
        ann_id=21,
        height=40,
        width=48,
        bbox=[4, 5, 24, 21],
        label=0,
        area=320,
        supervision='box',
    )
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert dataset.metainfo['supervision'] == 'box'


def test_labels_follow_the_classes_of_the_config(build, coco):
    dataset = build(coco, metainfo=dict(classes=('bird', 'dog', 'cat')))
    assert [sample['label'] for sample in samples_of(dataset)][:3] == [1, 2, 2]


def test_crowds_and_boxes_without_area_are_left_out(build, coco):
    coco['annotations'][0]['iscrowd'] = 1
    coco['annotations'][4]['bbox'][2] = 0
    coco['annotations'][5]['bbox'][3] = -2
    kept = [sample['ann_id'] for sample in samples_of(build(coco))]
    assert kept == [11, 12, 20, 30, 31, 32, 40, 41, 42]


def test_training_never_reads_segmentation(build, coco, monkeypatch):
    expected = samples_of(build(coco))
    for annotation in coco['annotations']:
        del annotation['segmentation']
    assert samples_of(build(coco)) == expected
    for annotation in coco['annotations']:
        annotation['segmentation'] = Poison()
    monkeypatch.setattr('mmboxcaseg.datasets.box_instances.load_coco', lambda path: coco)
    assert samples_of(build('{}')) == expected


def test_segmentation_is_for_tests_alone(build, coco):
    dataset = build(coco, with_segmentation=True, test_mode=True)
    for sample, annotation in zip(samples_of(dataset), coco['annotations'], strict=True):
        assert sample['segmentation'] == annotation['segmentation']
    with pytest.raises(InputError, match='training never reads'):
        build(coco, with_segmentation=True)


def test_overlapping(build, coco):
    # The first two boxes of each image have an IoU of 288 / 392; the third one touches neither.
    coco['annotations'] = coco['annotations'][::-1]
    dataset = build(coco)
    assert dataset.overlapping(0.73).tolist() == [False, True, True] * 4
    assert not dataset.overlapping(0.74).any()


def test_overlap_counts_within_an_image_only(build, coco):
    coco['annotations'] = [a for a in coco['annotations'] if a['id'] % 10 == 0]
    assert not build(coco).overlapping(0.1).any()


def edit(change):
    """A damage to a COCO file, as a function that returns it."""

    def damaged(coco):
        change(coco)
        return coco

    return damaged


@pytest.mark.parametrize(
    ('damage', 'sentence'),
    [
        (lambda coco: '{"images": [', r'instances\.json is not JSON'),
        (lambda coco: [1], 'is not a COCO file: it holds a list'),
        (lambda coco: dict(images=[]), "no list 'annotations'"),
        (edit(lambda c: c['images'][0].pop('file_name')), r"images\[0\] has no 'file_name'"),
        (edit(lambda c: c['images'][1].update(file_name='x.png')), r'x\.png of .* does not exist'),
        (edit(lambda c: c['annotations'][2].update(image_id=99)), 'annotation 12 .* image 99'),
        (edit(lambda c: c['annotations'][2].update(category_id=5)), 'annotation 12 .* category 5'),
        (
            edit(lambda c: c['annotations'][3].update(bbox=[48, 1, 4, 4])),
            r'annotation 20 .* outside its image 002\.png \(48x40\)',
        ),
        (edit(lambda c: c['annotations'][3].update(bbox=[1, 2, 3])), 'annotation 20 .* not four'),
        (edit(lambda c: c['annotations'].clear()), 'holds no box to learn from'),
    ],
)
def test_bad_file_is_one_sentence(build, coco, damage, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        build(damage(coco))
    assert '\n' not in str(error.value)


def test_category_that_the_config_does_not_know(build, coco):
    with pytest.raises(InputError, match=r"annotation 10 .* category 'dog'.*metainfo\['classes'\]"):
        build(coco, metainfo=dict(classes=('cat',)))


def test_nothing_to_score_against(build, coco):
    del coco['annotations'][1]['segmentation']
    with pytest.raises(InputError, match='annotation 11 .* no segmentation'):
        build(coco, with_segmentation=True, test_mode=True)


@pytest.mark.parametrize(
    ('segmentation', 'sentence'),
    [
        (dict(size=[48, 40], counts='x'), r'annotation 11 .*\[48, 40\], .*001\.png has \[40, 48\]'),
        (dict(size=[40, 48]), 'annotation 11 .* neither polygons nor an RLE'),
        ('mask.png', 'annotation 11 .* neither polygons nor an RLE'),
    ],
)
def test_mask_that_does_not_fit(build, coco, segmentation, sentence):
    coco['annotations'][1]['segmentation'] = segmentation
    with pytest.raises(InputError, match=sentence):
        build(coco, with_segmentation=True, test_mode=True)
    build(coco)


def test_missing_paths(build, coco, data_root):
    with pytest.raises(InputError, match='nowhere does not exist'):
        build(coco, data_prefix=dict(img='/nowhere'))
    with pytest.raises(InputError, match='missing.json: No such file'):
        BoxInstanceDataset(ann_file='missing.json', data_root=str(data_root))


def test_images_in_subfolders(build, coco, data_root):
    for image in coco['images']:
        image['file_name'] = f'train/{image["file_name"]}'
    dataset = build(coco, data_prefix=dict(img=str(data_root / 'coco')))
    assert dataset.get_data_info(0)['img_path'] == str(data_root / 'coco' / 'train' / '001.png')


@pytest.mark.parametrize('num_workers', [0, 1])
def test_error_of_a_worker_is_still_an_input_error(build, coco, tmp_path, num_workers):
    for image in coco['images']:
        (tmp_path / image['file_name']).write_bytes(b'not an image')
    dataset = build(
        coco,
        data_prefix=dict(img=str(tmp_path)),
        pipeline=[dict(type='mmboxcaseg.LoadPatchImage')],
    )
    batches = iter(DataLoader(dataset, num_workers=num_workers))
    with pytest.raises(InputError, match=r'001\.png cannot be decoded'):
        next(batches)
    for _ in range(11):  # the workers end when nothing is left to do
        with pytest.raises(InputError):
            next(batches)


def test_pipeline_gives_a_patch(build, coco):
    pipeline = [
        dict(type='mmboxcaseg.LoadPatchImage'),
        dict(type='mmboxcaseg.BoxPatch', size=16),
        dict(type='mmboxcaseg.PackPatchInputs'),
    ]
    packed = build(coco, pipeline=pipeline)[2]
    assert packed['inputs'].shape == (3, 16, 16)
    assert packed['data_samples'].patch_bbox.tolist() == [26, 8, 40, 38]
    assert np.allclose(packed['data_samples'].gt_instances.bboxes, [[0, 0, 16, 16]])


def test_overlapping_against_every_pair(build, coco):
    rng = np.random.default_rng(0)
    for image, img_id in zip(coco['images'], (1, '1', 'two', 2), strict=True):
        image['id'] = img_id
    coco['annotations'] = [
        dict(
            id=index,
            image_id=coco['images'][rng.integers(4)]['id'],
            category_id=3,
            bbox=[*rng.integers(0, 20, 2).tolist(), *rng.integers(5, 20, 2).tolist()],
        )
        for index in range(60)
    ]
    expected = [False] * 60
    for a in coco['annotations']:
        for b in coco['annotations']:
            same_image = a['image_id'] == b['image_id'] and a is not b
            (ax, ay, aw, ah), (bx, by, bw, bh) = a['bbox'], b['bbox']
            overlap = max(min(ax + aw, bx + bw) - max(ax, bx), 0) * max(
                min(ay + ah, by + bh) - max(ay, by), 0
            )
            if same_image and overlap / (aw * ah + bw * bh - overlap) > 0.3:
                expected[a['id']] = True
    assert 5 < sum(expected) < 55
    assert build(coco).overlapping(0.3).tolist() == expected


@pytest.mark.parametrize('running', [True, False])
def test_garbage_collection_is_as_before(build, coco, running):
    was_running = gc.isenabled()
    try:
        gc.enable() if running else gc.disable()
        build(coco)
        assert gc.isenabled() == running
        with pytest.raises(InputError):
            build([])
        assert gc.isenabled() == running
    finally:
        gc.enable() if was_running else gc.disable()
