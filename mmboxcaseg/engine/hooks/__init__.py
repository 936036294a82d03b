"""Hooks of the training loop."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .epoch_seed_hook import EpochSeedHook, seed_worker
from .first_iterations_hook import FirstIterationsHook

__all__ = ['AtomicCheckpointHook', 'EpochSeedHook', 'FirstIterationsHook', 'seed_worker']
