import subprocess
import sys

import pytest

from mmboxcaseg.cli import main
from mmboxcaseg.engine.environment import describe_environment


def test_a_line_for_each_thing(capsys):
    main(['env'])
    lines = capsys.readouterr().out.splitlines()
    found = describe_environment()
    assert [line.split('  ')[0] for line in lines] == [*found]
    assert [line[line.rindex('  ') + 2 :] for line in lines] == [*found.values()]
    # One column.
    assert len({line.rindex('  ') for line in lines}) == 1


@pytest.mark.parametrize(
    ('missing', 'ops'),
    [
        (['torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'numpy', 'cv2', 'msgspec'], 'mmcv'),
        (['mmengine'], 'mmengine'),
    ],
)
def test_answers_where_libraries_are_missing(missing, ops):
    code = f"""
import sys
class Nothing:
    def find_spec(name, path=None, target=None):
        if name in {missing}:
            raise ModuleNotFoundError(f'No module named {{name!r}}')
sys.meta_path.insert(0, Nothing)
from mmboxcaseg.cli import main
main(['env'])
"""
    command = [sys.executable, '-W', 'ignore', '-c', code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert ('CPU' in lines) == ('torch' not in missing)
    if 'torch' in missing:
        assert lines['GPU'] == "unknown, for torch does not load: No module named 'torch'"
    assert lines['ops'] == f"none, for mmcv's do not load: No module named {ops!r}"
