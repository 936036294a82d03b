"""Convolutions in the memory layout that they are fastest in."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmboxcaseg.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Put the network's weights into channels-last layout before the run.

    Feature maps follow the weights' layout, so the inputs need no change. Checkpoints are the
    same as without it.
    """

    def before_run(self, runner: Runner) -> None:
        """Convert the weights in place."""
        runner.model.to(memory_format=torch.channels_last)
