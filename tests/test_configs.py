"""Every config builds, takes a training step and is tested, made small but otherwise as it is."""

import json
import re
from pathlib import Path

import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.runner import Runner

from mmboxcaseg import config_path
from mmboxcaseg.proxy import decode_rle, encode_rle

ROOT = Path(config_path('boxcaseg/hrnet_w48_voc.py')).parents[1]
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('[!_]*/**/*.py'))

#: Arguments of transforms that make their output small.
SMALL = {
    'mmboxcaseg.RandomBoxPatch': dict(size=32),
    'mmboxcaseg.RandomSalientPatch': dict(resize=36, size=32),
    'mmboxcaseg.BoxPatch': dict(size=32),
    'mmboxcaseg.WholeImagePatch': dict(size=32),
    'Resize': dict(scale=(64, 64)),
    'RandomChoiceResize': dict(scales=[(64, 64)]),
}
DATASETS = (
    'CocoDataset',
    'mmboxcaseg.BoxInstanceDataset',
    'mmboxcaseg.ProxyCocoDataset',
    'mmboxcaseg.SalientObjectDataset',
)


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
        if str(node.get('type')) in DATASETS:
            # Serialising collects all garbage first, which takes longer than the rest.
            node['serialize_data'] = False
        if node.get('type') == 'mmboxcaseg.BoxInstanceDataset':
            use_tiny_coco(node, data_root / 'coco' / 'annotations' / 'instances.json', data_root)
            if 'proxy_file' in node:
                write_proxies(Path(node['ann_file']), tmp_path / 'proxy.json')
                node['proxy_file'] = str(tmp_path / 'proxy.json')
        elif node.get('type') == 'mmboxcaseg.SalientObjectDataset':
            node.update(data_root=str(data_root / 'salient'), ann_file='', indices=None)
        elif node.get('type') in ('CocoDataset', 'mmboxcaseg.ProxyCocoDataset'):
            metainfo = node.get('metainfo') or CocoDataset.METAINFO
            write_with_classes(metainfo['classes'], data_root, tmp_path)
            with_masks = any(transform.get('with_mask') for transform in node['pipeline'])
            name = 'instances.json' if with_masks else 'boxes.json'
            use_tiny_coco(node, tmp_path / name, data_root)
        elif str(node.get('type')).endswith('Metric') and 'ann_file' in node:
            node['ann_file'] = str(tmp_path / 'instances.json')
    shrink_model(cfg.model)
    cfg.load_from = None  # of a training that is not there
    cfg.work_dir = str(tmp_path)
    cfg.log_level = 'ERROR'


def use_tiny_coco(dataset, ann_file, data_root):
    dataset.update(
        data_root='',
        ann_file=str(ann_file),
        data_prefix=dict(img=str(data_root / 'coco' / 'train')),
    )


def write_with_classes(classes, data_root, tmp_path):
    """Write the tiny COCO file with the categories of the config; once without its masks."""
    coco = json.loads((data_root / 'coco' / 'annotations' / 'instances.json').read_text())
    classes = [classes] if isinstance(classes, str) else classes
    coco['categories'] = [dict(id=id_, name=name) for id_, name in enumerate(classes, start=1)]
    for annotation in coco['annotations']:
        annotation['category_id'] = annotation['category_id'] % len(classes) + 1
    (tmp_path / 'instances.json').write_text(json.dumps(coco))
    for annotation in coco['annotations']:
        del annotation['segmentation']
    (tmp_path / 'boxes.json').write_text(json.dumps(coco))


def write_proxies(ann_file, path):
    """Write the tiny COCO file's own masks as if they were proxy masks."""
    coco = json.loads(ann_file.read_text())
    shapes = {image['id']: (image['height'], image['width']) for image in coco['images']}
    for annotation in coco['annotations']:
        mask = decode_rle(annotation['segmentation'], shapes[annotation['image_id']])
        annotation.update(segmentation=encode_rle(mask), quality=0.9)
    path.write_text(json.dumps(coco))


def shrink_model(model):
    backbone = model.backbone
    if backbone.type == 'mmseg.HRNet':
        factor = backbone.extra.stage4.num_channels[0] // 2
        for stage in backbone.extra.values():
            stage.num_blocks = (1,) * len(stage.num_blocks)
            if stage.num_branches > 1:
                stage.num_channels = tuple(c // factor for c in stage.num_channels)
        for name in ('weak_head', 'salient_head', 'transferred_head'):
            if model[name] is not None:
                model[name].in_channels //= factor
    if backbone.type == 'ResNet':
        factor = backbone.get('base_channels', 64) // 8
        backbone.base_channels = 8
        model.neck.in_channels = [c // factor for c in model.neck.in_channels]
    # Untrained, every class is as unlikely.
    if model.type == 'MaskRCNN':
        model.train_cfg.rcnn.sampler.num = 16
        model.test_cfg.rpn.update(nms_pre=20, max_per_img=20)
        model.test_cfg.rcnn.update(max_per_img=5, score_thr=0.0)
    if model.type == 'BoxInst':
        model.test_cfg.update(nms_pre=20, max_per_img=5, score_thr=0.0)


def test_there_are_configs():
    folders = {name.split('/')[0] for name in CONFIGS}
    assert folders == {
        'ablations',
        'baselines',
        'boxcaseg',
        'demo',
        'prompted',
        'proxy_mask_rcnn',
        'salient',
    }


@pytest.mark.parametrize('name', CONFIGS)
def test_builds_trains_and_tests(name, data_root, tmp_path, quiet_runner):
    cfg = Config.fromfile(ROOT / name)
    shrink(cfg, data_root, tmp_path)
    cfg.experiment_name = name.replace('/', '_')
    runner = Runner.from_cfg(cfg)

    loop = runner.train_loop
    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner.build_param_scheduler(cfg.param_scheduler)
    before = {key: value.clone() for key, value in runner.model.named_parameters()}
    runner.model.train()
    runner.message_hub.update_info('iter', 1)  # BoxInst's warm-up reads it
    losses = runner.model.train_step(next(iter(loop.dataloader)), runner.optim_wrapper)
    assert all(loss.isfinite() for loss in losses.values())
    assert losses['loss'] > 0
    assert any(not torch.equal(before[k], v) for k, v in runner.model.named_parameters())

    metrics = runner.test()
    output_map = getattr(runner.model, 'output_map', None)
    expected = f'{output_map}/mIoU' if output_map else 'coco/segm_mAP'
    expected = 'fused/maxF' if name.startswith('salient/') else expected
    assert 0 <= metrics[expected] <= 1 or metrics[expected] == -1


def differences(one, other, key=''):
    """Dotted keys of the values that differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name in {*one, *other} - {'_scope_'}:
            yield from differences(one.get(name, ''), other.get(name, ''), f'{key}.{name}')
    elif (
        isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other)
    ):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f'{key}.{index}')
    elif one != other:
        yield key.lstrip('.')


ABLATIONS = {
    'table3_salient_images/salient_*.py': {'train_dataloader.dataset.datasets.1.ann_file'},
    'table4_heads/weak.py': {'model.salient_head', 'model.transferred_head'},
    'table4_heads/weak_salient.py': {'model.transferred_head'},
    'table4_heads/weak_transferred.py': {'model.salient_head'},
    'table5_sampling/ratio_*.py': {
        'train_dataloader.sampler.ratio.0',
        'train_dataloader.sampler.ratio.1',
    },
    'table6_alpha/alpha_*.py': {'model.alpha'},
    'table7_merge_drop/*_merge.py': {'train_dataloader.dataset.pipeline.3.min_agreement'},
    'table7_merge_drop/*_plain.py': {'train_dataloader.dataset.pipeline'},
    'table8_drop/drop_*.py': {'train_dataloader.dataset.pipeline.3.min_agreement'},
}


@pytest.mark.parametrize('pattern', ABLATIONS)
def test_ablations_change_one_thing(pattern):
    rows = sorted((ROOT / 'ablations').glob(pattern))
    assert rows
    for path in rows:
        text = path.read_text()
        base = re.search(r'\.\./\.\./(\w+/\w+\.py)', text)[1]
        row, base = Config.fromfile(path), load(base)
        for cfg in (row, base):
            cfg.pop('train_pipeline', None)
        changed = set(differences(base._cfg_dict, row._cfg_dict))
        assert changed == ABLATIONS[pattern], path
        # The value is the one that the file's name gives.
        if value := re.search(r'_([\d.]+)\.py$', path.name):
            assert value[1] in text


@pytest.mark.parametrize(
    'name', [name for name in CONFIGS if name.startswith(('boxcaseg', 'prompted'))]
)
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


@pytest.mark.parametrize('source', ['filled-box', 'grabcut'])
def test_mask_sources_change_the_proxy_file_alone(source):
    row = load(f'baselines/{source}_mask_rcnn_r101_fpn_voc.py')
    proxy = load('proxy_mask_rcnn/r101_fpn_voc.py')
    changed = set(differences(proxy._cfg_dict, row._cfg_dict))
    assert changed == {'proxy_file', 'train_dataloader.dataset.ann_file'}


@pytest.mark.parametrize('data', ['voc', 'coco'])
def test_bbtp_changes_the_mask_loss_alone(data):
    names = (f'baselines/{method}_r101_fpn_{data}.py' for method in ('mask_rcnn', 'bbtp'))
    changed = set(differences(*(load(name)._cfg_dict for name in names)))
    head = 'model.roi_head.mask_head'
    loss = {f'{head}.loss_mask.{key}' for key in ('type', 'use_mask', 'loss_weight')}
    loss |= {f'{head}.loss_mask.{key}' for key in ('smooth_weight', 'border')}
    masks = {
        f'{pipeline}.1.with_mask'
        for pipeline in ('train_pipeline', 'train_dataloader.dataset.pipeline')
    }
    assert changed == {'smooth_weight', f'{head}.type', *loss, *masks}


def test_settings_of_the_release():
    names = ('hrnet_w48_voc', 'hrnet_w48_voc_released')
    ours, released = (load(f'boxcaseg/{name}.py') for name in names)
    preprocessor = released.model.data_preprocessor
    assert preprocessor.mean == [102.9801, 115.9465, 122.7717]
    assert preprocessor.std == [255, 255, 255] and preprocessor.bgr_to_rgb
    assert released.model.loss_mil.border == 'zero'
    box = pipeline_of(released, 0)['mmboxcaseg.RandomBoxPatch']
    assert box.pop('shift_unit') == 'half'
    # All else is as in the paper's config.
    assert box == pipeline_of(ours, 0)['mmboxcaseg.RandomBoxPatch']
    for cfg in (ours, released):
        cfg.model.data_preprocessor = cfg.model.loss_mil = None
        cfg.train_dataloader.dataset.datasets[0].pipeline.pop(1)
    assert released.model == ours.model
    assert released.train_dataloader == ours.train_dataloader
    assert released.test_dataloader == ours.test_dataloader


def test_sampling_of_the_paper():
    voc = load('boxcaseg/hrnet_w48_voc.py')
    assert voc.train_dataloader.sampler == dict(type='DefaultSampler', shuffle=True)
    assert voc.train_cfg.max_epochs == 40
    coco = load('boxcaseg/hrnet_w48_coco.py')
    assert tuple(coco.train_dataloader.sampler.ratio) == (9, 7)
    assert coco.train_dataloader.sampler.overlap_skip == 0.75


@pytest.mark.parametrize(
    ('name', 'twin'),
    [
        ('baselines/mask_rcnn_r101_fpn_voc.py', 'proxy_mask_rcnn/r101_fpn_voc.py'),
        ('baselines/mask_rcnn_r50_fpn_voc.py', 'proxy_mask_rcnn/r50_fpn_voc.py'),
        ('baselines/mask_rcnn_r101_fpn_coco.py', 'proxy_mask_rcnn/r101_fpn_coco.py'),
        ('demo/mask_rcnn_toy_supervised.py', 'demo/proxy_mask_rcnn_toy.py'),
    ],
)
def test_twins_differ_in_their_masks_alone(name, twin):
    supervised, proxy = load(name), load(twin)
    for node in (*walk(supervised._cfg_dict), *walk(proxy._cfg_dict)):
        node.pop('_scope_', None)  # where a dict was inherited from
    assert proxy.model.roi_head.mask_head.pop('type') == 'mmboxcaseg.ProxyMaskHead'
    assert supervised.model.roi_head.mask_head.pop('type') == 'FCNMaskHead'
    assert proxy.train_dataloader.dataset.pop('type') == 'mmboxcaseg.ProxyCocoDataset'
    assert supervised.train_dataloader.dataset.pop('type') == 'CocoDataset'
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
