import importlib
import warnings
from importlib import metadata
from pathlib import Path

import pytest

import mmboxcaseg
from mmboxcaseg import InputError, config_path

ROOT = Path(__file__).parent.parent


def test_config_path():
    path = Path(config_path('boxcaseg/hrnet_w48_voc.py'))
    assert path.is_absolute()
    assert path.resolve() == ROOT / 'configs/boxcaseg/hrnet_w48_voc.py'


def test_unknown_config_is_named_with_those_that_exist():
    message = r'no config hrnet_voc\.py; the nearest of its \d\d are \S*hrnet_w48_voc\.py, '
    with pytest.raises(InputError, match=message) as error:
        config_path('hrnet_voc.py')
    assert '_base_' not in str(error.value)


def test_tested_versions_are_the_pins():
    lines = (ROOT / 'requirements/build.txt').read_text().splitlines()
    pins = dict(line.split('#')[0].strip().split('==') for line in lines if '==' in line)
    assert pins == mmboxcaseg.TESTED_VERSIONS


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({}, None),
        ({'torch': '2.13.0+cpu'}, None),
        ({'torch': '2.14.1'}, '^found torch 2.14.1; .* is tested with torch 2.13.0, '),
        ({'mmdet': None}, '^found no mmdet; '),
        ({'mmcv': None, 'onedl-mmcv': '2.3.6'}, '^found mmcv 2.3.6; '),
        ({'mmcv': None, 'onedl-mmcv': '2.1.0'}, None),
    ],
)
def test_other_versions_give_a_warning(changes, message, monkeypatch):
    versions = mmboxcaseg.TESTED_VERSIONS | changes

    def version(name):
        if versions.get(name) is None:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, 'version', version)
    if message is None:
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            importlib.reload(mmboxcaseg)
    else:
        with pytest.warns(UserWarning, match=message):
            importlib.reload(mmboxcaseg)
