"""Hooks of the training loop."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .epoch_seed_hook import EpochSeedHook, seed_worker

__all__ = ['AtomicCheckpointHook', 'EpochSeedHook', 'seed_worker']
