"""Batch norms whose statistics stay as they are."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from mmboxcaseg.registry import HOOKS


@HOOKS.register_module()
class KeepNormStatisticsHook(Hook):
    """Train with the mean and variance that batch norms have; their weights are still trained.

    For a trained network that goes on with few images: what it computes in training is then what it
    computes in a test, and its batches need be no sample of all images.
    """

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        """Put the norms into eval mode: the loop puts the whole model into training mode."""
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
