import inspect
import re

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmboxcaseg.engine.config import (
    box_pipeline,
    build_runner,
    class_name,
    config_errors,
    dicts,
    innermost,
    load_config,
    override,
    parse_options,
    set_work_dir,
)
from mmboxcaseg.errors import InputError


def test_options():
    assert parse_options(['a.b=1', 'c=[1,x]', 'd=e=f']) == {'a.b': 1, 'c': [1, 'x'], 'd': 'e=f'}


@pytest.mark.parametrize('bad', ['abc', 'a=[(1,2]'])
def test_option_that_is_none(bad):
    with pytest.raises(InputError, match='--cfg-options takes KEY=VALUE') as error:
        parse_options(['a=1', bad])
    assert str(error.value).endswith(f'not {bad!r}')


def lists():
    flip, crop = dict(type='RandomFlip', prob=0.5), dict(type='mmboxcaseg.BoxPatch', size=320)
    return Config(dict(pipeline=[crop, flip, dict(type='Pack')], views=[[flip], [crop]], lr=1.0))


def test_options_by_the_types_of_entries():
    config = lists()
    override(config, {'pipeline.BoxPatch.size': 64, 'pipeline.1.prob': 0.0, 'new.key': None})
    assert [t.get('size', t.get('prob')) for t in config.pipeline] == [64, 0.0, None]
    assert config.views == lists().views and config.new.key is None
    value = dict(type='Other')
    override(config, {'pipeline.RandomFlip': value, 'pipeline.BoxPatch': None, 'views.0': None})
    assert config.pipeline == [dict(type='Other'), dict(type='Pack')]
    assert config.views == lists().views[1:]
    options = {'pipeline.Other.prob': 1.0, 'new': dict(_delete_=True, other=1)}
    override(config, options)
    assert config.new == dict(other=1)
    # What was given stays as it was, for the next config.
    assert value == dict(type='Other') and options['new'] == dict(_delete_=True, other=1)


@pytest.mark.parametrize(
    ('key', 'reason'),
    [
        ('pipeline.Resize.size', 'Resize must name one of BoxPatch, RandomFlip, Pack'),
        ('pipeline.3', '3 must name one of BoxPatch, RandomFlip, Pack'),
        ('pipeline.mmboxcaseg.BoxPatch.size', 'mmboxcaseg must name one of BoxPatch'),
        ('views.0.BoxPatch.size', 'BoxPatch must name one of RandomFlip'),
        ('lr.x', 'lr={'),
    ],
)
def test_option_that_fits_nothing(key, reason):
    with pytest.raises(InputError, match=f'{key}=1 does not fit in .*{reason}'):
        override(lists(), {key: 1})
    twice = Config(dict(pipeline=[dict(type='a.Flip'), dict(type='b.Flip')]))
    with pytest.raises(InputError, match='Flip must name one of Flip, Flip'):
        override(twice, {'pipeline.Flip.prob': 1})


@pytest.mark.parametrize(
    ('given', 'own', 'expected'),
    [('x', 'y', 'x'), (None, 'y', 'y'), (None, None, 'work_dirs/net')],
)
def test_work_dir(given, own, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = Config(dict(work_dir=own))
    set_work_dir(config, given, 'configs/net.py')
    assert config.work_dir == expected
    assert not list(tmp_path.iterdir())


def test_work_dir_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match=r'work dir \S+: \S+file is a file'):
        set_work_dir(Config(), str(tmp_path / 'file' / 'x' / 'y'), 'net.py')
    monkeypatch.setattr('os.access', lambda path, mode: False)  # root may write anywhere
    with pytest.raises(InputError, match=f'no permission in {tmp_path}'):
        set_work_dir(Config(), str(tmp_path / 'x'), 'net.py')


def _fails():
    raise TypeError('of ours')


def test_error_that_names_the_config():
    with pytest.raises(InputError, match='^the config cannot be built: KeyError: .*key'):
        with config_errors(Config()):
            raise KeyError('key')
    line = inspect.getsourcelines(_fails)[1] + 1
    with pytest.raises(InputError, match=rf'TypeError: of ours \({re.escape(__file__)}:{line}\)$'):
        with config_errors(Config()):
            _fails()
    with pytest.raises(InputError, match='^as it is$'):
        with config_errors(Config()):
            raise InputError('as it is')
    with pytest.raises(RuntimeError):
        with config_errors(Config()):
            raise RuntimeError


def pipeline(size):
    return [dict(type='mmboxcaseg.BoxPatch', size=size)]


def loader(size, *wrappers):
    dataset = dict(type='mmboxcaseg.BoxInstanceDataset', pipeline=pipeline(size))
    for wrapper in wrappers:
        dataset = dict(type=wrapper, dataset=dataset)
    return dict(dataset=dataset)


@pytest.mark.parametrize(
    ('settings', 'size'),
    [
        (dict(test_dataloader=loader(1), val_dataloader=loader(2), test_pipeline=pipeline(3)), 1),
        (dict(test_dataloader=loader(1, 'RepeatDataset', 'ClassBalancedDataset')), 1),
        (dict(test_dataloader=None, val_dataloader=loader(2), test_pipeline=pipeline(3)), 2),
        # Training on boxes alone, without any val or test.
        (dict(test_dataloader=None, val_dataloader=None, test_pipeline=pipeline(3)), 3),
    ],
)
def test_box_pipeline(settings, size):
    config = Config(dict(settings, train_dataloader=loader(9), tta_pipeline=pipeline(8)))
    assert [step['size'] for step in box_pipeline(config)] == [size]


@pytest.mark.parametrize(
    'settings',
    [
        dict(),
        dict(test_dataloader=None, val_dataloader=None),
        dict(test_dataloader=dict(batch_size=1)),
        dict(test_dataloader=dict(dataset=dict(type='mmboxcaseg.BoxInstanceDataset'))),
        dict(test_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[]))),
    ],
)
def test_box_pipeline_that_is_not_there(settings):
    # That of the training is another: to take it would change every mask in silence.
    config = Config(dict(settings, train_dataloader=loader(9)))
    with pytest.raises(InputError, match='^the config does not say how a box is cropped: give it'):
        box_pipeline(config)


def test_pipeline_of_the_augmentation():
    config = Config(dict(tta_model=dict(type='TTA'), tta_pipeline=pipeline(8)))
    assert box_pipeline(config, tta=True) == pipeline(8)
    for key in ('tta_model', 'tta_pipeline'):
        with pytest.raises(InputError, match=f'^--tta: the config has no {key}, give it one'):
            box_pipeline(Config({k: v for k, v in config.items() if k != key}), tta=True)


def test_innermost():
    dataset = loader(1, 'RepeatDataset', 'RepeatDataset')['dataset']
    assert innermost(dataset) is dataset['dataset']['dataset']


@pytest.mark.parametrize(
    ('option', 'reason'),
    [
        ({'optim_wraper.lr': 1}, 'optim_wraper.lr: optim_wraper is no setting of a run; optim_wra'),
        ({'zzz': 1}, 'zzz: zzz is no setting of a run$'),
        ({'patch_size': 96}, r'patch_size: setting patch_size has no effect, for \S+config.py has'),
        ({'max_epochs': 2}, r'max_epochs has no effect, for .* already: set train_cfg.max_epochs$'),
    ],
)
def test_options_without_effect(tmp_path, option, reason):
    path = tmp_path / 'config.py'
    path.write_text(
        'patch_size = 64\ntest_pipeline = [dict(type="BoxPatch", size=patch_size)]\n'
        'max_epochs = 9\ntrain_cfg = dict(max_epochs=max_epochs)\n'
    )
    with pytest.raises(InputError, match=reason):
        load_config(path, option)
    options = {'test_pipeline.BoxPatch.size': 96, 'train_cfg.max_epochs': 2, 'compile': True}
    assert load_config(path, options).test_pipeline[0].size == 96


def test_runner_without_val_and_test(
    tmp_path, quiet_runner, box_caseg_cfg, train_dataset_cfg, monkeypatch
):
    logged = []
    monkeypatch.setattr(Runner, '_log_env', lambda self, env_cfg: logged.append(self.cfg.kept))
    config = Config(
        dict(
            model=box_caseg_cfg(),
            work_dir=str(tmp_path),
            default_scope='mmdet',
            experiment_name=tmp_path.name,
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                persistent_workers=True,
                sampler=dict(type='mmboxcaseg.RatioSampler', batch_size=4, ratio=(1, 1)),
                dataset=train_dataset_cfg,
            ),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            val_dataloader=None,
            val_cfg=dict(),
            val_evaluator=dict(type='mmboxcaseg.BoxMaskIoUMetric'),
            test_cfg=dict(),
            test_evaluator=dict(type='mmboxcaseg.BoxMaskIoUMetric'),
            kept=[[*range(1800)], [dict(type='Resize')] * 30],
        )
    )
    runner = build_runner(config, 'train')
    assert runner.val_loop is None
    runner.train()
    assert (tmp_path / 'epoch_1.pth').is_file()
    # Long lists would fill the screen; pipelines are no such.
    assert logged == [[[*range(20), 'and 1780 more'], [dict(type='Resize')] * 30]]
    assert runner.cfg.kept == [[*range(1800)], [dict(type='Resize')] * 30]


def test_a_config_of_the_package_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('boxcaseg/hrnet_w48_voc.py', 'configs/boxcaseg/hrnet_w48_voc.py'):
        assert load_config(name).model.type == 'mmboxcaseg.BoxCaseg'
    with pytest.raises(
        InputError, match=r'^there is no config file a/b.py, and mmboxcaseg has no c'
    ):
        load_config('a/b.py')
    # A file of that name comes first.
    (tmp_path / 'boxcaseg').mkdir()
    (tmp_path / 'boxcaseg/hrnet_w48_voc.py').write_text('lr = 1')
    assert load_config('boxcaseg/hrnet_w48_voc.py').lr == 1


def test_dicts_lie_anywhere_in_a_config():
    paste = dict(type='Paste', dataset=dict(type='Salient'))
    boxes = dict(type='Boxes', pipeline=[paste])
    node = dict(datasets=[(boxes,)], sampler=None)
    assert [*dicts(node)] == [node, boxes, paste, paste['dataset']]
    assert [*dicts(node, skip='pipeline')] == [node, boxes]
    assert [*dicts(None)] == [*dicts('text')] == []


def test_class_name():
    assert class_name(dict(type='mmboxcaseg.BoxCaseg')) == 'BoxCaseg'
    assert class_name(dict(type='ResNet')) == 'ResNet'
    assert class_name({}) == 'None'


def test_configs_of_other_kinds_are_not_loaded(tmp_path):
    """mmengine runs what the tags of YAML name."""
    path = tmp_path / 'evil.yaml'
    path.write_text(f'model: !!python/object/apply:os.mkdir ["{tmp_path / "made"}"]\n')
    with pytest.raises(InputError, match=r'evil\.yaml is neither \.py nor \.json: write it as one'):
        load_config(path)
    assert not (tmp_path / 'made').exists()
    (tmp_path / 'plain.json').write_text('{"work_dir": "x"}')
    assert load_config(tmp_path / 'plain.json').work_dir == 'x'
