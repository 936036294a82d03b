"""What tests share: a tiny network, a batch for it, and a tiny data set of the real layout."""

import json

import mmboxcaseg  # isort: skip -- before mmdet, which needs the ops that it may bring
import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData

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


def write_image(path, image: np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return str(path)


@pytest.fixture(scope='session')
def data_root(tmp_path_factory):
    """A read-only data set: ``coco/`` in COCO's layout and ``salient/`` in that of DUTS.

    Four images of 48x40 with three boxes each, in two classes; six salient images. Objects are
    bright ellipses on a dark ground.
    """
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    coco = dict(
        images=[],
        annotations=[],
        categories=[dict(id=3, name='cat'), dict(id=7, name='dog')],
    )
    bboxes = [[2, 3, 20, 18], [4, 5, 20, 16], [26, 8, 14, 30]]
    for img_id in range(1, 5):
        name = f'{img_id:03d}.png'
        image = rng.integers(0, 60, (40, 48, 3), dtype=np.uint8)
        for number, (x, y, w, h) in enumerate(bboxes):
            centre, axes = (x + w // 2, y + h // 2), (w // 2 - 1, h // 2 - 1)
            colour = (200 - 40 * number, 120, 80 + 40 * number)
            cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1)
            coco['annotations'].append(
                dict(
                    id=10 * img_id + number,
                    image_id=img_id,
                    category_id=3 if number else 7,
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                    segmentation=[[x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h / 2]],
                )
            )
        coco['images'].append(dict(id=img_id, file_name=name, width=48, height=40))
        write_image(root / 'coco' / 'train' / name, image)
    (root / 'coco' / 'annotations').mkdir()
    (root / 'coco' / 'annotations' / 'instances.json').write_text(json.dumps(coco))
    for index in range(6):
        image = rng.integers(0, 60, (36, 44, 3), dtype=np.uint8)
        mask = np.zeros((36, 44), np.uint8)
        cv2.ellipse(mask, (18 + index, 16), (12, 9), 0, 0, 360, 255, -1)
        image[mask > 0] += 120
        write_image(root / 'salient' / 'images' / f's{index}.png', image)
        write_image(root / 'salient' / 'masks' / f's{index}.png', mask)
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
