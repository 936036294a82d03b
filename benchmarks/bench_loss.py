"""MIL and smooth loss of 16 patches of 288x288, forward and backward."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from plain_losses import PlainMILLoss
from table import Row, run_script, scaled, timed_row
from timing import compare
from torch import Tensor, nn

from mmboxcaseg.models.losses import MILLoss

NUM_PATCHES, SIZE = 16, 288


def draw(num_patches: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(num_patches, 1, SIZE, SIZE, generator=generator, requires_grad=True)
    corners = torch.rand(num_patches, 2, 2, generator=generator) * SIZE
    return logits, torch.cat([corners.amin(1), corners.amax(1)], 1)


def run(loss: nn.Module, logits: Tensor, bboxes: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and its gradient."""
    logits.grad = None
    total = sum(loss(logits, bboxes).values())
    total.backward()
    return total.detach(), logits.grad


def rows(args: argparse.Namespace) -> Iterator[Row]:
    num_patches = scaled(NUM_PATCHES, args.share)
    logits, bboxes = draw(num_patches)
    plain = PlainMILLoss()
    for border in ('zero', 'ignore'):
        ours = MILLoss(border=border)
        if border == 'zero':  # the plain procedure's border; ours leaves it out by default
            for a, b in zip(run(plain, logits, bboxes), run(ours, logits, bboxes), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-9)
        comparison = compare(
            lambda: run(plain, logits, bboxes),
            lambda ours=ours: run(ours, logits, bboxes),
            1,
        )
        name = f"MIL + smooth loss, border='{border}', forward and backward"
        unit = f'{num_patches} patches of {SIZE}x{SIZE}'
        yield timed_row(name, unit, comparison, asked='15')


if __name__ == '__main__':
    run_script(rows)
