"""Mixed precision without a loss scaler, on CPUs too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast

from mmboxcaseg.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Run the forward pass in bfloat16 where that is safe, on the CPU or a GPU.

    mmengine's ``AmpOptimWrapper`` refuses to run on CPUs because it scales the loss, which float16
    needs; bfloat16 has the range of float32. Gradients, weights and checkpoints stay float32.
    """

    @contextmanager
    def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
        """Forward passes in here are in mixed precision."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
