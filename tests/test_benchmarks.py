"""Every benchmark at a tiny size, through its command line; they compare results before times."""

import importlib.util
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / 'benchmarks'
SHARE = '0.001'
SLOW = ('dataset', 'generate', 'mask_head', 'training')
SUBJECTS = sorted(path.stem.removeprefix('bench_') for path in FOLDER.glob('bench_*.py'))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A synthetic data set in the layout of the real one."""
    root = tmp_path_factory.mktemp('data')
    counts = ['--num-train', '3', '--num-val', '2', '--num-salient', '3']
    tool = ROOT / 'tools' / 'make_toy_dataset.py'
    subprocess.run([sys.executable, tool, root / 'toy', *counts], check=True, capture_output=True)
    (root / 'coco_mini').symlink_to(root / 'toy')
    (root / 'duts_mini').symlink_to(root / 'toy' / 'salient')
    return root


@pytest.fixture
def runner(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location('benchmarks_main', FOLDER / '__main__.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    'subject',
    [pytest.param(s, marks=pytest.mark.slow) if s in SLOW else s for s in SUBJECTS],
)
def test_script_gives_rows(data, tmp_path, subject):
    command = [sys.executable, FOLDER / f'bench_{subject}.py', '--data', data, '--share', SHARE]
    done = subprocess.run(
        [*command, '--json', tmp_path / 'rows.json'], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / 'rows.json').read_text())
    assert rows
    for row in rows:
        assert set(row) == {'step', 'plain', 'ours', 'ratio', 'asked', 'limit'}
        assert row['step'] and row['ours']
        assert not row['ratio'] or float(row['ratio']) > 0
    # What is printed is the same table.
    # A fork of mmdet prints lines of its own.
    assert sum(line.startswith('|') for line in done.stdout.splitlines()) == 2 + len(rows)
    assert all(f'| {row["step"]} |' in done.stdout for row in rows)


def test_runner_runs_every_script(runner):
    assert sorted(runner.SUBJECTS) == SUBJECTS


def test_runner_replaces_what_is_between_the_marks(runner, tmp_path, monkeypatch):
    calls = []

    def run(script, data, share):
        calls.append((script.name, data, share))
        return [runner.Row('cut a patch', '2 ms', '1 ms', '2.0', '1.5', 'nothing')]

    monkeypatch.setattr(runner, 'run', run)
    monkeypatch.setattr(runner, 'SUBJECTS', ('loss',))
    out = tmp_path / 'doc.md'
    marks = import_module('table').MARKS
    out.write_text('# Head\n\n{}an old table\n{}\n\nfoot\n'.format(*marks))
    for name in ('coco_mini', 'duts_mini'):
        (tmp_path / 'there' / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    options = ['--data', 'there', '--share', '0.5', '--out', str(out)]
    monkeypatch.setattr(sys, 'argv', ['benchmarks', *options])
    for _ in range(2):
        runner.main()
        lines = out.read_text().splitlines()
        assert lines[:2] == ['# Head', '']
        assert lines[-2:] == ['', 'foot']
        assert 'an old table' not in lines
        assert lines.count('| cut a patch | 2 ms | 1 ms | 2.0 | 1.5 | nothing |') == 1
        assert lines.count('| step | plain | ours | ratio | asked | limit |') == 1
    assert calls == 2 * [('bench_loss.py', Path('there'), 0.5)]


def test_runner_refuses_a_file_without_marks(runner, tmp_path, monkeypatch):
    (tmp_path / 'doc.md').write_text('nothing to fill')
    for name in ('coco_mini', 'duts_mini'):
        (tmp_path / name).mkdir()
    options = ['--data', str(tmp_path), '--out', str(tmp_path / 'doc.md')]
    monkeypatch.setattr(sys, 'argv', ['benchmarks', *options])
    with pytest.raises(SystemExit, match='lacks the marks'):
        runner.main()


@pytest.mark.parametrize(
    ('option', 'value', 'message'),
    [
        ('--share', '0', 'must be above 0 and at most 1, not 0'),
        ('--share', '1.5', 'must be above 0 and at most 1, not 1.5'),
        ('--data', 'nowhere', 'there is no nowhere/coco_mini'),
    ],
)
def test_bad_option_is_refused(runner, monkeypatch, capsys, option, value, message):
    monkeypatch.setattr(sys, 'argv', ['benchmarks', option, value])
    with pytest.raises(SystemExit):
        runner.main()
    assert message in capsys.readouterr().err


def test_failing_script_ends_the_run(runner, tmp_path):
    (tmp_path / 'bench_none.py').write_text('raise SystemExit(3)')
    with pytest.raises(SystemExit, match=r'bench_none\.py ends with 3'):
        runner.run(tmp_path / 'bench_none.py', tmp_path, 1)


def test_document_has_the_marks(runner):
    runner.split(runner.DOC.read_text())
