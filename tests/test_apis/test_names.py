import json
import subprocess
import sys

import pytest

import mmboxcaseg.apis


@pytest.mark.parametrize('name', mmboxcaseg.apis.__all__)
def test_every_name_is_there(name):
    assert getattr(mmboxcaseg.apis, name).__name__ == name
    assert name in dir(mmboxcaseg.apis)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="module 'mmboxcaseg.apis' has no attribute 'trian'"):
        mmboxcaseg.apis.trian  # noqa: B018


def test_its_import_brings_nothing_that_takes_long():
    code = (
        'import json, sys, mmboxcaseg.apis;'
        "print(json.dumps([*{'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg'} & {*sys.modules}]))"
    )
    command = [sys.executable, '-W', 'ignore', '-c', code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
