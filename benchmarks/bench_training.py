"""A training step of BoxCaseg on HRNet-W18 small, 16 patches of 160x160, on the CPU.

The plain network is the same one in default memory layout with the plain losses. Beside it: ours
in bfloat16 by ``AutocastOptimWrapper`` and, with ``--compile``, through ``torch.compile``.
"""

from __future__ import annotations

import argparse
import copy
import time

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from plain_losses import PlainMILLoss
from timing import compare, row

from mmboxcaseg import config_path
from mmboxcaseg.engine.optim import AutocastOptimWrapper
from mmboxcaseg.models import BoxCaseg

BATCH_SIZE, SIZE = 16, 160
NUM_SALIENT = 7


def draw_batch() -> dict:
    """Patches as the data loader gives them: 9 with a box and 7 with a mask."""
    generator = torch.Generator().manual_seed(0)
    batch: dict[str, list] = dict(inputs=[], data_samples=[])
    for index in range(BATCH_SIZE):
        supervision = 'mask' if index < NUM_SALIENT else 'box'
        x1, y1, x2, y2 = torch.randint(0, SIZE // 2, (4,), generator=generator).tolist()
        x2, y2 = x2 + SIZE // 2, y2 + SIZE // 2
        sample = DetDataSample(metainfo=dict(supervision=supervision))
        sample.gt_instances = InstanceData(bboxes=torch.tensor([[x1, y1, x2, y2]]).float())
        if supervision == 'mask':
            mask = torch.zeros(1, SIZE, SIZE, dtype=torch.uint8)
            mask[:, y1:y2, x1:x2] = 1
            sample.gt_sem_seg = PixelData(sem_seg=mask)
        image = torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
        batch['inputs'].append(image)
        batch['data_samples'].append(sample)
    return batch


def build() -> tuple[BoxCaseg, BoxCaseg]:
    """The plain network and ours, with the same weights."""
    config = Config.fromfile(config_path('boxcaseg/hrnet_w18s_coco-mini.py')).model
    torch.manual_seed(0)
    config.loss_mil = dict(type='mmboxcaseg.MILLoss', border='zero')
    ours = MODELS.build(config)
    config.channels_last = False
    plain = MODELS.build(config)
    plain.load_state_dict(ours.state_dict())
    plain.loss_mil = PlainMILLoss()
    return plain.train(), ours.train()


def wrap(model: BoxCaseg, wrapper: type[OptimWrapper] = OptimWrapper) -> OptimWrapper:
    return wrapper(optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3))


def check_equal(plain: BoxCaseg, ours: BoxCaseg, batch: dict) -> None:
    """Compare the losses of a step; both networks stay as they are."""
    copies = copy.deepcopy(plain), copy.deepcopy(ours)
    losses = [model.train_step(batch, wrap(model)) for model in copies]
    assert losses[0].keys() == losses[1].keys()
    for name in losses[0]:
        torch.testing.assert_close(losses[0][name], losses[1][name], rtol=1e-4, atol=1e-5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--compile', action='store_true', help='torch.compile, too: takes minutes')
    args = parser.parse_args()
    torch.set_num_threads(1)
    init_default_scope('mmdet')
    batch = draw_batch()
    plain, ours = build()
    check_equal(plain, ours, batch)
    plain_wrapper = wrap(plain)

    def report(name: str, model: BoxCaseg, wrapper: OptimWrapper) -> None:
        comparison = compare(
            lambda: plain.train_step(batch, plain_wrapper),
            lambda: model.train_step(batch, wrapper),
            1,
            args.repeats,
        )
        print(row(name, comparison, f'batch of {BATCH_SIZE} patches of {SIZE}x{SIZE}'), flush=True)

    report('training step, HRNet-W18 small, fp32', ours, wrap(ours))
    report('the same, bf16 autocast', ours, wrap(ours, AutocastOptimWrapper))
    if args.compile:
        start = time.perf_counter()
        compiled = copy.deepcopy(ours)
        wrapper = wrap(compiled)
        compiled.train_step = torch.compile(compiled.train_step)  # as the Runner's compile=True
        compiled.train_step(batch, wrapper)
        print(f'first step through torch.compile: {time.perf_counter() - start:.0f} s', flush=True)
        report('the same, torch.compile', compiled, wrapper)


if __name__ == '__main__':
    main()
