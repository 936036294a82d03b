"""A training that diverges ends before it spoils its weights."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmboxcaseg.errors import InputError, listing
from mmboxcaseg.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """End a training at the first loss that is NaN or infinite, and name the samples of its batch.

    It looks at the losses between the forward and the backward pass, so that the weights are those
    of the iteration before. ``build_runner`` adds this hook to every run.
    """

    def before_train(self, runner: Runner) -> None:
        """Look at what the model gives from now on; raises :class:`InputError` at such a loss."""

        def check(model: nn.Module, args: tuple, kwargs: dict[str, Any], outputs: Any) -> None:
            if not isinstance(outputs, dict):
                return  # predictions of a validation
            losses = {name: _sum(loss) for name, loss in outputs.items() if 'loss' in name}
            # All at once: each look waits for a GPU.
            if not losses or torch.stack(list(losses.values())).isfinite().all():
                return
            names = [name for name, loss in losses.items() if not loss.isfinite()]
            raise InputError(
                f'{listing(names)} is {losses[names[0]].item()} in iteration {runner.iter + 1} of '
                f'{runner.work_dir}, before which the weights were still good: look at the samples '
                f'{_names(kwargs.get("data_samples"))}, lower the learning rate, or go on from an '
                'earlier checkpoint'
            )

        self._handle = runner.model.register_forward_hook(check, with_kwargs=True)

    def after_train(self, runner: Runner) -> None:
        """Look no longer."""
        self._handle.remove()


def _sum(loss: torch.Tensor | list[torch.Tensor]) -> torch.Tensor:
    parts = loss if isinstance(loss, list) else [loss]
    return torch.stack([part.detach().float().sum() for part in parts]).sum()


def _names(samples: Any) -> str:
    """Files and annotations of samples."""
    metas = [getattr(sample, 'metainfo', {}) for sample in samples or ()]
    names = [
        f'{meta["img_path"]}' + (f' (annotation {meta["ann_id"]})' if 'ann_id' in meta else '')
        for meta in metas
        if 'img_path' in meta
    ]
    return listing(names) or 'of its batch'
