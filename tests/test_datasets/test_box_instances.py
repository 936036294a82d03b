import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS
from mmengine.runner import Runner
from pycocotools import mask as coco_mask
from torch.utils.data import DataLoader

from mmboxcaseg.coco import Annotation, refine_annotations
from mmboxcaseg.coco.proxies import ProxyAnnotation
from mmboxcaseg.datasets import BoxInstanceDataset
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import empty_rle, encode_rle


@pytest.fixture
def poisoned(monkeypatch):
    """Masks that nothing may look at, but for those of a file of proxy masks."""
    segmentation = Annotation.segmentation.fget

    def read(self):
        assert isinstance(self, ProxyAnnotation), 'segmentation was read'
        return segmentation(self)

    monkeypatch.setattr(Annotation, 'segmentation', property(read))


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


def test_other_boxes_of_the_image(build, coco):
    coco['annotations'][1]['iscrowd'] = 1
    coco['annotations'].reverse()
    samples = {sample['ann_id']: sample for sample in samples_of(build(coco))}
    assert samples[10]['other_bboxes'] == [[26, 8, 40, 38]]
    assert samples[12]['other_bboxes'] == [[2, 3, 22, 21]]
    assert samples[21]['other_bboxes'] == [[26, 8, 40, 38], [2, 3, 22, 21]]
    # Of two boxes in the same place each is the other's.
    coco['annotations'][0]['bbox'] = coco['annotations'][1]['bbox']
    twins = samples_of(build(coco))[:2]
    assert [twin['bbox'] in twin['other_bboxes'] for twin in twins] == [True, True]
    # Boxes of images need not stand together.
    coco['annotations'].sort(key=lambda annotation: annotation['id'] % 10)
    shuffled = {s['ann_id']: s for s in samples_of(build(coco))}
    assert sorted(shuffled[21]['other_bboxes']) == [[2, 3, 22, 21], [26, 8, 40, 38]]
    # Samples that are left out count all the same.
    part = build(coco, indices=[3])
    assert len(part) == 1
    left = part.get_data_info(0)
    assert left['other_bboxes'] == shuffled[left['ann_id']]['other_bboxes'] != []


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
        other_bboxes=[[2, 3, 22, 21], [26, 8, 40, 38]],
    )
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert dataset.metainfo['supervision'] == 'box'


def test_labels_follow_the_classes_of_the_config(build, coco):
    dataset = build(coco, metainfo=dict(classes=('bird', 'dog', 'cat')))
    assert [sample['label'] for sample in samples_of(dataset)][:3] == [1, 2, 2]


def test_a_class_without_its_comma_is_refused(build, coco):
    with pytest.raises(InputError, match=r"classes is the string 'cat', .* write \('cat',\), with"):
        build(coco, metainfo=dict(classes=('cat')))


def test_crowds_and_boxes_without_area_are_left_out(build, coco):
    coco['annotations'][0]['iscrowd'] = 1
    coco['annotations'][4]['bbox'][2] = 0
    coco['annotations'][5]['bbox'][3] = -2
    kept = [sample['ann_id'] for sample in samples_of(build(coco))]
    assert kept == [11, 12, 20, 30, 31, 32, 40, 41, 42]


def test_training_never_reads_segmentation(build, coco, poisoned):
    expected = samples_of(build(coco))
    for annotation in coco['annotations']:
        annotation['segmentation'] = 'no mask'
    assert samples_of(build(coco)) == expected
    for annotation in coco['annotations']:
        del annotation['segmentation']
    assert samples_of(build(coco)) == expected
    with pytest.raises(AssertionError, match='segmentation was read'):
        build(coco, with_segmentation=True, test_mode=True)


def test_true_masks_supervise_if_asked_for(build, coco, box_caseg_cfg):
    polygons = {}
    for annotation in coco['annotations']:
        del annotation['quality'], annotation['box_agreement']
        if annotation['id'] % 10:
            del annotation['segmentation']
        else:
            polygons[annotation['id']] = annotation['segmentation']
    samples = samples_of(build(coco, use_masks=True))
    assert len(polygons) == 4
    for sample in samples:
        polygon = polygons.get(sample['ann_id'])
        assert sample['supervision'] == ('mask' if polygon else 'box')
        assert ('mask' in sample) == bool(polygon)
        if polygon:
            (expected,) = coco_mask.frPyObjects(polygon, 40, 48)
            assert sample['mask'] == dict(expected, counts=expected['counts'].decode())
    assert {s['supervision'] for s in samples_of(build(coco))} == {'box'}

    def loss(**settings):
        pipeline = [
            dict(type='mmboxcaseg.LoadPatchImage'),
            dict(type='mmboxcaseg.BoxPatch', size=32),
            dict(type='mmboxcaseg.PackPatchInputs'),
        ]
        dataset = build(coco, pipeline=pipeline, **settings)
        torch.manual_seed(0)
        model = MODELS.build(box_caseg_cfg())
        batch = model.data_preprocessor(pseudo_collate([dataset[i] for i in range(12)]), True)
        return model.loss(**batch)['loss_pixel'].item()

    used = loss(use_masks=True)
    assert used > 0 and loss() == 0
    for annotation in coco['annotations'][::3]:
        x, y, w, h = annotation['bbox']
        annotation['segmentation'] = [[x, y, x + w / 3, y, x, y + h / 2]]
    assert loss(use_masks=True) != used


def test_true_masks_come_before_proxy_masks(build_with_proxies, coco):
    proxies = proxies_of(coco, 12 * [0.9])
    for annotation in coco['annotations']:
        del annotation['quality'], annotation['box_agreement']
    del coco['annotations'][1]['segmentation']
    masks = {s['ann_id']: s['mask'] for s in samples_of(build_with_proxies(coco, proxies))}
    mixed = samples_of(build_with_proxies(coco, proxies, use_masks=True))
    assert [s['ann_id'] for s in mixed if s['mask'] == masks[s['ann_id']]] == [11]


def test_settings_of_true_masks(build, coco):
    with pytest.raises(InputError, match=r'instances\.json has no true mask: leave out use_masks'):
        build(coco, use_masks=True)
    with pytest.raises(InputError, match='use_masks is for training'):
        build(coco, use_masks=True, test_mode=True)
    for annotation in coco['annotations']:
        annotation.update(quality=1.0, box_agreement=1.0)
    coco['annotations'][4]['segmentation'] = [[0, 0, 4, 0]]
    with pytest.raises(InputError, match=r'mask of annotation 21 in .*instances\.json is broken'):
        build(coco, use_masks=True)


def test_segmentation_is_for_tests_alone(build, coco):
    dataset = build(coco, with_segmentation=True, test_mode=True)
    for sample, annotation in zip(samples_of(dataset), coco['annotations'], strict=True):
        assert sample['segmentation'] == annotation['segmentation']
    with pytest.raises(InputError, match='with use_masks alone'):
        build(coco, with_segmentation=True)


def test_overlapping(build, coco):
    # The first two boxes of each image have an IoU of 288 / 392; the third one touches neither.
    coco['annotations'] = coco['annotations'][::-1]
    dataset = build(coco)
    assert dataset.overlapping(0.73).tolist() == [False, True, True] * 4
    assert not dataset.overlapping(0.74).any()


def test_overlap_must_be_above_the_threshold(build, coco):
    coco['annotations'] = coco['annotations'][:2]
    for annotation, width in zip(coco['annotations'], (8, 16), strict=True):
        annotation['bbox'] = [2, 2, width, 10]
    dataset = build(coco)
    assert dataset.overlapping(0.499).all() and not dataset.overlapping(0.5).any()


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
        (edit(lambda c: c['images'][0].pop('file_name')), r"image 1 of .* has no 'file_name'"),
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
        (dict(size=[48, 40], counts='x'), r'annotation 11 .*\[48, 40\], .* width \[40, 48\]'),
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


def proxies_of(coco, qualities):
    """What the generator writes: of each box its left half, and a quality."""
    coco = json.loads(json.dumps(coco))
    for annotation, quality in zip(coco['annotations'], qualities, strict=True):
        x, y, w, h = annotation['bbox']
        mask = np.zeros((40, 48), bool)
        mask[y : y + h, x : x + w // 2] = True
        annotation.update(segmentation=encode_rle(mask), quality=quality, box_agreement=0.5)
    return coco


#: Of the twelve boxes of the file.
QUALITIES = [0.8, 0.75, 0.7] + 8 * [0.5] + [1.0]


@pytest.fixture
def build_with_proxies(build, tmp_path):
    """As ``build``, with a file of proxy masks, or raw text, beside the boxes."""

    def make(coco, proxies, **kwargs):
        path = tmp_path / 'proxy.json'
        path.write_text(proxies if isinstance(proxies, str) else json.dumps(proxies))
        return build(coco, proxy_file=str(path), **kwargs)

    return make


def test_good_proxy_masks_supervise(build_with_proxies, coco):
    proxies = proxies_of(coco, QUALITIES)
    samples = samples_of(build_with_proxies(coco, proxies))
    good = {10: 0, 42: 11}  # a quality of 0.75 is not above it
    for sample in samples:
        if sample['ann_id'] in good:
            annotation = proxies['annotations'][good[sample['ann_id']]]
            assert sample['supervision'] == 'mask'
            assert sample['mask'] == annotation['segmentation']
        else:
            assert sample['supervision'] == 'box'
            assert 'mask' not in sample
        assert 'segmentation' not in sample
    assert [s['bbox'] for s in samples] == [
        s['bbox'] for s in samples_of(build_with_proxies(coco, proxies))
    ]
    assert build_with_proxies(coco, proxies).metainfo['supervision'] == 'box'


@pytest.mark.parametrize(('min_quality', 'count'), [(0.0, 12), (0.69, 4), (0.8, 1)])
def test_quality_that_supervises(build_with_proxies, coco, min_quality, count):
    dataset = build_with_proxies(coco, proxies_of(coco, QUALITIES), min_quality=min_quality)
    assert sum(sample['supervision'] == 'mask' for sample in samples_of(dataset)) == count


def test_true_masks_are_not_read_beside_proxy_masks(build_with_proxies, coco, poisoned):
    proxies = proxies_of(coco, QUALITIES)
    expected = samples_of(build_with_proxies(coco, proxies))
    assert any(sample['supervision'] == 'mask' for sample in expected)
    for annotation in coco['annotations']:
        del annotation['segmentation']
    assert samples_of(build_with_proxies(coco, proxies)) == expected


def test_reads_what_the_generator_writes(build_with_proxies, as_coco, coco):
    # Boxes 0 and 1 of each image overlap, and box 1 is the smaller one: it takes all of box 0.
    raw, proxies = {}, []
    for annotation in coco['annotations']:
        x, y, w, h = coco['annotations'][1]['bbox'] if annotation['id'] % 10 < 2 else [26, 8, 7, 9]
        mask = np.zeros((40, 48), bool)
        mask[y : y + h, x : x + w] = True
        raw[annotation['id']] = encode_rle(mask)
    del raw[12]
    for image in as_coco(coco).images:
        annotations = [a for a in as_coco(coco).annotations if a.image_id == image.id]
        proxies += refine_annotations(image, annotations, raw, scores=dict.fromkeys(raw, 0.9))
    samples = samples_of(build_with_proxies(coco, dict(coco, annotations=proxies)))
    masks = {s['ann_id']: s['mask'] for s in samples if s['supervision'] == 'mask'}
    assert list(masks) == [11, 21, 22, 31, 32, 41, 42]
    assert all(masks[id_] == raw[id_] for id_ in masks)


def test_training_gives_the_same_weights_without_true_masks(
    coco, tmp_path, box_caseg_cfg, train_dataset_cfg, quiet_runner
):
    def train(name, coco, proxies):
        box = train_dataset_cfg['datasets'][0]
        for file, content in dict(ann_file=coco, proxy_file=proxies).items():
            box[file] = str(tmp_path / f'{name}_{file}.json')
            Path(box[file]).write_text(json.dumps(content))
        runner = Runner.from_cfg(
            Config(
                dict(
                    model=box_caseg_cfg(),
                    work_dir=str(tmp_path / name),
                    train_dataloader=dict(
                        batch_size=4,
                        num_workers=0,
                        sampler=dict(
                            type='mmboxcaseg.RatioSampler', batch_size=4, ratio=(2, 2), seed=0
                        ),
                        dataset=train_dataset_cfg,
                    ),
                    train_cfg=dict(by_epoch=True, max_epochs=1),
                    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                    default_hooks=dict(logger=None, checkpoint=None),
                    default_scope='mmdet',
                    randomness=dict(seed=0),
                    experiment_name=name,
                    log_level='ERROR',
                )
            )
        )
        runner.train()
        return runner.model.state_dict()

    proxies = proxies_of(coco, 12 * [0.9])
    with_true = train('with_true_masks', coco, proxies)
    bad = proxies_of(coco, [0.9] + 11 * [0.1])
    fewer = train('fewer', coco, bad)
    for annotation in coco['annotations']:
        del annotation['segmentation']
    without = train('without', coco, proxies)
    assert all(torch.equal(without[name], weight) for name, weight in with_true.items())
    # That proxy masks do teach.
    assert any(not torch.equal(fewer[name], weight) for name, weight in with_true.items())


def test_patch_of_a_proxy_mask(build_with_proxies, coco):
    pipeline = [
        dict(type='mmboxcaseg.LoadPatchImage'),
        dict(type='mmboxcaseg.BoxPatch', size=16),
        dict(type='mmboxcaseg.PackPatchInputs'),
    ]
    proxies = proxies_of(coco, QUALITIES)
    dataset = build_with_proxies(coco, proxies, pipeline=pipeline)
    sample = dataset[0]['data_samples']
    # The box is 20 pixels wide, its mask 10: of a patch of 16 columns the left 8.
    expected = np.zeros((1, 16, 16))
    expected[..., :8] = 1
    assert np.array_equal(sample.gt_sem_seg.sem_seg, expected)
    assert sample.supervision == 'mask'
    assert sample.gt_instances.bboxes.tolist() == [[0, 0, 16, 16]]
    sample = dataset[1]['data_samples']
    assert sample.supervision == 'box'
    assert 'gt_sem_seg' not in sample


def test_objects_that_others_hide_stay_boxes(build_with_proxies, coco):
    proxies = proxies_of(coco, QUALITIES)
    proxies['annotations'][0]['segmentation'] = empty_rle((40, 48))
    # One without a raw mask has no quality either.
    proxies['annotations'][1]['segmentation'] = empty_rle((40, 48))
    del proxies['annotations'][1]['quality']
    by_mask = [
        s['ann_id']
        for s in samples_of(build_with_proxies(coco, proxies))
        if s['supervision'] == 'mask'
    ]
    assert by_mask == [42]


def test_proxy_file_may_hold_more_boxes(build_with_proxies, coco):
    proxies = proxies_of(coco, QUALITIES)
    del coco['annotations'][1:11]
    coco['annotations'][0]['iscrowd'] = 1
    samples = samples_of(build_with_proxies(coco, proxies))
    assert [(sample['ann_id'], sample['supervision']) for sample in samples] == [(42, 'mask')]


@pytest.mark.parametrize(
    ('damage', 'sentence'),
    [
        (lambda p: '{', r'proxy\.json is not JSON'),
        (lambda p: [1], r'proxy\.json is not a COCO file'),
        (
            edit(lambda p: p['annotations'].pop(3)),
            r'annotation 20 of .*instances\.json is not in .*proxy',
        ),
        (edit(lambda p: p['annotations'][3].update(image_id=1)), 'annotation 20 .* another image'),
        (
            edit(lambda p: p['annotations'][3].update(bbox=[2, 3, 20, 17])),
            'annotation 20 .* another image or box there: make proxy masks of this file',
        ),
        (
            edit(lambda p: p['annotations'][3].pop('quality')),
            r'annotation 20 of .*proxy\.json has no quality, so it may be a true mask',
        ),
        (
            edit(lambda p: p['annotations'][3].update(quality='0.9')),
            r"annotation 20 of .*proxy\.json has quality '0\.9', not a number in \[0, 1\]",
        ),
        (
            edit(lambda p: p['annotations'][3].update(segmentation=[[0, 0, 4, 0]])),
            r'mask of annotation 20 in .*proxy\.json is broken: a polygon',
        ),
        (
            edit(lambda p: p['annotations'][3]['segmentation'].update(size=[48, 40])),
            r'mask of annotation 20 in .*proxy\.json is broken: its size is \[48, 40\]',
        ),
        (
            edit(lambda p: [a.update(quality=0.75) for a in p['annotations']]),
            r'proxy\.json has no mask of a quality above 0\.75: lower min_quality',
        ),
    ],
)
def test_bad_proxy_file_is_one_sentence(build_with_proxies, coco, damage, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        build_with_proxies(coco, damage(proxies_of(coco, QUALITIES)))
    assert '\n' not in str(error.value)


def test_true_masks_in_place_of_proxy_masks(build_with_proxies, coco):
    drawn = copy.deepcopy(coco)
    for annotation in drawn['annotations']:
        del annotation['box_agreement'], annotation['quality']
    with pytest.raises(InputError, match='annotation 10 .* may be a true mask'):
        build_with_proxies(drawn, drawn)
    true = proxies_of(coco, QUALITIES)
    for annotation in true['annotations']:
        del annotation['quality']
    with pytest.raises(InputError, match='annotation 10 .* may be a true mask'):
        build_with_proxies(true, true)


def test_settings_of_proxy_masks(build, build_with_proxies, coco):
    with pytest.raises(InputError, match='no file of proxy masks gone.json: make it with'):
        build(coco, proxy_file='gone.json')
    with pytest.raises(InputError, match='leave one out'):
        build(coco, proxy_file='gone.json', with_segmentation=True, test_mode=True)
    with pytest.raises(InputError, match=r'min_quality must be in \[0, 1\], not 75'):
        build_with_proxies(coco, proxies_of(coco, QUALITIES), min_quality=75)


def test_broken_proxy_mask(build_with_proxies, coco):
    proxies = proxies_of(coco, QUALITIES)
    proxies['annotations'][0]['segmentation']['counts'] = '00'
    with pytest.raises(InputError, match=r'mask of annotation 10 in .* is broken: its runs do not'):
        build_with_proxies(coco, proxies, pipeline=[dict(type='mmboxcaseg.LoadPatchImage')])
