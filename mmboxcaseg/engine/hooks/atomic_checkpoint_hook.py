"""A checkpoint hook after which a killed training can always be resumed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmboxcaseg.fileio import remove_asides, remove_asides_of, write_bytes
from mmboxcaseg.registry import HOOKS


class AtomicLocalBackend(LocalBackend):
    """Local files that are written aside and then renamed: whole, or not there."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file.

        Args:
            obj: Its content.
            filepath: Its path; missing folders are made.
        """
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(obj, filepath)


# `force`: importing the module a second time under another name must not fail.
register_backend('mmboxcaseg.atomic', AtomicLocalBackend, force=True)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, safe against a kill at any moment.

    The stock hook writes ``epoch_N.pth`` and ``last_checkpoint`` in place, and deletes the
    outdated checkpoint before it writes the new one: killed in between, the last state is half a
    file or none. Here each file appears whole, and the outdated one goes last.

    Args:
        **kwargs: Those of ``mmengine.hooks.CheckpointHook``; checkpoints are local files.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, backend_args=dict(backend='mmboxcaseg.atomic'))

    def before_train(self, runner: Runner) -> None:
        """Remove what a killed run has left of a checkpoint that it was writing."""
        super().before_train(runner)
        if is_main_process():
            remove_asides_of(self.out_dir, '.pth')
            remove_asides(Path(runner.work_dir, 'last_checkpoint'))

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        outdated = None
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated = self._path(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.last_ckpt = self._path(step)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)

        runner.save_checkpoint(
            self.out_dir,
            os.path.basename(self.last_ckpt),
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        write_bytes(self.last_ckpt.encode(), Path(runner.work_dir, 'last_checkpoint'))
        if outdated is not None:
            Path(outdated).unlink(missing_ok=True)

    def _path(self, step: int) -> str:
        return os.path.join(self.out_dir, self.filename_tmpl.format(step))
