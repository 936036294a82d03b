import argparse
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from mmengine.config import Config

from mmboxcaseg import config_path
from mmboxcaseg.datasets.toy import TOY_CLASSES
from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import MODELS

TOOL = Path(__file__).parents[2] / 'tools' / 'demo_full.py'
CONFIGS = ('boxcaseg_toy', 'proxy_mask_rcnn_toy', 'mask_rcnn_toy_supervised')


def load(name):
    return Config.fromfile(config_path(f'demo/{name}.py'))


@pytest.fixture(scope='module')
def demo():
    return runpy.run_path(str(TOOL))


@pytest.mark.parametrize('name', CONFIGS)
def test_configs_build(name):
    model = MODELS.build(load(name).model)
    assert sum(parameter.numel() for parameter in model.parameters()) < 5e6


def test_configs_know_the_toy_classes():
    assert load('mask_rcnn_toy_supervised').classes == TOY_CLASSES


def test_configs_read_the_set_that_the_demo_makes(demo, tmp_path):
    args = argparse.Namespace(work_dir=tmp_path, seed=3, cfg_options=['train_cfg.max_epochs=2'])
    made = demo['trainings'](args, Path('/elsewhere'))
    assert [training.checkpoint.name for training in made] == ['epoch_2.pth'] * 3
    boxcaseg, *detectors = (Config.fromfile(tmp_path / f'{name}.py') for name in CONFIGS)
    assert boxcaseg.randomness.seed == 3
    roots = [dataset.data_root for dataset in boxcaseg.train_dataloader.dataset.datasets]
    assert roots == ['/elsewhere', '/elsewhere/salient']
    assert boxcaseg.val_dataloader.dataset.data_root == '/elsewhere'
    for config in detectors:
        assert config.train_dataloader.dataset.data_root == '/elsewhere/'
        assert config.val_evaluator.ann_file == '/elsewhere/annotations/instances_val.json'


def test_twins_differ_only_in_their_masks():
    proxy, supervised = (load(name).to_dict() for name in CONFIGS[1:])
    for config in (proxy, supervised):
        # mmengine keeps the top-level names that the configs are built with.
        for name in ('train_pipeline', 'min_agreement', 'drop_masks'):
            config.pop(name, None)
    assert proxy['model']['roi_head']['mask_head'].pop('type') == 'mmboxcaseg.ProxyMaskHead'
    assert supervised['model']['roi_head']['mask_head'].pop('type') == 'FCNMaskHead'
    datasets = [config['train_dataloader']['dataset'] for config in (proxy, supervised)]
    proxy_file, true_file = (dataset.pop('ann_file') for dataset in datasets)
    assert (proxy_file, true_file) == (
        'annotations/proxy_train.json',
        'annotations/instances_train.json',
    )
    assert datasets[0].pop('type') == 'mmboxcaseg.ProxyCocoDataset'
    assert datasets[1].pop('type') == 'CocoDataset'
    own = [t for t in datasets[0]['pipeline'] if t['type'].startswith('mmboxcaseg.')]
    assert [t['type'] for t in own] == ['mmboxcaseg.MergeProxyMasks', 'mmboxcaseg.DropProxyMasks']
    datasets[0]['pipeline'] = [t for t in datasets[0]['pipeline'] if t not in own]
    assert proxy == supervised


def test_only_an_earlier_demo_is_replaced(demo, tmp_path):
    (tmp_path / 'thesis.txt').write_text('')
    (tmp_path / 'logs').mkdir()
    with pytest.raises(InputError, match=str(tmp_path)):
        demo['make_room'](tmp_path)
    assert (tmp_path / 'thesis.txt').exists()
    earlier = tmp_path / 'earlier'
    demo['make_room'](earlier)
    (earlier / 'results.md').write_text('')
    demo['make_room'](earlier)
    assert [path.name for path in earlier.iterdir()] == ['logs']


@pytest.mark.slow
def test_whole_demo(tmp_path):
    """At a size that learns nothing, so that it must say so."""
    options = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
    result = subprocess.run(
        [
            *(sys.executable, str(TOOL), '--work-dir', str(tmp_path), '--num-images', '16'),
            *('--cfg-options', *options, 'default_hooks.checkpoint.interval=1'),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert 'FAILED: proxy masks beat filled boxes by' in result.stderr
    report = (tmp_path / 'results.md').read_text()
    assert report in result.stdout
    assert all(f'| {masks} | - | 100% |' in report for masks in ('filled box', 'raw', 'merged'))
    assert all(f'| {masks} | ' in report for masks in ('boxes and proxy masks', 'true masks'))
    assert cv2.imread(str(tmp_path / 'pictures.jpg')).shape[1] > 3 * 256
    assert cv2.imread(str(tmp_path / 'curves.png')) is not None
