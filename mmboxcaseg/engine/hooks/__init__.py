"""Hooks of the loops of training and test."""

from .atomic_checkpoint_hook import AtomicCheckpointHook
from .box_visualization_hook import BoxVisualizationHook
from .epoch_seed_hook import EpochSeedHook, seed_worker
from .finite_loss_hook import FiniteLossHook
from .first_iterations_hook import FirstIterationsHook
from .norm_statistics_hook import KeepNormStatisticsHook
from .plain_checkpoint_hook import PlainCheckpointHook

__all__ = [
    'AtomicCheckpointHook',
    'BoxVisualizationHook',
    'EpochSeedHook',
    'FiniteLossHook',
    'FirstIterationsHook',
    'KeepNormStatisticsHook',
    'PlainCheckpointHook',
    'seed_worker',
]
