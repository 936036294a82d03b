import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from mmboxcaseg.errors import InputError, check_count, check_share, listing, run_tool, shown


def test_an_input_error_is_one_sentence(capsys):
    def main():
        raise InputError('there is no file a.json')

    with pytest.raises(SystemExit) as error:
        run_tool(main)
    assert error.value.code == 2
    assert capsys.readouterr().err == 'error: there is no file a.json\n'


def test_the_traceback_is_shown_to_who_asks(capsys, monkeypatch):
    def main():
        try:
            {}['of ours']
        except KeyError as error:
            raise InputError('cannot be built') from error

    for value, traces in (('1', 2), ('0', 0), ('', 0)):
        monkeypatch.setenv('MMBOXCASEG_DEBUG', value)
        with pytest.raises(SystemExit):
            run_tool(main)
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1] == 'error: cannot be built'
        assert lines.count('Traceback (most recent call last):') == traces
        assert ("KeyError: 'of ours'" in lines) == bool(traces)


def test_an_image_that_cannot_be_decoded_is_named(capsys):
    def main():
        raise AssertionError('failed to load image: a.jpg')

    with pytest.raises(SystemExit):
        run_tool(main)
    assert capsys.readouterr().err.startswith('error: a.jpg cannot be decoded: ')


def test_a_name_that_is_too_long_for_any_file_is_told(capsys, tmp_path):
    with pytest.raises(SystemExit) as error:
        run_tool(lambda: Path(tmp_path, 'x' * 300).is_dir())
    assert error.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith('error: no file can be named ') and told.endswith('a shorter name\n')


def test_other_errors_are_not_hidden():
    for error in (AssertionError('of the program'), ZeroDivisionError(), FileNotFoundError('a')):

        def main(error=error):
            raise error

        with pytest.raises(type(error)):
            run_tool(main)


@pytest.mark.parametrize('value', [-0.1, 1.1, float('nan'), None, '0.5'])
def test_check_share(value):
    check_share('alpha', 0)
    check_share('alpha', 1)
    with pytest.raises(InputError, match=r'^alpha must be in \[0, 1\], not '):
        check_share('alpha', value)


@pytest.mark.parametrize('value', [0, -1, 1.0, None, '1'])
def test_check_count(value):
    check_count('rounds', 1)
    with pytest.raises(InputError, match='^rounds must be a whole number of at least 1, not '):
        check_count('rounds', value)


def test_sigterm_ends_what_a_tool_has_started(tmp_path):
    code = (
        'import subprocess, sys; from mmboxcaseg.errors import run_tool;'
        'run_tool(lambda: subprocess.run([sys.executable, "-c",'
        '"import os, time; print(os.getpid(), flush=True); time.sleep(60)"]))'
    )
    env = {**os.environ, 'PYTHONPATH': str(Path(__file__).parents[1])}
    command = [sys.executable, '-W', 'ignore', '-c', code]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as tool:
        child = int(tool.stdout.readline())
        tool.terminate()
        assert tool.wait(10) == 128 + signal.SIGTERM
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError('the child goes on')


def test_a_tool_leaves_the_signals_as_they_were():
    before = signal.getsignal(signal.SIGTERM)
    run_tool(lambda: None)
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_is_no_traceback(capsys):
    def main():
        raise KeyboardInterrupt

    for goes_on, said in (('', 'interrupted\n'), ('do it again', 'interrupted: do it again\n')):
        with pytest.raises(SystemExit) as error:
            run_tool(main, goes_on)
        assert error.value.code == 130
        assert capsys.readouterr().err == said


FORGED = 'a\x1b[2J\nerror: forged\r\x07\u202e\ud800\0'


def test_text_from_data_is_one_plain_line(capsys):
    plain = r'a\x1b[2J\nerror: forged\r\x07\u202e\ud800\x00'
    assert shown(FORGED) == plain
    assert shown('né 図 "quoted"') == 'né 図 "quoted"'
    assert listing([FORGED, 'b'], count=1) == f'{plain} and 1 more'

    def main():
        raise InputError(f'image {FORGED} does not exist')

    with pytest.raises(SystemExit):
        run_tool(main)
    assert capsys.readouterr().err == f'error: image {plain} does not exist\n'


def test_long_names_leave_the_sentence_readable():
    sentence = str(InputError(f'image {"x" * 5000} does not exist'))
    assert sentence.startswith('image xxx') and sentence.endswith('xxx does not exist')
    assert len(sentence) < 1600


class Broken:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 1:
            raise InputError(f'{FORGED} InputError: cannot be decoded')
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_worker_raises_is_the_sentence_alone():
    with pytest.raises(InputError) as error:
        list(DataLoader(Broken(), sampler=[1], num_workers=1))
    # No more of it is lost than what stands before a type's name.
    assert str(error.value) == 'cannot be decoded'


def test_a_killed_worker_is_a_sentence(capsys):
    with pytest.raises(SystemExit) as error:
        run_tool(lambda: list(DataLoader(Broken(), sampler=[0], num_workers=1)))
    assert error.value.code == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith('error: a process that loads data ') and sentence.count('\n') == 1
    assert 'give the loaders fewer num_workers; call again' in sentence


@pytest.mark.parametrize(
    ('error', 'sentence'),
    [
        (OSError(errno.ENOSPC, 'No space left', 'a\nb'), r'cannot write a\nb: No space left; make'),
        (
            RuntimeError('[gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:5'),
            'another process of the run has ended or cannot be reached: see what it said; call ag',
        ),
        (MemoryError(), 'memory ran out: give smaller parts'),
        (MemoryError('Unable to allocate 9 TiB'), 'memory ran out (Unable to allocate 9 TiB): giv'),
        (RecursionError('maximum'), 'a file is nested too deep to be read (maximum)'),
        (OSError(errno.EROFS, 'Read-only'), 'cannot write: Read-only; make room and call again'),
    ],
)
def test_what_comes_from_outside_is_a_sentence(capsys, error, sentence):
    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        run_tool(main)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f'error: {sentence}')


def test_sigterm_twice_does_not_interrupt_the_end():
    ended = []

    def main():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            ended.append(True)

    with pytest.raises(SystemExit) as error:
        run_tool(main)
    assert error.value.code == 143 and ended == [True]
