import json
import shlex
from pathlib import Path

import pytest
import torch

from mmboxcaseg import config_path
from mmboxcaseg.engine.checkpoint import load_checkpoint_file

TOOL = Path(__file__).parents[2] / 'tools' / 'self_train.py'

FIRST = """
_base_ = ['{configs}/prompted/effnet-lite0_coco-mini.py']
data = '{data}'
patch_size = 32
model = dict(
    prompt=dict(others=False),
    backbone=dict(
        _delete_=True, type='ResNet', depth=18, base_channels=8, norm_eval=False
    ),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=4),
    salient_head=dict(in_channels=16),
)
salient_dataset = dict(
    _delete_=True,
    type='mmboxcaseg.SalientObjectDataset',
    data_root=data + '/salient',
    serialize_data=False,
)
box_dataset = dict(
    type='mmboxcaseg.BoxInstanceDataset',
    data_root=data + '/coco',
    ann_file='annotations/instances.json',
    data_prefix=dict(img='train'),
    serialize_data=False,
)
load, pack = dict(type='mmboxcaseg.LoadPatchImage'), dict(type='mmboxcaseg.PackPatchInputs')
pipeline = [load, dict(_base_.crop, size=patch_size), pack]
test_pipeline = [load, dict(type='mmboxcaseg.BoxPatch', size=patch_size, margin=0.15), pack]
tta_pipeline = [
    load,
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='mmboxcaseg.BoxPatch', size=patch_size, margin=0.2)],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [pack],
        ],
    ),
]
train_dataloader = dict(
    batch_size=4, dataset=dict(salient_dataset, pipeline=pipeline)
)
val_dataloader = dict(
    num_workers=0,
    dataset=dict(
        box_dataset, _delete_=True, with_segmentation=True, test_mode=True, pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
"""
NEXT = """
_base_ = ['./first.py']
load_from = 'work_dirs/first/epoch_1.pth'
train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmboxcaseg.RatioSampler', batch_size=4, ratio=(1, 1)),
    dataset=dict(
        _delete_=True,
        type='mmengine.ConcatDataset',
        ignore_keys=['supervision', 'classes'],
        datasets=[
            dict(
                _base_.box_dataset,
                proxy_file='work_dirs/first/proxy.json',
                min_quality=0.0,
                pipeline=_base_.pipeline,
            ),
            dict(_base_.salient_dataset, pipeline=_base_.pipeline),
        ],
    ),
)
"""


@pytest.fixture
def configs(data_root, tmp_path):
    names = dict(configs=Path(config_path('ablations/tables.json')).parents[1], data=data_root)
    (tmp_path / 'first.py').write_text(FIRST.format(**names))
    (tmp_path / 'next.py').write_text(NEXT)
    return tmp_path / 'first.py', tmp_path / 'next.py'


@pytest.fixture
def self_train(run, monkeypatch, tmp_path):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.chdir(tmp_path)
    return run


def test_rounds_teach_each_other(self_train, configs, tmp_path):
    code, out, err = self_train(*configs, '--seed', 3, '--work-dir', 'out')
    assert code == 0, err
    proxies = json.loads(Path('out/round1/proxy.json').read_text())['annotations']
    assert all(0 <= proxy['quality'] <= 1 for proxy in proxies)
    assert "proxy_file='out/round1/proxy.json'" in Path('out/round2.py').read_text()
    # The network of the first round is trained on.
    assert "load_from = 'out/round1/epoch_1.pth'" in Path('out/round2.py').read_text()
    log = min(Path('out/round2').glob('*/*.log'))
    assert 'Load checkpoint from out/round1/epoch_1.pth' in log.read_text()
    assert 'seed=3' in Path('out/round2.py').read_text()
    assert 'fused/mIoU' in json.loads(Path('out/round2/metrics.json').read_text())
    first = load_checkpoint_file('out/round1/epoch_1.pth')['state_dict']
    second = load_checkpoint_file('out/round2/epoch_1.pth')['state_dict']
    assert first['backbone.conv1.weight'].shape[1] == 4
    assert not torch.equal(first['backbone.conv1.weight'], second['backbone.conv1.weight'])

    first, second, final = (
        [a['quality'] for a in json.loads(Path('out', name).read_text())['annotations']]
        for name in ('round1/proxy.json', 'round2/proxy.json', 'proxy.json')
    )
    expected = [(a * b) ** 0.5 for a, b in zip(first, second, strict=True)]
    assert final == pytest.approx(expected)

    # What is done stays; what is lost is made again, and nothing else.
    before = Path('out/round2/epoch_1.pth').stat().st_mtime_ns
    Path('out/round2/metrics.json').unlink()
    code, out, err = self_train(*configs, '--seed', 3, '--work-dir', 'out')
    assert code == 0, err
    assert out.count('== ') == 1
    assert Path('out/round2/metrics.json').is_file()
    assert Path('out/round2/epoch_1.pth').stat().st_mtime_ns == before


@pytest.mark.slow
def test_true_masks_of_the_boxes_change_nothing(self_train, configs, data_root):
    source = data_root / 'coco' / 'annotations' / 'instances.json'
    coco = json.loads(source.read_text())
    for annotation in coco['annotations']:
        del annotation['segmentation']
    Path('boxes.json').write_text(json.dumps(coco))
    text = configs[0].read_text()
    # The masks that a test scores with stay.
    text = text.replace('with_segmentation=True', f"with_segmentation=True, ann_file='{source}'")
    weights = []
    for ann_file in (source, Path('boxes.json').resolve()):
        configs[0].write_text(text.replace("'annotations/instances.json'", f"'{ann_file}'"))
        code, _, err = self_train(*configs, '--work-dir', ann_file.stem)
        assert code == 0, err
        checkpoint = load_checkpoint_file(f'{ann_file.stem}/round2/epoch_1.pth')
        weights.append(checkpoint['state_dict'])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_dry_run_names_every_step(self_train, configs):
    code, out, _ = self_train(*configs, configs[1], '--amp', '--dry-run')
    assert code == 0
    tools = [Path(shlex.split(line)[1]).name for line in out.splitlines() if '/tools/' in line]
    rounds = ['train.py', 'generate_proxy_masks.py'] * 2
    last = ['train.py', 'test.py', 'generate_proxy_masks.py', 'combine_quality.py']
    assert tools == [*rounds, *last]
    *networks, combine = [line for line in out.splitlines() if '/tools/' in line]
    assert all('--amp' in line for line in networks)
    folder = 'work_dirs/self_train'
    files = [f'{folder}/round{number}/proxy.json' for number in (1, 2, 3)]
    assert shlex.split(combine)[2:] == [*files, '--out', f'{folder}/proxy.json']
    assert not Path('work_dirs').exists()


@pytest.mark.parametrize(
    ('order', 'reason'),
    [
        ((0, 0), 'first.py is no later round: none of its training sets has a proxy_file'),
        ((1, 1), 'next.py needs proxy masks: give the config of the round before it'),
    ],
)
def test_wrong_order_is_refused(self_train, configs, order, reason):
    code, _, err = self_train(*(configs[i] for i in order))
    assert code == 2
    assert reason in err
    assert not Path('work_dirs').exists()


def test_another_network_is_not_trained_on(self_train, configs):
    with configs[1].open('a') as file:
        file.write('model = dict(backbone=dict(depth=34))\n')
    code, _, err = self_train(*configs)
    assert code == 2
    assert 'next.py trains the network of the round before it on, but has another model' in err


def test_config_without_views_is_refused(self_train, configs):
    configs[0].write_text(configs[0].read_text() + '\ntta_pipeline = None\n')
    code, _, err = self_train(*configs)
    assert code == 2
    assert 'first.py has no tta_pipeline' in err


def test_another_config_in_its_place_is_refused(self_train, configs):
    Path('out').mkdir()
    Path('out/round2.py').write_text('model = None\n')
    code, _, err = self_train(*configs, '--work-dir', 'out')
    assert code == 2
    assert 'out/round2 holds a training with another config' in err
    assert not Path('out/round1').exists()
