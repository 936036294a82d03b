import runpy
import socket
import struct
import sys
import zlib

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
