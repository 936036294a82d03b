"""What tests share: a tiny network, a batch for it, and a tiny data set of the real layout."""

import json
import subprocess
import sys
from contextlib import contextmanager

import mmboxcaseg  # noqa: F401  # isort: skip -- before mmdet, which needs the ops that it brings
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData

from mmboxcaseg.apis import init_model
from mmboxcaseg.coco.annotations import Annotation, parse_coco
from mmboxcaseg.testing import TINY_CONFIG, make_tiny_data

SIZE = 32
HRNET_CHANNELS = (4, 8, 16, 32)


def tiny_hrnet() -> dict:
    stages = {}
    for index in range(4):
        stages[f'stage{index + 1}'] = dict(
            num_modules=1,
            num_branches=index + 1,
            block='BASIC' if index else 'BOTTLENECK',
            num_blocks=(1,) * (index + 1),
            num_channels=HRNET_CHANNELS[: index + 1],
        )
    return dict(type='mmseg.HRNet', extra=stages)


@pytest.fixture(autouse=True)
def _default_scope():
    init_default_scope('mmdet')


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _tools_leave_torch_as_it_was(monkeypatch):
    # allow_checkpoint_types sets it for the rest of the process.
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')


@pytest.fixture
def trusts_nothing():
    """A torch that loads what any program's does: no type is allowed beyond its own."""
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield torch.serialization.clear_safe_globals
    torch.serialization.add_safe_globals(allowed)


@pytest.fixture
def as_coco():
    """Content as it is read from a COCO file."""

    def as_coco(content, annotation=Annotation):
        return parse_coco(json.dumps(content).encode(), 'boxes.json', annotation)

    return as_coco


@pytest.fixture
def held_elsewhere():
    """Lock a file in another process, as a call that is at work does."""

    @contextmanager
    def held(path, shared=False):
        code = (
            'import fcntl, sys; file = open(sys.argv[1], "a+b");'
            f'fcntl.lockf(file, fcntl.{"LOCK_SH" if shared else "LOCK_EX"});'
            'print(flush=True); sys.stdin.read()'
        )
        command = [sys.executable, '-S', '-c', code, str(path)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
            process.stdout.readline()
            yield process
            process.stdin.close()

    return held


@pytest.fixture
def quiet_runner(monkeypatch):
    """A Runner that does not log: formatting its config takes longer than a tiny training."""
    monkeypatch.setattr(Runner, '_log_env', lambda self, env_cfg: None)
    monkeypatch.setattr(Runner, 'dump_config', lambda self: None)
    monkeypatch.setattr(Config, 'dump', lambda self, file: None)
    monkeypatch.setattr(Config, 'pretty_text', '')
    monkeypatch.setattr(BaseModel, '_dump_init_info', lambda self: None)


@pytest.fixture
def box_caseg_cfg():
    """Config of a tiny BoxCaseg; keyword arguments replace its parts."""

    def make(channels: int = sum(HRNET_CHANNELS), **changes) -> dict:
        cfg = dict(
            type='mmboxcaseg.BoxCaseg',
            data_preprocessor=dict(
                type='mmengine.ImgDataPreprocessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                bgr_to_rgb=True,
            ),
            backbone=tiny_hrnet(),
            weak_head=dict(type='mmboxcaseg.PatchHead', in_channels=channels),
            salient_head=dict(type='mmboxcaseg.PatchHead', in_channels=channels),
            transferred_head=dict(
                type='mmboxcaseg.TransferredHead', in_channels=channels, expansion=2
            ),
        )
        return {**cfg, **changes}

    return make


@pytest.fixture
def make_batch():
    """Inputs and data samples of random patches, one for each supervision given."""

    def make(supervisions, size: int = SIZE):
        generator = torch.Generator().manual_seed(len(supervisions))
        inputs = torch.randn(len(supervisions), 3, size, size, generator=generator)
        samples = []
        for supervision in supervisions:
            sample = DetDataSample(metainfo=dict(supervision=supervision))
            bbox = torch.tensor([[4.0, 6.0, size - 5.5, size - 3.0]])
            sample.gt_instances = InstanceData(bboxes=bbox)
            # None, one, two and so on, each a step further to the right.
            steps = torch.arange(float(len(samples))).view(-1, 1)
            others = torch.tensor([[10.0, 2, 20, size / 2]]) + steps * torch.tensor([3.0, 0, 3, 0])
            sample.other_instances = InstanceData(bboxes=others)
            if supervision == 'mask':
                mask = torch.zeros(1, size, size, dtype=torch.uint8)
                mask[:, 6 : size - 3, 4 : size - 5] = 1
                sample.gt_sem_seg = PixelData(sem_seg=mask)
            samples.append(sample)
        return inputs, samples

    return make


@pytest.fixture(scope='session')
def data_root(tmp_path_factory):
    """A read-only data set: ``coco/`` in COCO's layout and ``salient/`` in that of DUTS."""
    root = tmp_path_factory.mktemp('data')
    make_tiny_data(root)
    return root


@pytest.fixture
def train_dataset_cfg(data_root):
    """Config of the concatenated box and salient source, with patches of 32x32."""
    tail = [dict(type='RandomFlip', prob=0.5), dict(type='mmboxcaseg.PackPatchInputs')]
    load = dict(type='mmboxcaseg.LoadPatchImage')
    return dict(
        type='mmengine.ConcatDataset',
        ignore_keys=['supervision', 'classes'],
        datasets=[
            dict(
                type='mmboxcaseg.BoxInstanceDataset',
                data_root=str(data_root / 'coco'),
                ann_file='annotations/instances.json',
                data_prefix=dict(img='train'),
                pipeline=[load, dict(type='mmboxcaseg.RandomBoxPatch', size=SIZE), *tail],
            ),
            dict(
                type='mmboxcaseg.SalientObjectDataset',
                data_root=str(data_root / 'salient'),
                pipeline=[
                    load,
                    dict(type='mmboxcaseg.RandomSalientPatch', resize=36, size=SIZE),
                    *tail,
                ],
            ),
        ],
    )


@pytest.fixture
def test_dataset_cfg(data_root):
    """Config of the box source with its true masks, with test patches of 32x32."""
    return dict(
        type='mmboxcaseg.BoxInstanceDataset',
        data_root=str(data_root / 'coco'),
        ann_file='annotations/instances.json',
        data_prefix=dict(img='train'),
        with_segmentation=True,
        test_mode=True,
        pipeline=[
            dict(type='mmboxcaseg.LoadPatchImage'),
            dict(type='mmboxcaseg.BoxPatch', size=SIZE),
            dict(type='mmboxcaseg.PackPatchInputs'),
        ],
    )


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """Config and checkpoint of a tiny BoxCaseg with random weights."""
    folder = tmp_path_factory.mktemp('model')
    config, checkpoint = folder / 'tiny.py', folder / 'tiny.pth'
    config.write_text(TINY_CONFIG)
    torch.manual_seed(0)
    torch.save(dict(state_dict=init_model(config).state_dict()), checkpoint)
    return config, checkpoint
