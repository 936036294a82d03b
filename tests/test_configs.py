"""Every config builds, takes a training step and is tested, made small but otherwise as it is."""

import json
from pathlib import Path

import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.runner import Runner

from mmboxcaseg import config_path

ROOT = Path(config_path('boxcaseg/hrnet_w48_voc.py')).parents[1]
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('[!_]*/*.py'))

#: Arguments of transforms that make their output small.
SMALL = {
    'mmboxcaseg.RandomBoxPatch': dict(size=32),
    'mmboxcaseg.RandomSalientPatch': dict(resize=36, size=32),
    'mmboxcaseg.BoxPatch': dict(size=32),
    'Resize': dict(scale=(64, 64)),
}


def walk(node):
    """All dicts of a config, outermost first."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list | tuple):
            yield from walk(child)


def shrink(cfg, data_root, tmp_path):
    for node in walk(cfg._cfg_dict):
        node.update(SMALL.get(node.get('type'), {}))
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
        if isinstance(node.get('init_cfg'), dict) and node['init_cfg']['type'] == 'Pretrained':
            node['init_cfg'] = None
        if 'num_workers' in node:
            node.update(num_workers=0, persistent_workers=False)
        if node.get('type') == 'mmboxcaseg.BoxInstanceDataset':
            use_tiny_coco(node, data_root / 'coco' / 'annotations' / 'instances.json', data_root)
        elif node.get('type') == 'mmboxcaseg.SalientObjectDataset':
            node['data_root'] = str(data_root / 'salient')
        elif node.get('type') == 'CocoDataset':
            metainfo = node.get('metainfo') or CocoDataset.METAINFO
            ann_file = write_with_classes(metainfo['classes'], data_root, tmp_path)
            use_tiny_coco(node, ann_file, data_root)
        elif node.get('type') == 'CocoMetric':
            node['ann_file'] = str(tmp_path / 'instances.json')
    shrink_model(cfg.model)
    cfg.work_dir = str(tmp_path)
    cfg.log_level = 'ERROR'


def use_tiny_coco(dataset, ann_file, data_root):
    dataset.update(
        data_root='',
        ann_file=str(ann_file),
        data_prefix=dict(img=str(data_root / 'coco' / 'train')),
    )


def write_with_classes(classes, data_root, tmp_path):
    """Write the tiny COCO file with the categories of the config."""
    coco = json.loads((data_root / 'coco' / 'annotations' / 'instances.json').read_text())
    coco['categories'] = [dict(id=id_, name=name) for id_, name in enumerate(classes, start=1)]
    path = tmp_path / 'instances.json'
    path.write_text(json.dumps(coco))
    return path


def shrink_model(model):
    backbone = model.backbone
    if backbone.type == 'mmseg.HRNet':
        factor = backbone.extra.stage4.num_channels[0] // 2
        for stage in backbone.extra.values():
            stage.num_blocks = (1,) * len(stage.num_blocks)
            if stage.num_branches > 1:
                stage.num_channels = tuple(c // factor for c in stage.num_channels)
        for name in ('weak_head', 'salient_head', 'transferred_head'):
            model[name].in_channels //= factor
    if backbone.type == 'ResNet':
        factor = backbone.get('base_channels', 64) // 8
        backbone.base_channels = 8
        model.neck.in_channels = [c // factor for c in model.neck.in_channels]
        model.train_cfg.rcnn.sampler.num = 16
        model.test_cfg.rpn.update(nms_pre=20, max_per_img=20)
        # Untrained, every class is as unlikely.
        model.test_cfg.rcnn.update(max_per_img=5, score_thr=0.0)


def test_there_are_configs():
    assert {name.split('/')[0] for name in CONFIGS} == {'boxcaseg', 'demo', 'proxy_mask_rcnn'}


@pytest.mark.parametrize('name', CONFIGS)
def test_builds_trains_and_tests(name, data_root, tmp_path, quiet_runner):
    cfg = Config.fromfile(ROOT / name)
    shrink(cfg, data_root, tmp_path)
    cfg.experiment_name = name.replace('/', '_')
    runner = Runner.from_cfg(cfg)

    loop = runner.build_train_loop(cfg.train_cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner.build_param_scheduler(cfg.param_scheduler)
    before = {key: value.clone() for key, value in runner.model.named_parameters()}
    runner.model.train()
    losses = runner.model.train_step(next(iter(loop.dataloader)), runner.optim_wrapper)
    assert all(loss.isfinite() for loss in losses.values())
    assert losses['loss'] > 0
    assert any(not torch.equal(before[k], v) for k, v in runner.model.named_parameters())

    metrics = runner.test()
    expected = 'coco/segm_mAP' if cfg.model.type == 'MaskRCNN' else 'fused/mIoU'
    assert 0 <= metrics[expected] <= 1 or metrics[expected] == -1


@pytest.mark.parametrize('name', [name for name in CONFIGS if name.startswith('boxcaseg')])
def test_batches_of_sampler_and_loader_agree(name):
    loader = Config.fromfile(ROOT / name).train_dataloader
    assert loader.sampler.get('batch_size', loader.batch_size) == loader.batch_size


def load(name):
    return Config.fromfile(ROOT / name)


def pipeline_of(cfg, index):
    return {t['type']: t for t in cfg.train_dataloader.dataset.datasets[index].pipeline}


@pytest.mark.parametrize(
    ('name', 'alpha', 'lr'), [('hrnet_w48_voc.py', 0.7, 4e-3), ('hrnet_w48_coco.py', 0.6, 8e-3)]
)
def test_settings_of_the_paper(name, alpha, lr):
    cfg = load(f'boxcaseg/{name}')
    model = cfg.model
    assert model.alpha == alpha
    assert sum(model.backbone.extra.stage4.num_channels) == model.weak_head.in_channels == 720
    assert model.loss_mil.smooth_weight == 0.05
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer == dict(type='SGD', lr=lr, momentum=0.9, weight_decay=1e-4)
    assert cfg.train_dataloader.batch_size == 16
    box = pipeline_of(cfg, 0)['mmboxcaseg.RandomBoxPatch']
    assert (box.size, box['shift'], tuple(box.scale)) == (288, 0.25, (0.5, 1.5))
    salient = pipeline_of(cfg, 1)['mmboxcaseg.RandomSalientPatch']
    assert (salient.resize, salient.size) == (320, 288)
    test = {t['type']: t for t in cfg.test_dataloader.dataset.pipeline}
    assert test['mmboxcaseg.BoxPatch'].size == 320


def test_sampling_of_the_paper():
    voc = load('boxcaseg/hrnet_w48_voc.py')
    assert voc.train_dataloader.sampler == dict(type='DefaultSampler', shuffle=True)
    assert voc.train_cfg.max_epochs == 40
    coco = load('boxcaseg/hrnet_w48_coco.py')
    assert tuple(coco.train_dataloader.sampler.ratio) == (9, 7)
    assert coco.train_dataloader.sampler.overlap_skip == 0.75


@pytest.mark.parametrize('name', [name for name in CONFIGS if name.endswith('_supervised.py')])
def test_twins_differ_in_their_masks_alone(name):
    twin = name.replace('_supervised', '').replace('demo/mask_rcnn', 'demo/proxy_mask_rcnn')
    supervised, proxy = load(name), load(twin)
    for node in (*walk(supervised._cfg_dict), *walk(proxy._cfg_dict)):
        node.pop('_scope_', None)  # where a dict was inherited from
    assert proxy.model.roi_head.mask_head.pop('type') == 'mmboxcaseg.ProxyMaskHead'
    assert supervised.model.roi_head.mask_head.pop('type') == 'FCNMaskHead'
    pipelines = []
    for cfg in (supervised, proxy):
        dataset = cfg.train_dataloader.dataset
        pipelines.append([t for t in dataset.pop('pipeline') if 'ProxyMasks' not in t['type']])
        for key in ('data_root', 'ann_file', 'data_prefix'):
            dataset.pop(key)
    assert pipelines[0] == pipelines[1]
    for key in ('model', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'train_cfg'):
        assert supervised[key] == proxy[key], key
    assert supervised.optim_wrapper == proxy.optim_wrapper
    assert supervised.param_scheduler == proxy.param_scheduler
