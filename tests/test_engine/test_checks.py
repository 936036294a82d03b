import json
import re

import pytest
import torch
from mmengine.config import Config

from mmboxcaseg.engine.checks import (
    check_checkpoint,
    check_classes,
    check_coco_dataset,
    check_data,
    check_pretrained,
    check_sampler,
)
from mmboxcaseg.errors import InputError

CATEGORIES = [dict(id=7, name='cat'), dict(id=2, name='dog'), dict(id=5, name='cow')]


@pytest.mark.parametrize(
    ('classes', 'used_ids', 'message'),
    [
        (['cat', 'dog', 'cow'], {2, 5, 7}, None),
        # A file may list categories that nothing has.
        (['cat', 'cow'], {5, 7}, None),
        (['cat', 'bird'], {7}, "class 'bird' of the config's .* not in x.json"),
        (['cat', 'cow'], {2, 7}, "category 'dog' of x.json is not in the config's"),
        (['dog', 'cat', 'cow'], {2}, 'in another order than the categories of x.json'),
    ],
)
def test_check_classes(classes, used_ids, message):
    if message is None:
        check_classes(CATEGORIES, used_ids, classes, 'x.json')
    else:
        with pytest.raises(InputError, match=message):
            check_classes(CATEGORIES, used_ids, classes, 'x.json')


def test_long_lists_of_names_are_cut():
    categories = [dict(id=i, name=f'name{i}') for i in range(80)]
    with pytest.raises(InputError, match="'name7' and 72 more$"):
        check_classes(categories, set(), ['bird'], 'x.json')


@pytest.fixture
def dataset(tmp_path):
    coco = dict(
        images=[dict(id=1, file_name='1.jpg', width=8, height=8)],
        annotations=[dict(id=1, image_id=1, category_id=2, bbox=[0, 0, 4, 4])],
        categories=CATEGORIES,
    )
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    (tmp_path / 'images').mkdir()
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
        (dict(data_prefix=dict(img='none/')), r'there is no image folder \S+none/'),
        (dict(metainfo=dict(classes=('cat', 'bird'))), "class 'bird'"),
        (dict(metainfo=dict(classes='dog')), None),
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


def test_not_coco(dataset, tmp_path):
    (tmp_path / 'ann.json').write_text('[1, 2]')
    with pytest.raises(InputError, match=r'ann\.json is not a COCO file'):
        check_coco_dataset(dataset)


def test_metric_without_its_file(dataset):
    metrics = [dict(type='CocoMetric', ann_file='none.json'), dict(type='CocoMetric')]
    with pytest.raises(InputError, match=r'no annotation file none\.json to score with'):
        check_data(Config(dict(val_evaluator=metrics)), ('val',))


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
    check_checkpoint(config, 'https://example.org/x.pth')
    check_checkpoint(config, path, whole=False)
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
