"""The stand-in is found after everything else, whichever name of the package is imported first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASK = 'from importlib.util import find_spec; print(find_spec("mmcv._ext").origin)'


@pytest.fixture
def ask(tmp_path):
    """Run code in a Python whose mmcv is an empty package with these files."""

    def ask(code, *files):
        (tmp_path / 'mmcv').mkdir()
        for name in ('__init__.py', *files):
            (tmp_path / 'mmcv' / name).touch()
        env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(tmp_path), str(ROOT)])}
        run = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', code], env=env, capture_output=True, text=True
        )
        assert not run.stderr
        return run.stdout.strip()

    return ask


@pytest.mark.parametrize('name', ['mmboxcaseg', 'mmboxcaseg.errors', 'mmboxcaseg.ops'])
def test_stands_in_where_there_are_no_ops(name, ask):
    origin = ask(f'import {name}; {ASK}')
    assert Path(origin) == ROOT / 'mmboxcaseg/ops/mmcv_ext.py'


def test_compiled_ops_are_used_as_they_are(ask, tmp_path):
    origin = ask(f'import mmboxcaseg; {ASK}', '_ext.py')
    assert Path(origin) == tmp_path / 'mmcv/_ext.py'


def test_is_found_once_and_only_there(ask):
    code = (
        'import sys, mmboxcaseg; from mmboxcaseg.ops import provide_ops; provide_ops();'
        'print(sum(type(finder).__name__ == "_ExtFinder" for finder in sys.meta_path));'
        'import importlib; importlib.invalidate_caches();'
        'from importlib.util import find_spec; print(find_spec("mmcv._other"), find_spec("_ext"))'
    )
    assert ask(code).split() == ['1', 'None', 'None']


def test_torchvision_of_another_torch_is_left_alone(ask, tmp_path):
    (tmp_path / 'torchvision').mkdir()
    error = 'operator torchvision::nms does not exist'
    (tmp_path / 'torchvision/__init__.py').write_text(f'raise RuntimeError({error!r})')
    code = 'from mmboxcaseg.ops import mmcv_ext; print(mmcv_ext.SOURCE)'
    assert ask(code) == 'plain torch'
