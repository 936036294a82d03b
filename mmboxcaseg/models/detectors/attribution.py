"""Bounding box attribution maps (Lee et al., "BBAM", CVPR 2021)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmboxcaseg.errors import check_share

#: Of P proposals the probabilities (P,) of the object's class and the box offsets (P, 4) for it.
Answer = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class BBAM:
    """Bounding box attribution maps: the least of an image by which a detector finds a box.

    Of the image only what a soft mask M shows is left, the rest is the mean colour, and the
    detector answers for proposals around the box. M minimises::

        lam * |M|_1 + (mean |t - t_c| + mean |p - p_c|) / 2 + tv * TV(M)

    where p are the probabilities of the box's class and t the offsets of its box, p_c and t_c
    those on the whole image. TV is the sum of the cubes of differences between neighbours,
    diagonal ones twice. M is a coarse grid, drawn large by bilinear interpolation. Adam
    begins with the boxes that the detector finds, and M is held in [0, 1]. Names are the paper's,
    defaults those of its release, for images whose short side has 800 pixels.

    Args:
        lam: Weight of the size of the mask, lambda.
        tv: Weight of its total variation.
        lr: Adam's rate.
        iterations: How often the detector looks at an image for one box.
        stride: The pixels of a cell of the grid are ``stride[0] + stride[1] * sqrt(a)`` wide for
            a box that is the share a of the image.
        samples: How many proposals are drawn, each edge moved by up to ``jitter`` times the width
            or height of the box.
        jitter: See ``samples``.
        min_ious: A proposal takes part if the detector gives it the class of the box, and a box
            of more than this IoU with it: the first value that more than ``proposals`` reach, or
            else the last.
        proposals: How many proposals take part at most.
        threshold: The least value in a mask, as a share of the greatest in the box.

    Raises:
        InputError: If ``threshold`` is not in [0, 1].
    """

    lam: float = 0.007
    tv: float = 1e-4
    lr: float = 0.02
    iterations: int = 300
    stride: tuple[float, float] = (16, 48)
    samples: int = 1000
    jitter: float = 0.3
    min_ious: tuple[float, ...] = (0.9, 0.85, 0.8)
    proposals: int = 100
    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_share('threshold', self.threshold)

    def grid(self, bbox: Tensor, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the mask of a box.

        Args:
            bbox: (4,) xyxy in pixels.
            shape: Height and width of the image in pixels.

        Example:
            >>> BBAM().grid(torch.tensor([0, 0, 200, 100]), (400, 800))  # a is 1/16
            (14, 28)
        """
        height, width = shape
        x1, y1, x2, y2 = bbox.tolist()
        share = (x2 - x1) * (y2 - y1) / (height * width)
        stride = self.stride[0] + self.stride[1] * share**0.5
        return max(int(height / stride), 1), max(int(width / stride), 1)

    def draw_proposals(self, bbox: Tensor, shape: tuple[int, int]) -> Tensor:
        """Move the edges of a box at random, the same for the same box.

        Args:
            bbox: (4,) float, xyxy in pixels.
            shape: Height and width of the image; proposals end at it.

        Returns:
            (samples, 4) float.
        """
        generator = torch.Generator().manual_seed(0)
        shifts = 2 * torch.rand((self.samples, 4), generator=generator) - 1
        sides = (bbox[2:] - bbox[:2]).repeat(2)
        drawn = bbox + self.jitter * sides * shifts.to(bbox)
        return drawn.clamp(min=0).minimum(bbox.new_tensor([*shape[::-1]] * 2))

    def choose(self, ious: Tensor, recognised: Tensor) -> Tensor:
        """Which proposals take part.

        Args:
            ious: (samples,) float, of the boxes that the detector gives proposals with the box.
            recognised: (samples,) bool, whether it gives them the box's class.

        Returns:
            Their numbers, at most ``proposals``; none if the detector does not find the object.

        Example:
            >>> BBAM(proposals=1).choose(torch.tensor([0.86, 0.95, 0.87, 0.99]),
            ...     torch.tensor([True, True, True, False])).tolist()
            [0]
        """
        for least in self.min_ious:
            chosen = torch.nonzero(recognised & (ious > least))[:, 0]
            if len(chosen) > self.proposals:
                break
        return chosen[: self.proposals]

    def objective(self, mask: Tensor, answer: Answer, whole: Answer) -> Tensor:
        """What a mask minimises.

        Args:
            mask: (H, W) float in [0, 1].
            answer: The detector's on what the mask shows.
            whole: Its answer on the whole image.

        Returns:
            () float.
        """
        (p, t), (p_c, t_c) = answer, whole
        perturb = ((t - t_c).abs().mean() + (p - p_c).abs().mean()) / 2
        return self.lam * mask.abs().sum() + perturb + self.tv * total_variation(mask)

    def attribute(self, predict: Callable[[Tensor], Answer], start: Tensor) -> Tensor:
        """Find the mask of an object.

        Args:
            predict: The detector's answer on what a mask (H, W) shows; with gradients to the mask.
            start: (H, W) float, the mask to begin with.

        Returns:
            (H, W) float in [0, 1].
        """
        with torch.no_grad():
            whole = predict(torch.ones_like(start))
        mask = start.clone().requires_grad_()
        adam = torch.optim.Adam([mask], lr=self.lr)
        for _ in range(self.iterations):
            adam.zero_grad()
            self.objective(mask, predict(mask), whole).backward()
            adam.step()
            with torch.no_grad():
                mask.clamp_(0, 1)
        return mask.detach()


def total_variation(mask: Tensor, beta: float = 3) -> Tensor:
    """Sum of the differences between neighbours of a mask to the power of ``beta``.

    Diagonal neighbours count twice, as in the release of BBAM.

    Args:
        mask: (H, W) float.
        beta: The power.

    Returns:
        () float.

    Example:
        >>> total_variation(torch.tensor([[2.0, 0.0], [0.0, 0.0]])).item()  # 8 + 8 + 2 * 8
        32.0
    """
    straight = mask.diff(dim=0), mask.diff(dim=1)
    diagonal = mask[1:, 1:] - mask[:-1, :-1], mask[1:, :-1] - mask[:-1, 1:]
    return sum(edge.abs().pow(beta).sum() for edge in (*straight, *diagonal, *diagonal))
