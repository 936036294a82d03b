"""A Mask R-CNN on a file where only some boxes have a mask; mmdet's own tools on what it saves."""

import json

import pytest
import torch
from mmdet.apis import DetInferencer
from mmengine.config import Config

from mmboxcaseg.apis import train
from mmboxcaseg.converters.publish import publish_checkpoint
from mmboxcaseg.engine.config import load_config
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import empty_rle
from mmboxcaseg.testing import shrink

NUMBERS = 'quality', 'box_agreement'


@pytest.fixture
def coco(data_root):
    """True masks of the third box of each image, nothing else of masks."""
    coco = json.loads((data_root / 'coco' / 'annotations' / 'instances.json').read_text())
    for annotation in coco['annotations']:
        annotation['category_id'] = 1
        for key in (*NUMBERS, *(('area', 'segmentation') if annotation['id'] % 10 < 2 else ())):
            del annotation[key]
    return dict(coco, categories=[dict(id=1, name='thing')])


@pytest.fixture
def config(data_root, tmp_path):
    config = load_config('demo/proxy_mask_rcnn_toy.py')
    shrink(config, data_root, tmp_path)
    config.merge_from_dict(
        {
            'train_dataloader.dataset.metainfo.classes': ('thing',),
            'train_dataloader.dataset.ann_file': str(tmp_path / 'mixed.json'),
            'test_dataloader.dataset.metainfo.classes': ('thing',),
            'model.roi_head.bbox_head.num_classes': 1,
            'model.roi_head.mask_head.num_classes': 1,
            'val_dataloader': None,
            'train_cfg.max_epochs': 1,
            'default_hooks.checkpoint.save_optimizer': True,
        }
    )
    return config


@pytest.fixture
def trained(config, tmp_path, quiet_runner):
    """Train on a file and give the checkpoint."""

    def trained(coco, name):
        (tmp_path / 'mixed.json').write_text(json.dumps(coco))
        own = Config(config.to_dict())
        own.update(work_dir=str(tmp_path / name), experiment_name=f'{tmp_path.name}_{name}')
        train(own)
        return tmp_path / name / 'epoch_1.pth'

    return trained


def weights(checkpoint):
    return torch.load(checkpoint)['state_dict']


def same(weights, others, part):
    names = [name for name in weights if part in name]
    assert names
    return all(torch.equal(weights[name], others[name]) for name in names)


def test_masks_that_there_are_teach_and_the_detector_loads(
    coco, config, data_root, trained, tmp_path, trusts_nothing
):
    mixed = trained(coco, 'mixed')
    # As somebody else's process finds it.
    trusts_nothing()
    assert not torch.serialization.get_unsafe_globals_in_checkpoint(mixed)
    image = str(data_root / 'coco' / 'train' / '001.png')
    publish_checkpoint(mixed, tmp_path / 'published.pth')
    trusts_nothing()
    for checkpoint in (mixed, tmp_path / 'published.pth'):
        detector = DetInferencer(config, str(checkpoint), device='cpu', show_progress=False)
        result = detector(image, out_dir=str(tmp_path / 'out'), no_save_pred=False)
        (found,) = result['predictions']
        assert len(found['masks']) == len(found['scores']) > 0
        assert found['masks'][0]['size'] == [40, 48]
        assert (tmp_path / 'out' / 'vis' / '001.png').is_file()
    before = weights(mixed)

    # What has no mask is as a proxy mask that is dropped, what has one as a true one.
    explicit = json.loads(json.dumps(coco))
    for annotation in explicit['annotations']:
        missing = 'segmentation' not in annotation
        annotation.update(dict.fromkeys(NUMBERS, 0.0 if missing else 1.0))
        annotation.setdefault('area', annotation['bbox'][2] * annotation['bbox'][3])
        annotation.setdefault('segmentation', empty_rle((40, 48)))
    assert same(before, weights(trained(explicit, 'explicit')), '')

    # Other masks of the same boxes teach something else.
    other = json.loads(json.dumps(coco))
    for annotation in other['annotations']:
        if 'segmentation' in annotation:
            x, y, _, _ = annotation['bbox']
            annotation['segmentation'] = [[x, y, x + 5, y, x + 5, y + 7, x + 2, y + 9]]
    assert not same(before, weights(trained(other, 'other')), 'mask_head')


def test_another_head_is_refused(coco, config, tmp_path):
    (tmp_path / 'mixed.json').write_text(json.dumps(coco))
    pipeline = config.train_dataloader.dataset.pipeline
    config.train_dataloader.dataset.pipeline = [p for p in pipeline if 'Proxy' not in p.type]
    config.model.roi_head.mask_head.type = 'FCNMaskHead'
    with pytest.raises(InputError, match=r'mixed\.json has boxes without a mask, of which .*FCN'):
        train(config)
    config.train_dataloader.dataset.type = 'CocoDataset'
    for annotation in coco['annotations']:
        annotation.setdefault('area', 9)
    (tmp_path / 'mixed.json').write_text(json.dumps(coco))
    with pytest.raises(InputError, match='annotation 10 .* no segmentation.*ProxyCocoDataset'):
        train(config)
