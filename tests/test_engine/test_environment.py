import platform
import sys
from importlib import metadata
from types import ModuleType

import mmcv._ext
import pytest
import torch

import mmboxcaseg
from mmboxcaseg.engine import environment
from mmboxcaseg.engine.environment import describe_environment

INSTALLED = {
    'torch': '2.13.0',
    'mmengine': '0.10.7',
    'mmcv-lite': '2.1.0',
    'mmdet': '3.3.0',
    'mmsegmentation': '1.2.2',
    'numpy': '2.4.6',
    'opencv-python-headless': '5.0.0',
    'tqdm': '4.0',
}
REQUIRED = ['numpy>=1.24', 'opencv-python>=4.6', 'tqdm', 'torch; extra == "openmmlab"']


@pytest.fixture
def install(monkeypatch):
    """Let other distributions be installed than there are; None takes one away."""

    def install(required=REQUIRED, **changes):
        changes = {name.replace('_', '-'): version for name, version in changes.items()}
        versions = {**INSTALLED, **changes}

        def version(name):
            if versions.get(name) is None:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        def requires(name):
            if required is None:
                raise metadata.PackageNotFoundError(name)
            return required

        monkeypatch.setattr(metadata, 'version', version)
        monkeypatch.setattr(environment, 'requires', requires)

    return install


def test_a_whole_environment(install):
    install()
    found = describe_environment()
    assert [*found] == [
        *('mmboxcaseg', 'Python', 'platform', 'torch', 'mmengine', 'mmcv', 'mmdet'),
        *('mmsegmentation', 'torchvision', 'numpy', 'opencv-python', 'GPU', 'CPU', 'ops'),
    ]
    assert found['mmboxcaseg'] == mmboxcaseg.__version__
    assert found['Python'] == platform.python_version()
    assert found['mmcv'] == 'mmcv-lite 2.1.0'
    assert found['opencv-python'] == 'opencv-python-headless 5.0.0'
    assert found['torchvision'] == 'not installed'
    assert found['CPU'].endswith(f', {torch.get_num_threads()} threads')


def test_what_is_missing(install):
    # Another distribution of OpenCV will do, and torchvision is not needed.
    install(mmdet=None, tqdm=None)
    found = describe_environment()
    assert found['missing'] == 'mmdet, tqdm'
    assert found['mmdet'] == 'not installed'
    # A clone says nothing of what it requires; it is known what it plugs into.
    install(required=None, mmdet=None, tqdm=None)
    assert describe_environment()['missing'] == 'mmdet'


def test_what_is_installed_twice(install):
    install(mmcv='2.1.0', opencv_python='5.0.0')
    found = describe_environment()
    assert found['mmcv'] == 'mmcv 2.1.0, mmcv-lite 2.1.0'
    assert found['installed twice'] == (
        'mmcv and mmcv-lite; opencv-python and opencv-python-headless'
    )
    assert 'missing' not in found


@pytest.mark.parametrize('source', ['plain torch', 'torchvision'])
def test_ops_that_stand_in(install, monkeypatch, source):
    install()
    monkeypatch.setattr(mmcv._ext, 'SOURCE', source)
    assert describe_environment()['ops'] == f'nms and roi_align by {source}'


def test_compiled_ops(install, monkeypatch):
    install()
    monkeypatch.setattr(mmcv, '_ext', ModuleType('mmcv._ext'))
    assert describe_environment()['ops'] == 'nms and roi_align by mmcv, compiled'


def test_gpus(install, monkeypatch):
    install()
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda number: f'GPU {number}')
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    assert describe_environment()['GPU'] == 'GPU 0, GPU 1 (CUDA 13.0)'
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    monkeypatch.setattr(torch.version, 'cuda', None)
    assert describe_environment()['GPU'] == 'none (CUDA not in this build)'


def test_without_torch(install, monkeypatch):
    install(torch=None)
    monkeypatch.setitem(sys.modules, 'torch', None)
    found = describe_environment()
    assert found['torch'] == 'not installed' and found['missing'] == 'torch'
    assert found['GPU'].startswith('unknown, for torch does not load: ') and 'CPU' not in found
