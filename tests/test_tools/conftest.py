import multiprocessing
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from random import Random

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


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of a size."""
    folder = tmp_path / 'disk'

    def mount(size):
        folder.mkdir()
        command = ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            folder.rmdir()
            pytest.skip('needs the right to mount a small file system')
        return folder

    yield mount
    if folder.exists():
        subprocess.run(['umount', '-l', str(folder)], check=True)


def call_in_process(main, args, kill_at):
    """What a process does: a tool, and if it is asked for, end by SIGKILL at a rename."""
    replace = os.replace
    left, before = kill_at or (0, False)

    def kill_at_last(*paths):
        nonlocal left
        left -= 1
        if not before:
            replace(*paths)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if before:
            replace(*paths)

    os.replace = kill_at_last
    # What runs in the background ignores it, and hands that down.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(*args)
    except SystemExit as error:
        code = error.code
    else:
        code = 0
    os._exit(code or 0)


@pytest.fixture(scope='module')
def processes():
    """Starts processes that have imported what takes long."""
    context = multiprocessing.get_context('forkserver')
    apis = ('training', 'self_training', 'proxy_generation')
    context.set_forkserver_preload(
        [
            *(f'mmboxcaseg.apis.{name}' for name in apis),
            *(f'mmboxcaseg.converters.{name}' for name in ('duts_single', 'voc_sbd')),
            *('mmboxcaseg.testing', 'pytest'),
            *('mmdet.models', 'mmdet.visualization', 'mmdet.engine', 'mmseg.models'),
        ]
    )

    def start(main, args, kill_at=None):
        process = context.Process(target=call_in_process, args=(main, args, kill_at))
        process.start()
        return process

    start(time.sleep, (0,)).join()  # the first one waits for the imports
    return start


@pytest.fixture
def survives_kills(processes):
    """Kill a tool twenty times, at any moment and at its renames, and let it finish at last."""

    def survives(main, args, seconds, renames, check, start_anew, kills=20):
        random = Random(0)
        hit = finished = 0
        while hit < kills:
            at = (random.randint(1, renames), random.random() < 0.5) if hit % 2 else None
            process = processes(main, args, at)
            process.join(300 if at else random.uniform(0, seconds))
            if process.is_alive():
                process.kill()
            process.join()
            if process.exitcode == -signal.SIGKILL:
                hit += 1
                continue
            assert process.exitcode == 0
            check()
            start_anew()
            finished += 1
        process = processes(main, args)
        process.join()
        assert process.exitcode == 0
        check()
        print(f'{hit} kills, {finished + 1} runs that ended')

    return survives


@pytest.fixture
def seconds_of(processes):
    """How long a tool takes that is not killed."""

    def seconds_of(main, args):
        start = time.perf_counter()
        process = processes(main, args)
        process.join()
        assert process.exitcode == 0
        return time.perf_counter() - start

    return seconds_of


@pytest.fixture
def free_port():
    """A port for the processes of a distributed run: one that no other run has."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def bomb():
    """A PNG file of 33 bytes that says it has 60000x60000 pixels."""
    header = b'IHDR' + struct.pack('>IIBBBBB', 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = struct.pack('>I', 13) + header + struct.pack('>I', zlib.crc32(header))
    return b'\x89PNG\r\n\x1a\n' + chunk
