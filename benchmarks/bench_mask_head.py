"""The mask head of a Mask R-CNN: an image of 800x1333, 128 positives, masks of 80 % dropped.

A step is the head's forward pass, its loss with the targets, and the backward pass. The stock
head, mmdet's ``FCNMaskHead``, learns from every mask; ours leaves the dropped ones out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

import mmboxcaseg  # noqa: F401  # isort: skip -- before mmdet, which needs the ops that it brings
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from table import Row, run_script, scaled, timed_row
from timing import compare, in_child

from mmboxcaseg.models import ProxyMaskHead
from mmboxcaseg.proxy import drop_masks, is_kept

HEIGHT, WIDTH = 800, 1333
NUM_OBJECTS, NUM_POSITIVES = 20, 128
DROPPED_SHARE = 0.8
TRAIN_CFG = ConfigDict(mask_size=28)


def draw(
    num_positives: int, height: int = HEIGHT, width: int = WIDTH
) -> tuple[torch.Tensor, InstanceData, InstanceData]:
    """Features of the positives, what they are assigned to, and the objects."""
    rng = np.random.default_rng(0)
    start = rng.uniform(0, [width * 0.6, height * 0.6], (NUM_OBJECTS, 2))
    bboxes = np.concatenate([start, start + rng.uniform(40, 300, (NUM_OBJECTS, 2))], axis=1)
    masks = np.zeros((NUM_OBJECTS, height, width), np.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, bboxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = rng.random((y2 - y1, x2 - x1))[: height - y1, : width - x1] > 0.3
    agreement = np.where(np.arange(NUM_OBJECTS) < DROPPED_SHARE * NUM_OBJECTS, 0.5, 1)
    masks = drop_masks(masks, bboxes, agreement, 0.95)
    assigned = torch.arange(num_positives) % NUM_OBJECTS
    generator = torch.Generator().manual_seed(0)
    positives = InstanceData(
        pos_priors=torch.from_numpy(bboxes).float()[assigned],
        pos_assigned_gt_inds=assigned,
        pos_gt_labels=assigned % 80,
    )
    features = torch.randn(num_positives, 256, 14, 14, generator=generator)
    return features, positives, InstanceData(masks=BitmapMasks(masks, height, width))


def build(head: type[FCNMaskHead]) -> FCNMaskHead:
    init_default_scope('mmdet')
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return head(num_classes=80)


def step(head: FCNMaskHead, features: torch.Tensor, *truth: InstanceData) -> torch.Tensor:
    head.zero_grad()
    positives, objects = truth
    losses = head.loss_and_target(head(features), [positives], [objects], TRAIN_CFG)
    loss = losses['loss_mask']['loss_mask'].sum()
    loss.backward()
    return loss.detach()


def targets(head: FCNMaskHead, features: torch.Tensor, *truth: InstanceData) -> torch.Tensor:
    """The loss of given logits alone: the head's convolutions are the same on both sides."""
    positives, objects = truth
    logits = torch.zeros(len(features), 80, 28, 28)
    losses = head.loss_and_target(logits, [positives], [objects], TRAIN_CFG)
    return losses['loss_mask']['loss_mask'].sum()


def peak_mib(head: type[FCNMaskHead], function: Callable, num_positives: int) -> float:
    """What a step adds to the memory of a process, at its peak; run it in one of its own."""
    built, drawn = build(head), draw(num_positives)
    function(built, *drawn)  # what stays allocated after the first step does not count
    Path('/proc/self/clear_refs').write_text('5')  # forget the peak so far
    before = memory_mib('VmRSS')
    function(built, *drawn)
    return memory_mib('VmHWM') - before


def memory_mib(name: str) -> float:
    """A field of the process's status."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f'{name}:'))


def check_equal(stock: FCNMaskHead, ours: ProxyMaskHead, drawn: tuple) -> None:
    """Ours learns what the stock head learns from the positives with a kept mask alone."""
    features, positives, objects = drawn
    kept = torch.from_numpy(is_kept(objects.masks.masks))[positives.pos_assigned_gt_inds]
    assert kept.float().mean() < 1.1 * (1 - DROPPED_SHARE)
    torch.testing.assert_close(
        step(ours, *drawn), step(stock, features[kept], positives[kept], objects)
    )


def rows(args: argparse.Namespace) -> Iterator[Row]:
    num_positives = scaled(NUM_POSITIVES, args.share, NUM_OBJECTS)
    stock, ours = build(FCNMaskHead), build(ProxyMaskHead)
    drawn = draw(num_positives)
    check_equal(stock, ours, drawn)
    names = {targets: 'mask targets and loss', step: 'step of the mask head'}
    for function, name in names.items():
        comparison = compare(
            lambda function=function: function(stock, *drawn),
            lambda function=function: function(ours, *drawn),
            1,
            repeats=3,
        )
        unit = f'image of {HEIGHT}x{WIDTH}, {num_positives} positives, 80 % dropped'
        yield timed_row(name, unit, comparison, asked='1')
        plain, our = (
            in_child(peak_mib, head, function, num_positives)
            for head in (FCNMaskHead, ProxyMaskHead)
        )
        ratio = f'{plain / max(our, 1):.1f}'
        yield Row('- its peak memory', f'{plain:.0f} MiB', f'{our:.0f} MiB', ratio, asked='1')


if __name__ == '__main__':
    run_script(rows)
