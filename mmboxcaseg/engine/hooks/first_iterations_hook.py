"""Something to read from the first iteration on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mmengine.hooks import Hook, LoggerHook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from mmboxcaseg.registry import HOOKS


@HOOKS.register_module()
class FirstIterationsHook(Hook):
    """Log iterations 1, 2, 5, 10, 20, 50, 100, ... of a run until its ``LoggerHook`` begins to.

    With an interval of 50 and a CPU, a ``LoggerHook`` alone is silent for minutes. Lines have the
    remaining time as its own do; curves are left to it. ``build_runner`` adds this hook to every
    run.
    """

    # That of LoggerHook: the time of the iteration and the losses are known by then.
    priority = 'BELOW_NORMAL'

    def __init__(self) -> None:
        self._seen = Counter()

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Sequence[BaseDataElement] | dict | None = None,
        mode: str = 'train',
    ) -> None:
        self._seen[mode] += 1
        seen = self._seen[mode]
        intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        if not intervals or seen >= intervals[0] or str(seen).rstrip('0') not in ('1', '2', '5'):
            return
        loader = getattr(runner, f'{mode}_dataloader')
        if mode == 'train' and self.end_of_epoch(loader, batch_idx):
            return  # LoggerHook logs it
        runner.logger.info(runner.log_processor.get_log_after_iter(runner, batch_idx, mode)[1])
