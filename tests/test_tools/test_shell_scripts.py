"""What the scripts for several processes and for slurm call, caught by programs that print it."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRINTER = '#!/bin/sh\nprintf "%s\\n" "$OMP_NUM_THREADS" "$PYTHONPATH" "$@"\n'
TORCHRUN = ['-m', 'mmboxcaseg.engine.launch', '--nnodes=1', '--node_rank=0']
TORCHRUN += ['--master_addr=127.0.0.1', '--master_port=29500', '--nproc_per_node=2']
USAGES = {
    'dist_train.sh': 'CONFIG PROCESSES [flags of tools/train.py]',
    'dist_test.sh': 'CONFIG CHECKPOINT PROCESSES [flags of tools/test.py]',
    'dist_generate_proxy_masks.sh': (
        'CONFIG CHECKPOINT PROCESSES [flags of tools/generate_proxy_masks.py]'
    ),
    'slurm_train.sh': 'PARTITION JOB_NAME CONFIG WORK_DIR [flags of tools/train.py]',
    'slurm_test.sh': 'PARTITION JOB_NAME CONFIG CHECKPOINT [flags of tools/test.py]',
}


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run a script from another folder; returns exit code, lines of stdout and stderr."""
    for name in ('srun', 'python'):
        (tmp_path / name).write_text(PRINTER)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    for name in ('PYTHON', 'PYTHONPATH', 'OMP_NUM_THREADS', 'GPUS', 'PORT', 'SRUN_ARGS'):
        monkeypatch.delenv(name, raising=False)

    def call(script, *words):
        command = [ROOT / 'tools' / script, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines(), done.stderr

    return call


@pytest.mark.parametrize(
    ('script', 'given', 'passed'),
    [
        ('dist_train.sh', ['a b', '2'], ['train.py', 'a b']),
        ('dist_test.sh', ['a b', 'c', '2'], ['test.py', 'a b', 'c']),
        ('dist_generate_proxy_masks.sh', ['a', 'c', '2'], ['generate_proxy_masks.py', 'a', 'c']),
    ],
)
def test_several_processes(call, monkeypatch, script, given, passed):
    tool = f'{ROOT}/tools/{passed[0]}'
    monkeypatch.setenv('PYTHONPATH', 'x')
    code, lines, _ = call(script, *given, '--flag', '*')
    assert code == 0
    threads = max(1, os.cpu_count() // 2)
    rest = [tool, *passed[1:], '--launcher', 'pytorch', '--flag', '*']
    assert lines == [str(threads), f'{ROOT}:x', *TORCHRUN, *rest]
    # The user's own settings, and another interpreter.
    monkeypatch.setenv('PYTHON', 'srun')
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    monkeypatch.setenv('PORT', '29501')
    lines = call(script, *given)[1]
    assert lines[0] == '7' and '--master_port=29501' in lines and lines[-1] == 'pytorch'


@pytest.mark.parametrize(
    ('script', 'passed'),
    [
        ('slurm_train.sh', ['train.py', 'a b', '--work-dir', 'c d']),
        ('slurm_test.sh', ['test.py', 'a b', 'c d']),
    ],
)
def test_slurm(call, monkeypatch, script, passed):
    python = ['python', '-u', f'{ROOT}/tools/{passed[0]}', *passed[1:], '--launcher', 'slurm']
    job = ['-p', 'part', '--job-name=job', '--gres=gpu:8']
    tasks = ['--ntasks-per-node=8', '--cpus-per-task=5', '--kill-on-bad-exit=1']
    code, lines, _ = call(script, 'part', 'job', 'a b', 'c d', '--flag', '*')
    assert code == 0
    assert lines == ['', str(ROOT), *job, '--ntasks=8', *tasks, *python, '--flag', '*']
    monkeypatch.setenv('GPUS', '16')
    monkeypatch.setenv('SRUN_ARGS', '--qos=high -t 5')
    assert call(script, 'part', 'job', 'a b', 'c d')[1][2:] == [
        *(*job, '--ntasks=16', *tasks, '--qos=high', '-t', '5', *python)
    ]


@pytest.mark.parametrize('script', USAGES)
def test_usage(call, script):
    needed = USAGES[script].split(' [')[0].split()
    wrong = [needed[:-1]] if 'slurm' in script else [needed[:-1], needed, [*needed[:-1], '0']]
    for words in wrong:
        code, lines, err = call(script, *words)
        assert (code, lines) == (2, [])
        assert err == f'usage: {ROOT}/tools/{script} {USAGES[script]}\n'
