import importlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import warnings
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import mmboxcaseg
from mmboxcaseg import InputError, config_path
from mmboxcaseg.cli import COMMANDS

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


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (
            'mmdet::mask_rcnn/mask_rcnn_r101.py',
            r'^mmdet has no config mask_rcnn/mask_rcnn_r101\.py; the nearest .* are mask_rcnn/',
        ),
        ('mmseg::fcn/fcn.py', '^mmseg::fcn/fcn.py: configs are those of mmboxcaseg and mmdet$'),
    ],
)
def test_configs_of_other_packages(name, message):
    path = Path(config_path('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'))
    assert path.is_file() and 'mmdet' in path.parts
    with pytest.raises(InputError, match=message):
        config_path(name)


def test_mmdet_that_is_not_there(monkeypatch):
    monkeypatch.setattr(mmboxcaseg, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match='^mmdet::a.py: mmdet is not installed'):
        config_path('mmdet::a.py')


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """A folder with the wheel and the sdist, and what they were built from beside it."""
    folder = tmp_path_factory.mktemp('built')
    source = folder / 'source'
    source.mkdir()
    for name in ('mmboxcaseg', 'configs'):
        ignore = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
    for name in ('pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    build(source, 'sdist', folder)
    # What a user gets who installs the sdist is a wheel that pip makes of it.
    (sdist,) = folder.glob('*.tar.gz')
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter='data')
    build(folder / sdist.name.removesuffix('.tar.gz'), 'wheel', folder)
    return folder


def build(source, kind, folder):
    code = f'from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})'
    subprocess.run([sys.executable, '-W', 'ignore', '-c', code], cwd=source, check=True)


def test_wheel_of_the_sdist_has_everything(built):
    (wheel,) = built.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata_file,) = (name for name in names if name.endswith('.dist-info/METADATA'))
        lines = archive.read(metadata_file).decode().splitlines()
    expected = {
        name if folder == 'mmboxcaseg' else f'mmboxcaseg/configs/{name}'
        for folder in ('mmboxcaseg', 'configs')
        for path in (ROOT / folder).rglob('*')
        if path.suffix in ('.py', '.json', '.pth', '.html') or path.name == 'py.typed'
        for name in [str(path.relative_to(ROOT if folder == 'mmboxcaseg' else ROOT / folder))]
    }
    assert expected <= names
    required = {line.removeprefix('Requires-Dist: ') for line in lines if 'Requires-Dist' in line}
    assert {'numpy>=1.24', 'scipy', 'tqdm', 'torch; extra == "openmmlab"'} <= required
    assert 'pytest>=8; extra == "test"' in required
    assert 'Author: The mmboxcaseg maintainers' in lines
    assert 'License-Expression: Apache-2.0' in lines
    for minor in (10, 11, 12, 13):
        assert f'Classifier: Programming Language :: Python :: 3.{minor}' in lines


@pytest.fixture(scope='module')
def site(built, tmp_path_factory):
    """A folder with the wheel installed."""
    (wheel,) = built.glob('*.whl')
    site = tmp_path_factory.mktemp('site')
    pip = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index']
    subprocess.run([*pip, '--target', site, wheel], check=True)
    return site


def run_elsewhere(site, folder, *command):
    """What a program prints that finds the installed wheel, not this clone."""
    env = {**os.environ, 'PYTHONPATH': str(site), 'PYTHONWARNINGS': 'ignore'}
    run = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    return run.stdout


def test_installed_elsewhere_its_configs_are_inherited(site, tmp_path):
    (tmp_path / 'config.py').write_text(
        "_base_ = __import__('mmboxcaseg').config_path('proxy_mask_rcnn/r101_fpn_voc.py')\n"
        'model = dict(backbone=dict(depth=50))\n'
    )
    code = (
        'import mmboxcaseg; from mmengine.config import Config;'
        "config = Config.fromfile('config.py'); print(mmboxcaseg.__file__);"
        "print(config.model.backbone.depth, config.model.roi_head.mask_head['type'])"
    )
    where, what = run_elsewhere(site, tmp_path, sys.executable, '-c', code).splitlines()
    assert Path(where) == site / 'mmboxcaseg/__init__.py'
    assert what == '50 mmboxcaseg.ProxyMaskHead'


def test_installed_elsewhere_the_readme_begins_with_masks(site, tmp_path):
    code = re.search('```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)[1]
    code += 'print(masks.shape, masks.any((1, 2)).all(), quality.min() > 0.5)'
    answer = run_elsewhere(site, tmp_path, sys.executable, '-c', code)
    assert answer == '(3, 400, 600) True True\n'
    assert not any(tmp_path.iterdir())


def test_installed_elsewhere_its_command_answers(site, tmp_path):
    command = site / 'bin' / 'mmboxcaseg'
    assert run_elsewhere(site, tmp_path, command, '--version') == f'{mmboxcaseg.__version__}\n'
    help_ = run_elsewhere(site, tmp_path, command, '--help')
    assert help_.startswith('usage: mmboxcaseg COMMAND ...\n') and '  self-train ' in help_
    for name in COMMANDS:
        help_ = run_elsewhere(site, tmp_path, command, *name.split(), '--help')
        assert help_.startswith(f'usage: mmboxcaseg {name} [-h]')


def pins_of(name):
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    return dict(line.split()[0].split('==') for line in lines if '==' in line)


def test_tested_versions_are_the_pins():
    pins = pins_of('tested.txt')
    pins['mmcv'] = pins.pop('mmcv-lite')
    assert pins == {name: versions[0] for name, versions in mmboxcaseg.TESTED_VERSIONS.items()}


def test_the_lock_is_of_the_tested_versions_and_whole():
    locked, tested = pins_of('lock.txt'), pins_of('tested.txt')
    # Its builds for CPUs and for CUDA are files of other indexes.
    assert tested.pop('torch') and 'torch' not in locked
    assert tested.items() <= locked.items()
    tomllib = pytest.importorskip('tomllib')  # Python 3.11
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    extras = project['optional-dependencies']
    groups = [project['dependencies'], *(extras[name] for name in ('openmmlab', 'export', 'test'))]
    for requirement in map(Requirement, sum(groups, [])):
        if requirement.name not in ('torch', 'mmboxcaseg'):
            assert requirement.specifier.contains(locked[requirement.name]), requirement
    text = (ROOT / 'requirements' / 'lock.txt').read_text()
    entries = re.findall(r'^\S+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+$', text, re.MULTILINE)
    assert len(entries) == len(locked) == text.count('==')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({}, None),
        ({'torch': '2.13.0+cpu'}, None),
        ({'torch': '2.14.1'}, None),
        ({'torch': '2.99.0'}, '^found torch 2.99.0; .* tested with torch 2.13.0 or 2.14.1, mmeng'),
        ({'mmdet': None}, '^found no mmdet; '),
        ({'mmcv': None}, '^found no mmcv; '),
        ({'mmcv': None, 'mmcv-lite': '2.2.0'}, '^found mmcv-lite 2.2.0; '),
        ({'mmcv': None, 'mmcv-lite': '2.1.0'}, None),
        ({'mmcv': None, 'onedl-mmcv': '2.1.0'}, None),
    ],
)
def test_other_versions_give_a_warning(changes, message, monkeypatch):
    versions = {name: tested[0] for name, tested in mmboxcaseg.TESTED_VERSIONS.items()}
    versions.update(changes)

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
