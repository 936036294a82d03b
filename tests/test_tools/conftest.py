import runpy
import sys

import pytest


@pytest.fixture
def run(request, monkeypatch, capsys):
    """Run the module's TOOL in this process; returns exit code, stdout and stderr."""
    tool = str(request.module.TOOL)

    def run(*args):
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
        try:
            runpy.run_path(tool, run_name='__main__')
            code = 0
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run
