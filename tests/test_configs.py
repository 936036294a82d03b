"""Every config and row builds, takes a step and is tested, made small but otherwise as it is."""

import ast
import re
import runpy
from contextlib import nullcontext
from fnmatch import fnmatch
from importlib.util import find_spec
from inspect import signature
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS as DATASETS_REGISTRY
from mmengine.registry import MODELS, PARAM_SCHEDULERS
from mmengine.runner import Runner
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmboxcaseg import config_path
from mmboxcaseg.engine.config import dicts, load_config, override
from mmboxcaseg.testing import shrink

ROOT = Path(config_path('boxcaseg/hrnet_w48_voc.py')).parents[1]
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('[!_]*/**/*.py'))
needs_timm = pytest.mark.skipif(
    not all(map(find_spec, ('timm', 'torchvision'))),
    reason="timm, or the torchvision that it imports, is not installed: pip install '.[timm]'",
)
#: Those that are built; one needs timm.
BUILT = [pytest.param(name, marks=needs_timm) if 'sam2' in name else name for name in CONFIGS]
ABLATE = runpy.run_path(str(Path(__file__).parents[1] / 'tools' / 'ablate.py'))
#: What rows of the tables set in their base: the config, and values by key.
ROWS = {
    f'{table}:{row["key"]}': (row.get('boxcaseg') or row['mask_rcnn'], row['set'])
    for table, rows in ABLATE['TABLES'].items()
    for row in rows['rows']
    if 'set' in row
}


def test_there_are_configs():
    folders = {name.split('/')[0] for name in CONFIGS}
    assert folders == {
        'ablations',
        'baselines',
        'boxcaseg',
        'demo',
        'prompted',
        'proxy_mask_rcnn',
        'proxy_segmenters',
        'salient',
    }


def test_stems_differ():
    """The work dir of a training is named by its config's stem."""
    stems = [Path(name).stem for name in CONFIGS]
    assert sorted(set(stems)) == sorted(stems)


@pytest.mark.parametrize('path', sorted(ROOT.glob('**/*.py')), ids=lambda path: path.stem)
def test_config_goes_by_names(path):
    """No config takes an entry of a list by its place, or reads what lies outside of it."""
    text = path.read_text()
    assert '{{' not in text
    for node in ast.walk(ast.parse(text)):
        refused = isinstance(node, ast.Subscript | ast.Import | ast.ImportFrom)
        assert not refused, f'line {node.lineno}'
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).startswith('_base_'):
            # _base_.merge is no part of the base, but the method of the dict.
            assert not hasattr(ConfigDict, node.attr), f'line {node.lineno}'
        if isinstance(node, ast.Call) and ast.unparse(node.func) == '__import__':
            assert ast.literal_eval(node.args.pop()) == 'mmboxcaseg', f'line {node.lineno}'


@pytest.mark.parametrize('name', [*BUILT, *ROWS])
def test_builds_trains_and_tests(name, data_root, tmp_path, quiet_runner):
    cfg = load_config(ROOT / name) if name in CONFIGS else load_row(name)
    shrink(cfg, data_root, tmp_path)
    cfg.experiment_name = name.replace('/', '_')
    runner = Runner.from_cfg(cfg)

    assert not narrow_strided_convolutions(runner.model)
    loop = runner.train_loop
    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    runner.build_param_scheduler(cfg.param_scheduler)
    before = {key: value.clone() for key, value in runner.model.named_parameters()}
    runner.model.train()
    runner.message_hub.update_info('iter', 1)  # BoxInst's warm-up reads it
    batch = next(iter(loop.dataloader))
    with NoFloat64() if name in FOR_MPS else nullcontext():
        losses = runner.model.train_step(batch, runner.optim_wrapper)
    assert all(loss.isfinite() for loss in losses.values())
    assert losses['loss'] > 0
    assert any(not torch.equal(before[k], v) for k, v in runner.model.named_parameters())

    metrics = runner.test()
    output_map = getattr(runner.model, 'output_map', None)
    kind = 'segm' if hasattr(runner.model, 'with_mask') and runner.model.with_mask else 'bbox'
    expected = f'{output_map}/mIoU' if output_map else f'coco/{kind}_mAP'
    expected = 'fused/maxF' if name.startswith('salient/') else expected
    assert 0 <= metrics[expected] <= 1 or metrics[expected] == -1


#: Of which a step is looked at: a BoxCaseg and a Mask R-CNN.
FOR_MPS = (
    'prompted/prompted-boxcaseg_effnet-lite2_1xb16-3e_coco-mini-proxies.py',
    'proxy_mask_rcnn/r101_fpn_voc.py',
)


class NoFloat64(TorchDispatchMode):
    """Refuses what Apple's GPUs cannot hold."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            assert not isinstance(leaf, torch.Tensor) or leaf.dtype != torch.float64, function
        return made


def narrow_strided_convolutions(model):
    """Names of the convolutions whose backward pass can end the process.

    torch 2.13 and 2.14 free memory twice on CPUs with AVX2 and no AVX-512, in the backward pass of
    a strided 1x1 convolution with 3, 4, 5 or 7 input channels in channels-last layout.
    """
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels < 8
    ]


def test_narrow_strided_convolutions_are_found():
    model = torch.nn.ModuleDict(
        dict(
            crashes=torch.nn.Conv2d(4, 8, 1, stride=2),
            wide=torch.nn.Conv2d(8, 8, 1, stride=2),
            dense=torch.nn.Conv2d(4, 8, 1),
            stem=torch.nn.Conv2d(4, 8, 3, stride=2),
        )
    )
    assert narrow_strided_convolutions(model) == ['crashes']


@pytest.mark.parametrize('name', BUILT)
def test_meets_no_fault_of_torch(name):
    config = Config.fromfile(ROOT / name)
    with torch.device('meta'):
        assert not narrow_strided_convolutions(MODELS.build(config.model))


@pytest.mark.parametrize(
    'name',
    [
        'boxcaseg/hrnet_w48_coco.py',
        'boxcaseg/effnet-lite0_coco-mini.py',
        'prompted/prompted-boxcaseg_effnet-lite0_1xb16-12e_coco-mini.py',
    ],
)
def test_learning_rate_falls_until_the_last_epoch(name, data_root, tmp_path, quiet_runner):
    cfg = load_config(ROOT / name, {'train_cfg.max_epochs': 2})
    shrink(cfg, data_root, tmp_path)
    cfg.experiment_name = f'lr_{Path(name).stem}'
    runner = Runner.from_cfg(cfg)
    iters = runner.train_loop.max_iters
    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    *_, decay = runner.build_param_scheduler(cfg.param_scheduler)
    assert decay.end == 2 * len(runner.train_dataloader) == iters
    assert getattr(decay, 'T_max', iters) == iters


def test_learning_rate_falls_until_the_last_iteration(data_root, tmp_path, quiet_runner):
    name = 'baselines/bbtp-salient_effnet-lite0_coco-mini.py'
    cfg = load_config(ROOT / name, {'train_cfg.max_iters': 70})
    shrink(cfg, data_root, tmp_path)
    runner = Runner.from_cfg(cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    *_, decay = runner.build_param_scheduler(cfg.param_scheduler)
    assert (decay.end, decay.T_max) == (70, 70)


def load_row(name, base=None):
    config, options = ROWS[name]
    cfg = load_config(base or ROOT / config)
    override(cfg, options)
    return cfg


def changes(base, row):
    """Dotted keys of what a Runner reads and differs; names that configs are made with do not."""
    return set(differences(*({key: cfg.get(key, '') for key in READ} for cfg in (base, row))))


def differences(one, other, key=''):
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        one, other = by_name(one, other), by_name(other, one)
    if isinstance(one, dict) and isinstance(other, dict):
        order = [name for name in one if name in other]
        if 'pipeline' in key and order != [name for name in other if name in one]:
            yield f'{key}.order'.lstrip('.')
        for name in {*one, *other} - {'_scope_'}:
            yield from differences(one.get(name, ''), other.get(name, ''), f'{key}.{name}')
    elif one != other:
        yield key.lstrip('.')


def by_name(entries, others):
    """Entries of a list by their types; without types by their places, if there are as many."""
    names = [entry.get('type') if isinstance(entry, dict) else None for entry in entries]
    if None not in names and len(set(names)) == len(names):
        return dict(zip(names, entries, strict=True))
    if len(entries) == len(others):
        return {str(place): entry for place, entry in enumerate(entries)}
    return list(entries)


PIPELINE = 'train_dataloader.dataset.pipeline.'
MIN_AGREEMENT = PIPELINE + 'mmboxcaseg.DropProxyMasks.min_agreement'
#: What a row differs in from its base; the first pattern that its name fits counts.
ABLATIONS = {
    '3:*': {'train_dataloader.dataset.datasets.mmboxcaseg.SalientObjectDataset.ann_file'},
    '4:weak': {'model.salient_head', 'model.transferred_head'},
    '4:salient': {
        *('model.weak_head', 'model.transferred_head'),
        'train_dataloader.dataset.datasets.mmboxcaseg.BoxInstanceDataset',
    },
    '4:weak_transferred': {'model.salient_head'},
    '4:weak_salient': {'model.transferred_head'},
    '4:all': set(),
    '5:random': {
        *(f'train_dataloader.sampler.{key}' for key in ('type', 'shuffle', 'batch_size', 'ratio')),
        *(f'train_dataloader.sampler.{key}' for key in ('overlap_iou', 'overlap_skip')),
        'train_cfg.max_epochs',
    },
    '5:*': {f'train_dataloader.sampler.ratio.{place}' for place in (0, 1)},
    '6:0.0': {'model.salient_head'},
    '6:1.0': {'model.transferred_head'},
    '6:0.7': set(),
    '6:*': {'model.alpha'},
    '7:*_merge': {MIN_AGREEMENT},
    '7:*_plain': {MIN_AGREEMENT, PIPELINE + 'mmboxcaseg.MergeProxyMasks'},
    '8:0.95': set(),
    '8:*': {MIN_AGREEMENT},
    'fuse:logit': set(),
    'fuse:prob': {'model.fuse'},
    'prompted:no_prompt': {'model.prompt.own'},
    'prompted:no_neighbours': {'model.prompt.others'},
    'prompted:no_box_crop': {
        PIPELINE + 'mmboxcaseg.RandomBoxPatch',
        PIPELINE + 'mmboxcaseg.RandomSalientPatch',
    },
    'prompted:no_clutter': {PIPELINE + 'mmboxcaseg.PasteClutter'},
    'prompted:no_truncation': {PIPELINE + 'mmboxcaseg.RandomTruncate'},
    'prompted:no_downscale': {PIPELINE + 'mmboxcaseg.RandomDownscale'},
    'prompted:no_dice': {'model.loss_pixel.dice_weight'},
    'prompted:finer_scale': {
        *('model.backbone.out_stages', 'model.neck.num_outs', 'model.neck.out_channels'),
        *('model.neck.in_channels', 'model.salient_head.in_channels'),
    },
}
#: What a row changes beside, where the base is mini's: its batches have a ratio, which goes too.
BESIDE = {
    '4:salient': {
        f'train_dataloader.sampler.{key}' for key in ('type', 'shuffle', 'batch_size', 'ratio')
    }
}
#: What a Runner and the tools read of a config.
READ = {*signature(Runner).parameters, 'auto_scale_lr', 'tta_model', 'tta_pipeline'}
MINI = dict(boxcaseg='ablations/mini/boxcaseg.py', proxy_mask_rcnn='ablations/mini/mask_rcnn.py')


@pytest.mark.parametrize('name', ROWS)
def test_rows_change_one_thing(name):
    expected = next(keys for pattern, keys in ABLATIONS.items() if fnmatch(name, pattern))
    config, options = ROWS[name]
    row = load_row(name)
    assert changes(load(config), row) == expected
    table, key = name.split(':', 1)
    if ABLATE['TABLES'][table].get('other_sets'):
        base = MINI[config.split('/')[0]]
        changed = changes(load(base), load_row(name, ROOT / base))
        assert changed == expected | BESIDE.get(name, set())
    # The value is the one that the row's name gives.
    if table == '3':
        _, salient = row.train_dataloader.dataset.datasets
        assert salient.ann_file == f'salient_{key}.txt'
    if table == '5' and key != 'random':
        assert row.train_dataloader.sampler.ratio == [int(part) for part in key.split(':')]
    if table == '6' and key not in ('0.0', '1.0'):
        assert row.model.alpha == float(key)
    if table == '8':
        pipeline = {t['type']: t for t in row.train_dataloader.dataset.pipeline}
        assert pipeline['mmboxcaseg.DropProxyMasks'].min_agreement == float(key)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        (
            'prompted-boxcaseg_effnet-lite0_1xb16-4e_coco-mini-no-margin.py',
            {
                PIPELINE + 'mmboxcaseg.RandomBoxPatch.shift',
                *(f'{PIPELINE}mmboxcaseg.RandomBoxPatch.scale.{place}' for place in (0, 1)),
                'val_dataloader.dataset.pipeline.mmboxcaseg.BoxPatch.margin',
                'test_dataloader.dataset.pipeline.mmboxcaseg.BoxPatch.margin',
                'tta_pipeline.TestTimeAug.transforms.0',
            },
        ),
        (
            'prompted-boxcaseg_effnet-lite2_1xb16-7e_coco-mini-no-boxes.py',
            {
                *(f'train_dataloader.sampler.{k}' for k in ('type', 'shuffle', 'batch_size')),
                'train_dataloader.sampler.ratio',
                *(f'train_dataloader.dataset.{k}' for k in ('type', 'datasets', 'ignore_keys')),
                *(f'train_dataloader.dataset.{k}' for k in ('data_root', 'hold_out', 'pipeline')),
                'train_cfg.max_epochs',
            },
        ),
    ],
)
def test_configs_of_ablations_change_one_thing(name, expected):
    path = ROOT / 'ablations' / name
    base = re.search(r"_base_ = '(.*)'", path.read_text())[1]
    assert changes(Config.fromfile(path.parent / base), Config.fromfile(path)) == expected


def test_boxes_of_a_test_are_moved_alone():
    """The configs of prompted/boxes see other boxes, and all else as the network was trained."""
    base = 'prompted/prompted-boxcaseg_effnet-lite2-fine_1xb16-1e_coco-mini-proxies.py'
    for path in (ROOT / 'prompted' / 'boxes').glob('*coco-mini*.py'):
        found = changes(load(base), Config.fromfile(path))
        assert found <= {
            'model.test_cfg.slack',
            'tta_pipeline.mmboxcaseg.MoveBox',
            *(
                f'{loader}_dataloader.dataset.pipeline.mmboxcaseg.MoveBox'
                for loader in ('val', 'test')
            ),
        }, found
        assert {'model.test_cfg.slack', 'tta_pipeline.mmboxcaseg.MoveBox'} < found
        # Before what crops the box.
        cfg = Config.fromfile(path)
        for pipeline in (cfg.test_dataloader.dataset.pipeline, cfg.tta_pipeline):
            assert pipeline[1].type == 'mmboxcaseg.MoveBox'


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
    (poly,) = cfg.param_scheduler
    assert (poly.type, poly.power) == ('PolyLR', 0.9)
    heads = (model.weak_head, model.salient_head, model.transferred_head)
    assert [part.norm_cfg.momentum for part in (model.backbone, *heads)] == 4 * [0.01]
    # ImageNet's red, green and blue; images are read as blue, green and red.
    scales = model.data_preprocessor
    assert scales.mean == pytest.approx([255 * share for share in (0.485, 0.456, 0.406)])
    assert scales.std == pytest.approx([255 * share for share in (0.229, 0.224, 0.225)])
    assert scales.bgr_to_rgb
    assert cfg.train_dataloader.batch_size == 16
    box = pipeline_of(cfg, 0)['mmboxcaseg.RandomBoxPatch']
    assert (box.size, box['shift'], tuple(box.scale)) == (288, 0.25, (0.5, 1.5))
    salient = pipeline_of(cfg, 1)['mmboxcaseg.RandomSalientPatch']
    assert (salient.resize, salient.size) == (320, 288)
    test = {t['type']: t for t in cfg.test_dataloader.dataset.pipeline}
    assert test['mmboxcaseg.BoxPatch'].size == 320


def test_masks_of_the_prompted_network_go_by_quality():
    base, row = (load(f'proxy_mask_rcnn/r101_fpn_coco-mini{x}.py') for x in ('', '_prompted'))
    assert changes(base, row) == {
        'train_dataloader.dataset.ann_file',
        *(MIN_AGREEMENT, MIN_AGREEMENT.replace('agreement', 'quality')),
    }


@pytest.mark.parametrize('source', ['filled-box', 'grabcut'])
def test_mask_sources_change_the_proxy_file_alone(source):
    row = load(f'baselines/{source}_mask_rcnn_r101_fpn_voc.py')
    proxy = load('proxy_mask_rcnn/r101_fpn_voc.py')
    assert changes(proxy, row) == {'train_dataloader.dataset.ann_file'}


@pytest.mark.parametrize('data', ['voc', 'coco'])
def test_bbtp_changes_the_mask_loss_alone(data):
    names = (f'baselines/{method}_r101_fpn_{data}.py' for method in ('mask_rcnn', 'bbtp'))
    changed = changes(*map(load, names))
    head = 'model.roi_head.mask_head'
    loss = {f'{head}.loss_mask.{key}' for key in ('type', 'use_mask', 'loss_weight')}
    loss |= {f'{head}.loss_mask.{key}' for key in ('smooth_weight', 'border')}
    masks = PIPELINE + 'LoadAnnotations.with_mask'
    assert changed == {f'{head}.type', *loss, masks}


DATASETS = 'train_dataloader.dataset.datasets.'
#: What the configs of the release change, of both data sets and of COCO alone.
RELEASED = {
    *(f'model.data_preprocessor.{name}.{place}' for name in ('mean', 'std') for place in range(3)),
    *(f'model.{name}_head.init_cfg' for name in ('weak', 'salient', 'transferred')),
    'model.loss_mil.border',
    DATASETS + 'mmboxcaseg.BoxInstanceDataset.pipeline.mmboxcaseg.RandomBoxPatch.shift_unit',
    DATASETS + 'mmboxcaseg.BoxInstanceDataset.pipeline.RandomFlip',
    *(DATASETS + name for name in ('mmboxcaseg.SalientObjectDataset', 'mmengine.ConcatDataset')),
}
RELEASED_COCO = {
    *(f'train_dataloader.sampler.ratio.{place}' for place in (0, 1)),
    'param_scheduler.PolyLR.end',
}


@pytest.mark.parametrize(('data', 'more'), [('voc', set()), ('coco', RELEASED_COCO)])
def test_settings_of_the_release(data, more):
    ours, released = (load(f'boxcaseg/hrnet_w48_{data}{name}.py') for name in ('', '_released'))
    assert changes(ours, released) == RELEASED | more
    model = released.model
    assert model.data_preprocessor.mean == [102.9801, 115.9465, 122.7717]
    assert model.data_preprocessor.std == [255, 255, 255] and model.data_preprocessor.bgr_to_rgb
    assert model.loss_mil.border == 'zero'
    box = pipeline_of(released, 0)
    assert box['mmboxcaseg.RandomBoxPatch'].shift_unit == 'half' and 'RandomFlip' not in box
    # Every salient image as it is and mirrored, and each of them flipped top to bottom or not.
    flips = [
        [(t.prob, t.get('direction')) for t in source.pipeline if t.type == 'RandomFlip']
        for source in released.train_dataloader.dataset.datasets[1].datasets
    ]
    assert flips == [[(0.5, 'vertical')], [(1.0, None), (0.5, 'vertical')]]


def test_salient_images_of_the_release_are_doubled(data_root, tmp_path):
    cfg = load('boxcaseg/hrnet_w48_voc_released.py')
    shrink(cfg, data_root, tmp_path)
    _, salient = cfg.train_dataloader.dataset.datasets
    for source in salient.datasets:
        kept = ('mmboxcaseg.LoadPatchImage', 'RandomFlip')
        source.pipeline = [t for t in source.pipeline if t.type in kept]
        source.pipeline = [t for t in source.pipeline if t.get('direction') != 'vertical']
    salient = DATASETS_REGISTRY.build(salient)
    assert len(salient) == 12 and salient.metainfo['supervision'] == 'mask'
    for index in range(6):
        assert (salient[index]['img'] == salient[6 + index]['img'][:, ::-1]).all()


def test_heads_of_the_release_begin_with_its_weights():
    cfg = load('boxcaseg/hrnet_w48_coco_released.py').model
    for name in ('weak_head', 'salient_head'):
        head = MODELS.build(cfg[name] | dict(in_channels=200, norm_cfg=dict(type='BN')))
        before = [head.conv1.bias.clone(), head.conv2.bias.clone()]
        head.init_weights()
        assert head.conv1.weight.std().item() == pytest.approx(0.001, rel=0.05)
        assert head.conv2.weight.std().item() == pytest.approx(0.001, rel=0.3)
        assert torch.equal(head.conv1.bias, before[0]) and torch.equal(head.conv2.bias, before[1])
        assert head.norm.weight.unique() == 1
    head = MODELS.build(cfg.transferred_head | dict(in_channels=60, norm_cfg=dict(type='BN')))
    head.init_weights()
    for transfer in (head.transfer1, head.transfer2):
        for layer in (transfer.fc1, transfer.fc2):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
            assert layer.bias.std().item() == pytest.approx(0.01, rel=0.4)
        assert (transfer.k.item(), transfer.b.item()) == (1, 0)


def test_rate_of_the_release_on_coco():
    cfg = load('boxcaseg/hrnet_w48_coco_released.py')
    (poly,) = cfg.param_scheduler
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], cfg.optim_wrapper.optimizer.lr)
    poly.update(optimizer=optimizer, epoch_length=2)
    scheduler = PARAM_SCHEDULERS.build(poly)
    for _ in range(2 * cfg.train_cfg.max_epochs):
        optimizer.step()
        scheduler.step()
    (rate,) = scheduler.get_last_value()
    assert rate == pytest.approx(8e-3 * (1 - 65 / 200) ** 0.9, rel=2e-3)
    assert rate == pytest.approx(0.0056, abs=5e-5)


@pytest.mark.parametrize('backbone', ['r50', 'r101'])
def test_mask_rcnn_of_the_paper(backbone):
    """The defaults of maskrcnn-benchmark, which the paper takes for VOC."""
    cfg = load(f'proxy_mask_rcnn/{backbone}_fpn_voc.py')
    weights = cfg.model.backbone.init_cfg.checkpoint
    assert weights == f'open-mmlab://detectron2/resnet{backbone[1:]}_caffe'
    assert cfg.model.backbone.style == 'caffe' and cfg.model.data_preprocessor.std == [1, 1, 1]
    assert not cfg.model.data_preprocessor.bgr_to_rgb
    assert cfg.param_scheduler[0].start_factor == pytest.approx(1 / 3)
    layer = torch.nn.Linear(1, 1)
    optimizer = build_optim_wrapper(layer, cfg.optim_wrapper).optimizer
    groups = optimizer.param_groups
    groups = {group['params'][0].ndim: (group['lr'], group['weight_decay']) for group in groups}
    assert groups == {2: (0.0075, 1e-4), 1: (0.015, 0)}


@pytest.mark.parametrize('data', ['voc', 'coco'])
def test_masks_are_dropped_by_the_agreement_of_the_release(data):
    pipeline = load(f'proxy_mask_rcnn/r101_fpn_{data}.py').train_dataloader.dataset.pipeline
    (drop,) = (t for t in pipeline if t.type == 'mmboxcaseg.DropProxyMasks')
    assert drop.min_agreement == 0.95 and drop.inclusive_boxes


def test_sdi_changes_the_masks_alone():
    """A round learns from other masks, and from pixels that are not ignored."""
    proxy, first, second = (
        load(name)
        for name in (
            'proxy_mask_rcnn/r101_fpn_voc.py',
            'baselines/sdi_mask_rcnn_r101_fpn_voc.py',
            'baselines/sdi-round2_mask_rcnn_r101_fpn_voc.py',
        )
    )
    file = 'train_dataloader.dataset.ann_file'
    kinds = {PIPELINE + f'mmboxcaseg.{kind}ProxyMasks' for kind in ('Merge', 'Drop', 'Denoise')}
    assert changes(proxy, first) == {file, *kinds}
    assert changes(first, second) == {file, PIPELINE + 'mmboxcaseg.DenoiseProxyMasks.ignore'}
    (denoise,) = (t for t in first.train_dataloader.dataset.pipeline if 'Denoise' in t.type)
    assert denoise.ignore and denoise.min_iou == 0.5


def test_bbam_changes_the_masks_alone():
    """The detector has no mask head, the Mask R-CNN other masks."""
    supervised, detector, proxy, row = (
        load(name)
        for name in (
            'baselines/mask_rcnn_r101_fpn_voc.py',
            'baselines/faster_rcnn_r101_fpn_voc.py',
            'proxy_mask_rcnn/r101_fpn_voc.py',
            'baselines/bbam_mask_rcnn_r101_fpn_voc.py',
        )
    )
    found = {key for key in changes(supervised, detector) if 'evaluator' not in key}
    assert found == {
        'model.type',
        *(f'model.roi_head.mask_{part}' for part in ('roi_extractor', 'head')),
        *(
            f'{kind}_dataloader.dataset.pipeline.LoadAnnotations.with_mask'
            for kind in ('train', 'val', 'test')
        ),
    }
    kinds = {PIPELINE + f'mmboxcaseg.{kind}ProxyMasks' for kind in ('Merge', 'Drop', 'Denoise')}
    assert changes(proxy, row) == {'train_dataloader.dataset.ann_file', *kinds}
    (denoise,) = (t for t in row.train_dataloader.dataset.pipeline if 'Denoise' in t.type)
    assert denoise == dict(type='mmboxcaseg.DenoiseProxyMasks', min_iou=0.2)


@pytest.mark.parametrize('backbone', ['r50', 'r101'])
def test_salient_images_are_added_to_bbtp(backbone):
    bbtp = load(f'baselines/bbtp_{backbone}_fpn_voc.py')
    both = load(f'baselines/bbtp-salient_{backbone}_fpn_voc.py')
    found = {key for key in changes(bbtp, both) if not key.startswith('train_dataloader')}
    assert found == {
        *('model.type', 'model.data_preprocessor.pad_mask'),
        'model.roi_head.mask_head.class_agnostic',
        *('train_cfg.max_iters', 'train_cfg.val_interval'),
        *('param_scheduler.MultiStepLR.milestones.0', 'default_hooks.checkpoint.interval'),
    }
    loader = both.train_dataloader
    boxes, salient = loader.dataset.datasets
    assert boxes == bbtp.train_dataloader.dataset
    # Box images are seen as often: two of three, half as many iterations again.
    assert loader.sampler.source_ratio == [2, 1] and loader.sampler.batch_size == 3
    assert 2 * both.train_cfg.max_iters == 3 * bbtp.train_cfg.max_iters
    assert salient.type == 'mmboxcaseg.SalientObjectDataset'


@pytest.mark.parametrize('name', ['r50_fpn_voc', 'r101_fpn_voc', 'effnet-lite0_coco-mini'])
def test_shapeprop_changes_the_heads_of_masks_alone(name):
    bbtp, shapeprop = (load(f'baselines/{row}_{name}.py') for row in ('bbtp-salient', 'shapeprop'))
    head = 'model.roi_head.mask_head.'
    found = {key for key in changes(bbtp, shapeprop) if not key.startswith(head)}
    assert found == {'model.roi_head.type'}
    settings = ('class_agnostic', 'num_classes', 'in_channels', 'conv_out_channels')
    for key in settings:
        of_head = shapeprop.model.roi_head.mask_head.get(key, 256)
        assert of_head == bbtp.model.roi_head.mask_head[key]


@pytest.mark.parametrize(
    ('name', 'stock', 'head'),
    [
        ('rtmdet-ins_s_coco', 'rtmdet/rtmdet-ins_s_8xb32-300e_coco', 'bbox_head'),
        ('mask2former_r50_coco', 'mask2former/mask2former_r50_8xb2-lsj-50e_coco', 'panoptic_head'),
    ],
)
def test_segmenters_are_those_of_mmdet_on_other_masks(name, stock, head):
    ours = load(f'proxy_segmenters/{name}.py')
    stock = Config.fromfile(config_path(f'mmdet::{stock}.py'))
    dataset = 'train_dataloader.dataset.'
    masks = {PIPELINE + f'mmboxcaseg.{kind}ProxyMasks' for kind in ('Merge', 'Drop')}
    expected = {f'model.{head}.type', PIPELINE + 'LoadImageFromFile.backend_args', *masks}
    expected |= {dataset + key for key in ('type', 'ann_file', 'data_root', 'data_prefix.img')}
    # Where a setting stands within its transform is one thing, where a transform stands another.
    found = {key for key in changes(stock, ours) if not key.endswith('.order')}
    assert PIPELINE + 'order' not in changes(stock, ours)
    # The pipeline of RTMDet's last epochs. Its masks were polygons, and RLEs are not.
    hooks = {key for key in found if key.startswith('custom_hooks')}
    assert found - hooks - {PIPELINE + 'LoadAnnotations.poly2mask'} == expected
    for transforms in [ours.train_dataloader.dataset.pipeline] + [
        hook.switch_pipeline for hook in ours.get('custom_hooks', []) if 'switch_pipeline' in hook
    ]:
        types = [transform.type for transform in transforms]
        assert types[:4] == [
            *('LoadImageFromFile', 'LoadAnnotations'),
            *('mmboxcaseg.MergeProxyMasks', 'mmboxcaseg.DropProxyMasks'),
        ]
        drop = transforms[3]
        assert (drop.min_agreement, drop.min_quality) == (0, 0.75)


@pytest.mark.parametrize('name', ['mask2former_r50_coco', 'mask2former_effnet-lite0_coco-mini'])
def test_mask2former_is_not_asked_for_more_than_its_queries_give(name):
    model = load(f'proxy_segmenters/{name}.py').model
    head = model.panoptic_head
    assert model.test_cfg.max_per_image <= head.num_queries * head.num_things_classes


def test_sampling_of_the_paper():
    voc = load('boxcaseg/hrnet_w48_voc.py')
    assert voc.train_dataloader.sampler == dict(type='DefaultSampler', shuffle=True)
    assert voc.train_cfg.max_epochs == 40
    coco = load('boxcaseg/hrnet_w48_coco.py')
    assert tuple(coco.train_dataloader.sampler.ratio) == (9, 7)
    sampler = coco.train_dataloader.sampler
    assert (sampler.overlap_iou, sampler.overlap_skip) == (0.5, 0.75)
    assert coco.train_cfg.max_epochs == 65


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
    for node in (*dicts(supervised._cfg_dict), *dicts(proxy._cfg_dict)):
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
