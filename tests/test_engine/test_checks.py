import json
import re

import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.mask_heads import HTCMaskHead
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS
from PIL import Image

from mmboxcaseg.coco import Annotation, Category, Coco
from mmboxcaseg.datasets.transforms import BoxPatch, DropProxyMasks
from mmboxcaseg.engine.checks import (
    check_checkpoint,
    check_classes,
    check_coco_dataset,
    check_data,
    check_mask_head,
    check_pretrained,
    check_sampler,
    check_slack,
)
from mmboxcaseg.errors import InputError
from mmboxcaseg.models.roi_heads import ProxyMaskHead

CATEGORIES = [Category(7, 'cat'), Category(2, 'dog'), Category(5, 'cow')]


def coco_file(used_ids, categories=CATEGORIES):
    annotations = [
        Annotation(id=id_, image_id=1, category_id=id_, bbox=(0, 0, 4, 4)) for id_ in used_ids
    ]
    return Coco('x.json', {}, [], annotations, categories)


@pytest.mark.parametrize(
    ('classes', 'used_ids', 'message'),
    [
        (['cat', 'dog', 'cow'], {2, 5, 7}, None),
        # A file may list categories that nothing has.
        (['cat', 'cow'], {5, 7}, None),
        (['cat', 'bird'], {7}, "class 'bird' of the config's .* not in x.json"),
        (['dog', 'cat', 'cow'], {2}, 'in another order than the categories of x.json'),
    ],
)
def test_check_classes(classes, used_ids, message):
    if message is None:
        check_classes(coco_file(used_ids), classes)
    else:
        with pytest.raises(InputError, match=message):
            check_classes(coco_file(used_ids), classes)


def test_a_root_with_the_name_of_a_class():
    coco = coco_file(set())
    coco.root = Category(0, 'cow', 'none')
    check_classes(coco, ['cat', 'dog'])
    with pytest.raises(InputError, match="category 0 of x.json, the root .* of class 'cow', so"):
        check_classes(coco, ['cat', 'dog', 'cow'])


def test_other_categories_are_left_out_with_a_warning(monkeypatch):
    said = []
    monkeypatch.setattr('mmboxcaseg.engine.checks.print_log', lambda *args: said.append(args[0]))
    check_classes(coco_file({2, 7}), ['cat', 'cow'])
    assert "categories 'dog' of x.json are not in" in said[0]


def test_long_lists_of_names_are_cut():
    categories = [Category(i, f'name{i}') for i in range(80)]
    with pytest.raises(InputError, match="'name7' and 72 more$"):
        check_classes(coco_file(set(), categories), ['bird'])


@pytest.fixture
def dataset(tmp_path):
    coco = dict(
        images=[dict(id=1, file_name='1.jpg', width=8, height=8)],
        annotations=[dict(id=1, image_id=1, category_id=2, bbox=[0, 0, 4, 4], area=16)],
        categories=[dict(id=category.id, name=category.name) for category in CATEGORIES],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images' / '1.jpg').touch()
    return dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='ann.json',
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=('cat', 'dog', 'cow')),
    )


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({}, None),
        (dict(ann_file='none.json'), r'cannot read \S+none\.json'),
        (dict(data_prefix=dict(img='none/')), r'image folder \S+none does not exist'),
        (dict(metainfo=dict(classes=('cat', 'bird'))), "class 'bird'"),
        (
            dict(metainfo=dict(classes='dog')),
            "metainfo.classes is the string 'dog', which names no",
        ),
        # Without classes of its own the config has those of COCO.
        (dict(metainfo={}), "class 'person'"),
    ],
)
@pytest.mark.parametrize(
    'wrap',
    [
        lambda dataset: dataset,
        lambda dataset: dict(type='RepeatDataset', times=2, dataset=dataset),
        lambda dataset: dict(type='ConcatDataset', datasets=[dataset]),
    ],
)
def test_check_data(dataset, changes, message, wrap):
    config = Config(dict(train_dataloader=dict(dataset=wrap(dataset | changes))))
    if message is None:
        check_data(config, ('train', 'val'))
    else:
        with pytest.raises(InputError, match=message):
            check_data(config, ('train', 'val'))
        check_data(config, ('val', 'test'))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(segmentation=[[0, 0, 4, 0, 4, 4]]), None),
        (dict(segmentation=dict(size=[8, 6], counts=[40, 8])), None),
        (
            dict(segmentation=dict(size=[6, 8], counts='0')),
            r'annotation 1 .* \[6, 8\], but .* \[8, 6\]',
        ),
        (dict(segmentation='mask.png'), 'annotation 1 .* neither polygons nor an RLE'),
        ({}, r'annotation 1 of \S+ann\.json has no segmentation.*mmboxcaseg generate'),
        (
            dict(segmentation=dict(size=[8, 6], counts=[40, 7])),
            'annotation 1 .* its runs do not add up to the 48 pixels',
        ),
        (dict(segmentation=[0, 0, 4, 0, 4, 4]), 'annotation 1 .* polygon'),
        (dict(segmentation=[[0, 0, 4, 4]]), 'annotation 1 .* polygon'),
        (dict(segmentation=[[0, 1, 1]] * 8), 'annotation 1 .* it is a bitmap as lists of rows'),
        # mmdet fails in the middle of an epoch.
        (dict(iscrowd=1), 'annotation 1 is no object and has no mask in .*MendedCocoDataset'),
        (dict(iscrowd=1, segmentation=[[0, 0, 4, 0, 4, 4]]), None),
        (dict(iscrowd='0'), "annotation 1 has iscrowd '0' in "),
        (dict(area=0), 'annotation 1 has area 0 in '),
        (dict(bbox=[6, 0, 2, 2]), r'annotation 1 .* outside its image 1\.jpg \(6x8\)'),
    ],
)
def test_masks_that_a_pipeline_loads(dataset, tmp_path, changes, message):
    coco = json.loads((tmp_path / 'ann.json').read_text())
    coco['images'][0].update(width=6)
    crowd_beside = coco['annotations'][0] | dict(id=2, segmentation=[[0, 0, 4, 0, 4, 4]])
    coco['annotations'][0].update(changes)
    coco['annotations'].append(crowd_beside)
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    dataset['pipeline'] = [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    if message is None:
        check_coco_dataset(dataset)
    else:
        with pytest.raises(InputError, match=message):
            check_coco_dataset(dataset)


def test_nothing_to_learn_from(dataset, tmp_path):
    coco = json.loads((tmp_path / 'ann.json').read_text()) | dict(annotations=[])
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    with pytest.raises(InputError, match=r'ann\.json holds no box'):
        check_coco_dataset(dataset)
    check_coco_dataset(dataset | dict(test_mode=True))


def test_box_without_area(dataset, tmp_path):
    coco = json.loads((tmp_path / 'ann.json').read_text())
    del coco['annotations'][0]['area']
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    with pytest.raises(
        InputError, match=r'annotation 1 has no area in .*ann\.json, which mmdet misreads'
    ):
        check_coco_dataset(dataset)


def test_missing_image_and_missing_proxy_file(dataset, tmp_path):
    (tmp_path / 'images' / '1.jpg').unlink()
    with pytest.raises(InputError, match=r'image \S+1\.jpg of \S+ann\.json does not exist'):
        check_coco_dataset(dataset)
    dataset.update(ann_file='proxy.json', pipeline=[dict(type='mmboxcaseg.DropProxyMasks')])
    with pytest.raises(InputError, match=r'proxy\.json: make it with mmboxcaseg generate'):
        check_coco_dataset(dataset)


def test_own_datasets_are_built(train_dataset_cfg):
    config = Config(dict(train_dataloader=dict(dataset=train_dataset_cfg)))
    check_data(config, ('train',))
    config.train_dataloader.dataset.datasets[1].data_prefix = dict(img='images', mask='none')
    with pytest.raises(InputError, match=r'folder \S+none does not exist'):
        check_data(config, ('train',))
    config.train_dataloader.dataset.datasets[0].anfile = 'x'
    with pytest.raises(InputError, match='cannot be built: TypeError: .*anfile'):
        check_data(config, ('train',))


def test_not_coco(dataset, tmp_path):
    (tmp_path / 'ann.json').write_text('[1, 2]')
    with pytest.raises(InputError, match=r'ann\.json is not a COCO file'):
        check_coco_dataset(dataset)


def test_metric_without_its_file(dataset):
    metrics = [dict(type='CocoMetric', ann_file='none.json'), dict(type='CocoMetric')]
    with pytest.raises(InputError, match=r'no annotation file none\.json to score with'):
        check_data(Config(dict(val_evaluator=metrics)), ('val',))


def test_metric_that_cannot_use_its_file(dataset, tmp_path):
    metrics = [dict(type='mmboxcaseg.VOCInstanceMetric', ann_file=str(tmp_path / 'ann.json'))]
    with pytest.raises(InputError, match='annotation 1 .* has no segmentation to score against'):
        check_data(Config(dict(test_evaluator=metrics)), ('test',))


def test_check_pretrained(tmp_path):
    model = dict(
        neck=dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
        parts=[dict(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'x.pth')))],
    )
    with pytest.raises(InputError, match=r'there is no checkpoint file \S+x\.pth'):
        check_pretrained(model)
    torch.save({'weight': torch.zeros(1)}, tmp_path / 'x.pth')
    check_pretrained(model)


def test_check_checkpoint(tmp_path):
    config = Config(dict(model=dict(type='ResNet', depth=18)))
    path = str(tmp_path / 'x.pth')
    torch.save({'conv1.weight': torch.zeros(64, 3, 7, 7)}, path)
    check_checkpoint(config, None)
    with pytest.raises(InputError, match='cannot be built: TypeError: .*depht'):
        check_checkpoint(Config(dict(model=dict(type='ResNet', depht=18))), None)
    check_checkpoint(config, 'https://example.org/x.pth')
    check_checkpoint(config, path, strict=False)
    with pytest.raises(InputError, match=re.escape('another architecture than the config')):
        check_checkpoint(config, path)
    with pytest.raises(InputError, match='cannot be resumed'):
        check_checkpoint(config, path, resume=True)


def test_batch_sizes_of_sampler_and_loader():
    loader = dict(batch_size=8, sampler=dict(type='mmboxcaseg.RatioSampler', batch_size=16))
    with pytest.raises(InputError, match='sampler.batch_size is 16, but .* is 8'):
        check_sampler(Config(dict(train_dataloader=loader)))
    loader['sampler']['batch_size'] = 8
    check_sampler(Config(dict(train_dataloader=loader)))
    check_sampler(Config(dict(train_dataloader=dict(batch_size=8))))


class OwnPatch(BoxPatch):
    pass


@pytest.mark.parametrize('type_', ['mmboxcaseg.BoxPatch', BoxPatch, OwnPatch])
def test_slack_and_the_margins_of_the_views(type_):
    def views(*margins):
        crops = [dict(type=type_, margin=margin) for margin in margins]
        return [dict(type='TestTimeAug', transforms=[crops]), dict(type='RandomFlip')]

    config = Config(dict(model=dict(test_cfg=dict(slack=0.1))))
    check_slack(config, views(0.1, 0.2))
    check_slack(config, dict(dataset=dict(pipeline=views(0.1))))
    check_slack(config, dict(dataset=dict(pipeline=[dict(type='mmboxcaseg.WholeImagePatch')])))
    check_slack(config, views(0.0, 0.2), slack=0.0)
    with pytest.raises(InputError, match=r'slack of 0\.1, .* of the config has a margin of 0\.05'):
        check_slack(config, views(0.2, 0.05))
    with pytest.raises(InputError, match='has a margin of 0: give'):
        check_slack(config, dict(dataset=dict(pipeline=[dict(type=type_)])))
    with pytest.raises(InputError, match=r'slack of 0\.3, .* margin of 0\.2'):
        check_slack(config, views(0.3, 0.2), slack=0.3)
    for model in (dict(), dict(test_cfg=None), dict(test_cfg=dict(rcnn=dict()))):
        check_slack(Config(dict(model=model)), views(0.0))


class KnowingHead(ProxyMaskHead, HTCMaskHead):
    pass


DROP = dict(type='mmboxcaseg.DropProxyMasks')
PROXY_HEAD = dict(type='mmboxcaseg.ProxyMaskHead')
STOCK_HEAD = dict(type='FCNMaskHead')
DENOISE = dict(type='mmboxcaseg.DenoiseProxyMasks')
RTMDET = dict(type='RTMDetInsSepBNHead', loss_mask=dict(type='DiceLoss'))
MASK2FORMER = dict(type='Mask2FormerHead', loss_mask=dict(type='CrossEntropyLoss'))


@pytest.mark.parametrize(
    ('pipeline', 'model', 'reason'),
    [
        ([DROP], dict(roi_head=dict(mask_head=PROXY_HEAD)), None),
        ([DROP], dict(roi_head=dict(mask_head=[PROXY_HEAD, PROXY_HEAD])), None),
        ([DROP], dict(roi_head=dict(mask_head=dict(type=KnowingHead))), None),
        ([], dict(roi_head=dict(mask_head=STOCK_HEAD)), None),
        ([DROP], dict(roi_head=dict(mask_head=STOCK_HEAD)), 'the mask head FCNMaskHead knows'),
        ([dict(type=DropProxyMasks)], dict(mask_head=STOCK_HEAD), 'mask head FCNMaskHead knows'),
        ([DROP], dict(mask_head=dict(type='mmdet.HTCMaskHead')), 'head mmdet.HTCMaskHead knows'),
        ([DROP], dict(roi_head=dict(mask_head=[PROXY_HEAD, STOCK_HEAD])), 'FCNMaskHead knows'),
        ([DROP], dict(mask_head=dict(type='no.SuchHead')), 'the mask head no.SuchHead knows'),
        ([DROP], dict(bbox_head=dict(type='RetinaHead')), 'a model without a mask head knows'),
        ([DROP], dict(bbox_head=RTMDET), 'the mask head RTMDetInsSepBNHead knows'),
        ([DROP], dict(bbox_head=RTMDET | dict(type='mmboxcaseg.ProxyRTMDetInsSepBNHead')), None),
        ([DROP], dict(panoptic_head=MASK2FORMER), 'the mask head Mask2FormerHead knows'),
        (
            [DROP],
            dict(panoptic_head=MASK2FORMER | dict(type='mmboxcaseg.ProxyMask2FormerHead')),
            None,
        ),
        ([DENOISE], dict(roi_head=dict(mask_head=PROXY_HEAD)), None),
        ([DENOISE], dict(roi_head=dict(mask_head=STOCK_HEAD)), 'the mask head FCNMaskHead knows'),
        (
            [DENOISE],
            dict(bbox_head=RTMDET | dict(type='mmboxcaseg.ProxyRTMDetInsSepBNHead')),
            'DenoiseProxyMasks, of which the mask head mmboxcaseg.ProxyRTMDetInsSepBNHead knows',
        ),
    ],
)
@pytest.mark.parametrize(
    'wrap',
    [
        lambda pipeline: dict(pipeline=pipeline),
        lambda pipeline: dict(type='RepeatDataset', dataset=dict(pipeline=pipeline)),
        lambda pipeline: dict(pipeline=[dict(type='RandomApply', transforms=pipeline)]),
    ],
)
def test_masks_are_dropped_for_a_head_that_knows_of_it(pipeline, model, reason, wrap):
    config = Config(dict(model=model, train_dataloader=dict(dataset=wrap(pipeline))))
    if reason is None:
        check_mask_head(config)
        return
    with pytest.raises(InputError, match=reason) as error:
        check_mask_head(config)
    assert "'mmboxcaseg.ProxyMaskHead'" in str(error.value) and '\n' not in str(error.value)
    # Nothing is dropped in a test.
    check_mask_head(Config(dict(model=model, test_dataloader=config.train_dataloader)))


@pytest.mark.parametrize('with_quality', [True, False])
def test_quality_that_a_pipeline_drops_by(dataset, tmp_path, with_quality):
    coco = json.loads((tmp_path / 'ann.json').read_text())
    coco['annotations'][0] |= dict(segmentation=[[0, 0, 4, 0, 4, 4]], box_agreement=0.5)
    coco['annotations'][0] |= dict(quality=0.5) if with_quality else {}
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    check_coco_dataset(dataset | dict(pipeline=[DROP]))
    by_quality = dataset | dict(pipeline=[DROP | dict(min_quality=0.75)])
    if with_quality:
        check_coco_dataset(by_quality)
    else:
        with pytest.raises(InputError, match=r'annotation 1 of \S+ann\.json has no quality'):
            check_coco_dataset(by_quality)


def test_start_from_a_network_that_is_told_something_else(tmp_path, box_caseg_cfg):
    def config(**prompt):
        return Config(dict(model=box_caseg_cfg(prompt=dict(type='mmboxcaseg.BoxPrompt', **prompt))))

    model = MODELS.build(config(own=False, others=True).model)
    meta = dict(cfg=config(own=False, others=True).pretty_text)
    path = tmp_path / 'others.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    check_checkpoint(config(own=False, others=True), str(path), strict=False)
    with pytest.raises(InputError, match=r'its prompt is told .*: \(False, True\), not \(True, Fa'):
        check_checkpoint(config(), str(path), strict=False)


def test_pretrained_by_an_old_key(tmp_path):
    (tmp_path / 'evil.pth').write_bytes(b'no checkpoint')
    with pytest.raises(InputError, match='evil.pth is not a checkpoint'):
        check_pretrained(dict(backbone=dict(pretrained=str(tmp_path / 'evil.pth'))))
    check_pretrained(dict(backbone=dict(pretrained=True), neck=dict(pretrained='torchvision://a')))


def photograph(path, orientation, dtype=np.uint8):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((8, 6), dtype)
    Image.fromarray(pixels).save(path, format='PNG', exif=exif)


@pytest.mark.parametrize(
    ('load', 'orientation', 'dtype', 'message'),
    [
        # As mmdet has it, images are turned away from boxes of the stored pixels.
        (dict(), 1, np.uint8, None),
        (
            dict(),
            6,
            np.uint8,
            r'1\.jpg is turned as EXIF says, its boxes are not: give LoadImageFr',
        ),
        (dict(color_type='color_ignore_orientation'), 6, np.uint8, None),
        (dict(), 1, np.uint16, r'1\.jpg has more than 8 bits, of which mmdet keeps 8: give LoadIm'),
        (dict(backend_args=dict(backend='mmboxcaseg')), 6, np.uint8, None),
        (dict(backend_args=dict(backend='mmboxcaseg')), 1, np.uint16, None),
        (
            dict(backend_args=dict(backend='mmboxcaseg', exif=True)),
            6,
            np.uint8,
            r'turned to 8x6 by its EXIF orientation 6, but .* says 6x8: .* leave --exif out',
        ),
        (
            dict(backend_args=dict(backend='mmboxcaseg', max_pixels=47)),
            1,
            np.uint8,
            r'has 6x8 pixels, more than the 47',
        ),
    ],
)
def test_images_as_the_pipeline_reads_them(dataset, tmp_path, load, orientation, dtype, message):
    coco = json.loads((tmp_path / 'ann.json').read_text())
    coco['images'][0].update(width=6, height=8)
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    photograph(tmp_path / 'images' / '1.jpg', orientation, dtype)
    dataset['pipeline'] = [dict(type='LoadImageFromFile', **load)]
    if message is None:
        check_coco_dataset(dataset)
    else:
        with pytest.raises(InputError, match=message):
            check_coco_dataset(dataset)


@pytest.mark.parametrize(
    'fields', [dict(area=0), dict(iscrowd='0'), dict(iscrowd=1, segmentation=None)]
)
def test_the_mending_data_set_is_not_refused(dataset, tmp_path, fields):
    coco = json.loads((tmp_path / 'ann.json').read_text())
    whole = coco['annotations'][0] | dict(segmentation=[[0, 0, 4, 0, 4, 4]])
    coco['annotations'] = [whole, whole | dict(id=2, bbox=[1, 1, 4, 4]) | fields]
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    Image.new('RGB', (8, 8)).save(tmp_path / 'images' / '1.jpg')
    load = [dict(type='LoadImageFromFile')]
    load += [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    with pytest.raises(InputError, match="annotation 2 .* type 'mmboxcaseg.MendedCocoDataset'"):
        check_coco_dataset(dataset | dict(pipeline=load))
    own = dataset | dict(type='mmboxcaseg.MendedCocoDataset', pipeline=load)
    check_coco_dataset(own)
    results = DATASETS.build(own | dict(test_mode=True))[0]
    assert results['gt_ignore_flags'].tolist() == [False, fields.get('iscrowd') == 1]
    assert len(results['gt_masks']) == 2


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(id=0), 'annotation 0 has an id that is no number from 1 on in .*CocoAPMetric'),
        (dict(id='a'), 'annotation a has an id that is no number'),
        (dict(iscrowd=None), 'annotation 1 has no iscrowd in'),
        (dict(iscrowd=0), None),
    ],
)
def test_what_mmdets_metric_misreads(dataset, tmp_path, fields, message):
    coco = json.loads((tmp_path / 'ann.json').read_text())
    coco['annotations'][0].update(dict(iscrowd=0) | fields)
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    for type_ in ('CocoMetric', 'mmboxcaseg.CocoAPMetric'):
        metric = dict(type=type_, ann_file=str(tmp_path / 'ann.json'))
        config = Config(dict(val_evaluator=metric))
        if message is None or type_ != 'CocoMetric':
            check_data(config, ('val',))
        else:
            with pytest.raises(InputError, match=message):
                check_data(config, ('val',))
