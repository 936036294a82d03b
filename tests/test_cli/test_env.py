import subprocess
import sys

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


def test_answers_where_all_else_is_missing():
    """A clone in an environment without any of the libraries."""
    code = """
import sys
class Nothing:
    def find_spec(name, path=None, target=None):
        if name in ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'numpy', 'cv2', 'msgspec'):
            raise ModuleNotFoundError(f'No module named {name!r}')
sys.meta_path.insert(0, Nothing)
from mmboxcaseg.cli import main
main(['env'])
"""
    command = [sys.executable, '-W', 'ignore', '-c', code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines['GPU'] == "unknown, for torch does not load: No module named 'torch'"
    assert lines['ops'] == "none, for mmcv's do not load: No module named 'mmcv'"
