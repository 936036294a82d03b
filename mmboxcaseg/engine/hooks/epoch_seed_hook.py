"""Randomness that a resumed run repeats."""

from __future__ import annotations

import random
import signal

import cv2
import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmboxcaseg.registry import FUNCTIONS, HOOKS


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed every epoch from the run's seed, the epoch's number and the rank.

    A resumed run then draws in its first epoch what the interrupted one would have drawn, and no
    two epochs draw the same. mmengine alone starts each epoch's workers with one and the same
    seed, and does not restore the state of any generator. Loader workers need
    ``worker_init_fn=dict(type='mmboxcaseg.seed_worker')`` and ``persistent_workers=False``.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed Python's, numpy's and torch's generators; workers inherit from torch's."""
        state = np.random.SeedSequence((runner.seed, runner.epoch, get_rank())).generate_state(2)
        _seed_all(int(state.view(np.uint64)[0]))


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Seed a loader worker from torch's seed, which differs by worker and epoch.

    Args:
        worker_id: The worker's number, which torch passes and has put into its seed already.
    """
    _seed_all(torch.initial_seed())
    # A worker inherits what a tool does at SIGTERM, which is for the tool's own process.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # cv2 starts a thread per core in every worker; the workers are the parallelism here.
    cv2.setNumThreads(0)
