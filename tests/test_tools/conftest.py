import runpy
import socket
import struct
import sys
import zlib

import pytest
import torch

from mmboxcaseg.apis import init_model

_TINY = """
head = dict(type='mmboxcaseg.PatchHead', in_channels=60)
model = dict(
    type='mmboxcaseg.BoxCaseg',
    data_preprocessor=dict(type='mmengine.ImgDataPreprocessor', mean=[0, 0, 0], std=[255] * 3),
    backbone=dict(type='mmdet.ResNet', depth=18, base_channels=4, norm_eval=False),
    weak_head=head,
    salient_head=head,
    transferred_head=dict(head, type='mmboxcaseg.TransferredHead'),
)
load, pack = dict(type='mmboxcaseg.LoadPatchImage'), dict(type='mmboxcaseg.PackPatchInputs')
crop = dict(type='mmboxcaseg.BoxPatch', size=32)
test_dataloader = dict(dataset=dict(pipeline=[load, crop, pack]))
tta_model = dict(type='mmboxcaseg.BoxCasegTTAModel')
tta_pipeline = [
    load,
    dict(type='TestTimeAug', transforms=[
        [dict(type='mmboxcaseg.BoxPatch', size=24, margin=margin) for margin in (0.2, 0.6)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [pack],
    ]),
]
"""


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """Config and checkpoint of a tiny BoxCaseg with random weights."""
    folder = tmp_path_factory.mktemp('model')
    config, checkpoint = folder / 'tiny.py', folder / 'tiny.pth'
    config.write_text(_TINY)
    torch.manual_seed(0)
    torch.save(dict(state_dict=init_model(config).state_dict()), checkpoint)
    return config, checkpoint


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
