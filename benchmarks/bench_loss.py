"""MIL and smooth loss of 16 patches of 288x288, forward and backward."""

from __future__ import annotations

import torch
from plain_losses import PlainMILLoss
from timing import compare, row
from torch import Tensor, nn

from mmboxcaseg.models.losses import MILLoss

NUM_PATCHES, SIZE = 16, 288


def draw() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(NUM_PATCHES, 1, SIZE, SIZE, generator=generator, requires_grad=True)
    corners = torch.rand(NUM_PATCHES, 2, 2, generator=generator) * SIZE
    return logits, torch.cat([corners.amin(1), corners.amax(1)], 1)


def run(loss: nn.Module, logits: Tensor, bboxes: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and its gradient."""
    logits.grad = None
    total = sum(loss(logits, bboxes).values())
    total.backward()
    return total.detach(), logits.grad


def main() -> None:
    torch.set_num_threads(1)
    logits, bboxes = draw()
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
        print(row(name, comparison, f'batch of {NUM_PATCHES} patches of {SIZE}x{SIZE}'))


if __name__ == '__main__':
    main()
