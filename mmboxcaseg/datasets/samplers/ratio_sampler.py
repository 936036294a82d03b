"""Batches of box and salient patches in a fixed ratio (Sec. 4.2.3, Table 5)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from numbers import Real

import numpy as np
from mmengine.dataset import ConcatDataset
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mmboxcaseg.errors import InputError, check_count, check_share
from mmboxcaseg.registry import DATA_SAMPLERS


def batch_counts(ratio: Sequence[float], batch_size: int) -> list[int]:
    """Split a batch among the sources.

    Args:
        ratio: One positive number a source.
        batch_size: Samples of a batch.

    Returns:
        Samples of each source, in sum ``batch_size``: the shares rounded down, what is left over
        going to the largest remainders.

    Raises:
        InputError: If the ratio is not of positive numbers, or a source gets nothing of a batch.
    """
    check_count('batch_size', batch_size)
    numbers = all(isinstance(share, Real) and 0 <= share < math.inf for share in ratio)
    if not numbers or sum(ratio) <= 0:
        raise InputError(f'ratio must be of positive numbers, not {tuple(ratio)}')
    shares = np.asarray(ratio, dtype=np.float64) / sum(ratio) * batch_size
    counts = np.floor(shares).astype(int)
    by_remainder = np.argsort(counts - shares, kind='stable')
    counts[by_remainder[: batch_size - counts.sum()]] += 1
    if (counts <= 0).any():
        raise InputError(
            f'ratio {tuple(ratio)} gives source {int(counts.argmin())} nothing of a batch of '
            f'{batch_size}: change the ratio or use a larger batch'
        )
    return counts.tolist()


@DATA_SAMPLERS.register_module()
class RatioSampler(Sampler[int]):
    """Fixed ratio of box to salient patches in each per-GPU batch.

    An epoch uses every salient image once; to fill the last batches of all ranks some are used
    twice. Box patches are drawn afresh each epoch, none of them a second time before all have
    been used. The draw depends on the seed and the epoch alone: ranks take disjoint parts of the
    same one, and a resumed run goes on with the draw that it would have had.

    Args:
        dataset: ``ConcatDataset`` of a box and a salient source, in this order.
        batch_size: Per-GPU batch, the same as the dataloader's.
        ratio: Box to salient patches, ``r_ws`` of Table 5.
        overlap_iou: A box whose IoU with another one of its image is above this overlaps.
        overlap_skip: Probability by which an overlapping box is left out of an epoch's draw; the
            released code has 0.75 on COCO, the default leaves none out.
        seed: Seed of the draw; by default one that all ranks agree on.

    Raises:
        InputError: If the dataset is not such a pair, a source gets nothing of a batch, or a
            number is out of its range.
    """

    def __init__(
        self,
        dataset: ConcatDataset,
        batch_size: int = 16,
        ratio: tuple[float, float] = (9, 7),
        overlap_iou: float = 0.5,
        overlap_skip: float = 0.0,
        seed: int | None = None,
    ) -> None:
        sources = getattr(dataset, 'datasets', ())
        kinds = [source.metainfo.get('supervision') for source in sources]
        if kinds != ['box', 'mask']:
            raise InputError(
                'RatioSampler needs a ConcatDataset of a box and a salient dataset, in this '
                f'order, not {kinds or type(dataset).__name__}'
            )
        if not isinstance(ratio, list | tuple) or len(ratio) != 2:
            raise InputError(f'ratio must be two numbers, box to salient, not {ratio!r}')
        check_share('overlap_iou', overlap_iou)
        check_share('overlap_skip', overlap_skip)
        self.rank, self.world_size = get_dist_info()
        self.num_boxes, self.num_salient = map(len, sources)
        self.boxes_per_batch, self.salient_per_batch = batch_counts(ratio, batch_size)
        self.num_batches = math.ceil(self.num_salient / (self.salient_per_batch * self.world_size))
        self.overlap_skip = overlap_skip
        self.overlapping = sources[0].overlapping(overlap_iou) if overlap_skip else None
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        """Yield the rank's indices of the epoch, batch after batch."""
        rng = np.random.default_rng((self.seed, self.epoch))
        batches = self.num_batches * self.world_size
        salient = rng.permutation(self.num_salient)
        salient = np.resize(salient, (batches, self.salient_per_batch)) + self.num_boxes
        boxes = self._draw_boxes(rng, batches * self.boxes_per_batch)
        boxes = boxes.reshape(batches, self.boxes_per_batch)
        mixed = np.concatenate([boxes, salient], axis=1)
        yield from mixed[self.rank :: self.world_size].ravel().tolist()

    def __len__(self) -> int:
        """Samples of an epoch on this rank."""
        return self.num_batches * (self.boxes_per_batch + self.salient_per_batch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the draw; called by mmengine before each epoch."""
        self.epoch = epoch

    def _draw_boxes(self, rng: np.random.Generator, count: int) -> np.ndarray:
        pool = np.arange(self.num_boxes)
        if self.overlapping is not None:
            left_out = self.overlapping & (rng.random(self.num_boxes) < self.overlap_skip)
            # All boxes may overlap: an epoch without any would be no epoch.
            pool = pool[~left_out] if not left_out.all() else pool
        rounds = math.ceil(count / len(pool))
        return np.concatenate([rng.permutation(pool) for _ in range(rounds)])[:count]
