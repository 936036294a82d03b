import argparse

import pytest
from mmengine.config import Config

from mmboxcaseg.engine.config import (
    ConfigOptions,
    box_pipeline,
    innermost,
    naming_config,
    set_work_dir,
)
from mmboxcaseg.errors import InputError


def parse(*options):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
    return parser.parse_args(['--cfg-options', *options]).cfg_options


def test_options():
    assert parse('a.b=1', 'c=[1,x]', 'd=e=f') == {'a.b': 1, 'c': [1, 'x'], 'd': 'e=f'}


@pytest.mark.parametrize('bad', ['abc', 'a=[(1,2]'])
def test_option_that_is_none(bad):
    with pytest.raises(InputError, match='--cfg-options takes KEY=VALUE') as error:
        parse('a=1', bad)
    assert str(error.value).endswith(f'not {bad!r}')


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


def test_error_that_names_the_config():
    with pytest.raises(InputError, match='^the config cannot be built: KeyError: .*key'):
        with naming_config(Config()):
            raise KeyError('key')
    with pytest.raises(InputError, match='^as it is$'):
        with naming_config(Config()):
            raise InputError('as it is')
    with pytest.raises(RuntimeError):
        with naming_config(Config()):
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
