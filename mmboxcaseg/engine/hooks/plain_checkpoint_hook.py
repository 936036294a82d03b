"""Checkpoints that anybody can load: tensors and plain Python alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from mmboxcaseg.registry import HOOKS


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Keep what ``torch.load`` refuses out of the checkpoints that a run saves.

    mmengine saves the history of losses as objects of its own and NumPy's, which torch from 2.6 on
    loads only if whoever loads them allows it. mmdet's ``DetInferencer``, ``init_detector`` and
    tools do not. Here they are saved as numbers, and made objects again when a run resumes;
    ``build_runner`` adds this hook to every run.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Turn all but the weights into plain Python and tensors."""
        for key in checkpoint.keys() - {'state_dict'}:
            checkpoint[key] = _plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Make objects of the history again."""
        history = (checkpoint.get('message_hub') or {}).get('log_scalars', {})
        for name, buffer in history.items():
            if isinstance(buffer, dict):
                history[name] = HistoryBuffer(**buffer)


def _plain(value: Any) -> Any:
    if isinstance(value, HistoryBuffer):
        logs, counts = (numbers.tolist() for numbers in value.data)
        return dict(log_history=logs, count_history=counts, max_length=value.max_length)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return value
