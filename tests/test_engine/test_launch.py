"""torchrun as it is called; what ends it is told by the exit code alone, without a traceback."""

import os
import signal
import subprocess
import sys
import time

import pytest


def torchrun(code, processes=2):
    """A call that runs code in processes; each gets its rank as RANK."""
    command = [sys.executable, '-m', 'mmboxcaseg.engine.launch', '--standalone']
    command += [f'--nproc_per_node={processes}', '--no-python', sys.executable, '-c', code]
    return dict(args=command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ('code', 'expected'),
    [
        ('print(RANK)', 0),
        ('raise SystemExit(2 if RANK else 0)', 2),
        ('os.kill(os.getpid(), 9) if RANK else None', 128 + signal.SIGKILL),
    ],
)
def test_exit_code(code, expected):
    code = f'import os; RANK = int(os.environ["RANK"]); {code}'
    done = subprocess.run(**torchrun(code))
    assert done.returncode == expected
    assert 'Traceback' not in done.stderr and 'ChildFailedError' not in done.stderr
    # Lines of two processes may run into each other.
    assert sorted(''.join(done.stdout.split())) == (['0', '1'] if 'print' in code else [])


def test_a_signal_ends_it_and_its_processes(tmp_path):
    code = f'import os, time; open({str(tmp_path)!r} + "/pid", "w").write(str(os.getpid())); '
    process = subprocess.Popen(**torchrun(code + 'time.sleep(60)', processes=1))
    pid = tmp_path / 'pid'
    while not pid.exists() or not pid.read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert 'Traceback' not in err
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
