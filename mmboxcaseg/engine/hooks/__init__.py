"""Hooks of the training loop."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .channels_last_hook import ChannelsLastHook
from .epoch_seed_hook import EpochSeedHook, seed_worker

__all__ = ['AtomicCheckpointHook', 'ChannelsLastHook', 'EpochSeedHook', 'seed_worker']
