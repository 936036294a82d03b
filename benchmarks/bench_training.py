"""A training step of BoxCaseg on HRNet-W18 small, 16 patches of 160x160, on the CPU.

The plain network is the same one in default memory layout with the plain losses. Beside it ours
without channels-last, in bfloat16 by ``AutocastOptimWrapper``, and through ``torch.compile``.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Iterator
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from plain_losses import PlainMILLoss
from table import Row, run_script, scaled, timed_row
from timing import compare, duration, least_seconds

from mmboxcaseg import config_path
from mmboxcaseg.engine.optim import AutocastOptimWrapper
from mmboxcaseg.models import BoxCaseg

BATCH_SIZE, SIZE = 16, 160
SALIENT_SHARE = 7 / 16
COMPILE_LIMIT_S = 300


def draw_batch(size: int, side: int = SIZE) -> dict:
    """Patches as the data loader gives them: of 16, 9 with a box and 7 with a mask."""
    generator = torch.Generator().manual_seed(0)
    batch: dict[str, list] = dict(inputs=[], data_samples=[])
    for index in range(size):
        supervision = 'mask' if index < SALIENT_SHARE * size else 'box'
        x1, y1, x2, y2 = torch.randint(0, side // 2, (4,), generator=generator).tolist()
        x2, y2 = x2 + side // 2, y2 + side // 2
        sample = DetDataSample(metainfo=dict(supervision=supervision))
        sample.gt_instances = InstanceData(bboxes=torch.tensor([[x1, y1, x2, y2]]).float())
        if supervision == 'mask':
            mask = torch.zeros(1, side, side, dtype=torch.uint8)
            mask[:, y1:y2, x1:x2] = 1
            sample.gt_sem_seg = PixelData(sem_seg=mask)
        image = torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=generator)
        batch['inputs'].append(image)
        batch['data_samples'].append(sample)
    return batch


def build(losses: str = 'ours', channels_last: bool = True) -> BoxCaseg:
    """The network of the config; it always has the same weights."""
    config = Config.fromfile(config_path('boxcaseg/hrnet_w18s_coco-mini.py')).model
    torch.manual_seed(0)
    config.loss_mil = dict(type='mmboxcaseg.MILLoss', border='zero')
    config.channels_last = channels_last
    model = MODELS.build(config)
    if losses == 'plain':
        model.loss_mil = PlainMILLoss()
    return model.train()


def wrap(model: BoxCaseg, wrapper: type[OptimWrapper] = OptimWrapper) -> OptimWrapper:
    return wrapper(optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3))


def check_equal(plain: BoxCaseg, ours: BoxCaseg, batch: dict) -> None:
    """Compare the losses of a step; both networks stay as they are."""
    copies = copy.deepcopy(plain), copy.deepcopy(ours)
    losses = [model.train_step(batch, wrap(model)) for model in copies]
    assert losses[0].keys() == losses[1].keys()
    for name in losses[0]:
        torch.testing.assert_close(losses[0][name], losses[1][name], rtol=1e-4, atol=1e-5)


def compiled_times(connection: Connection, batch_size: int) -> None:
    """Send the seconds of the first step and of a later one, compiled as the Runner does it."""
    init_default_scope('mmdet')
    torch.set_num_threads(1)
    model, batch = build(), draw_batch(batch_size)
    wrapper = wrap(model)
    model.train_step = torch.compile(model.train_step)
    start = time.perf_counter()
    model.train_step(batch, wrapper)
    first = time.perf_counter() - start
    model.train_step(batch, wrapper)  # a second graph, if the first one was too narrow
    connection.send((first, least_seconds(lambda: model.train_step(batch, wrapper), 1)))


def compiled_row(batch_size: int, plain_s: float, limit_s: float) -> Row:
    """The step through ``torch.compile``, which is given so many seconds."""
    receive, send = Pipe(duplex=False)
    process = get_context('spawn').Process(target=compiled_times, args=(send, batch_size))
    process.start()
    done = receive.poll(limit_s)
    first, later = receive.recv() if done else (0, 0)
    process.kill()
    process.join()
    step = '- with torch.compile'
    if not done:
        return Row(step, ours=f'its first step takes more than {limit_s:.0f} s')
    first_step = f'its first step: {duration(first)}'
    return Row(step, duration(plain_s), duration(later), f'{plain_s / later:.1f}', limit=first_step)


def rows(args: argparse.Namespace) -> Iterator[Row]:
    init_default_scope('mmdet')
    batch_size = scaled(BATCH_SIZE, args.share, 2)
    batch = draw_batch(batch_size)
    plain, ours, unmoved = build('plain', False), build(), build(channels_last=False)
    check_equal(plain, ours, batch)
    plain_wrapper = wrap(plain)
    variants = {
        'training step, HRNet-W18 small, fp32': (ours, OptimWrapper, '1.2'),
        '- without channels-last': (unmoved, OptimWrapper, ''),
        '- with bf16 autocast (--amp)': (ours, AutocastOptimWrapper, ''),
        '- with bf16 autocast, without channels-last': (unmoved, AutocastOptimWrapper, ''),
    }
    for step, (model, wrapper, asked) in variants.items():
        wrapper = wrap(model, wrapper)
        comparison = compare(
            lambda: plain.train_step(batch, plain_wrapper),
            lambda model=model, wrapper=wrapper: model.train_step(batch, wrapper),
            1,
        )
        yield timed_row(step, f'{batch_size} patches of {SIZE}x{SIZE}', comparison, asked)
    yield compiled_row(batch_size, comparison.plain_s, COMPILE_LIMIT_S * args.share)


if __name__ == '__main__':
    run_script(rows)
