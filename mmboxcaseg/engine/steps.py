"""Work that consists of calls of several tools, each done once."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmboxcaseg.engine.distributed import end_with_parent
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import lock, write_bytes

# Seconds between two lines on a screen; a file gets fewer.
_PAUSE = 1.0


@dataclass
class Step:
    """A call of a tool, which is done when the file ``output`` is there.

    The output of a training is its ``last_checkpoint``, and must name the checkpoint ``last``.
    """

    title: str
    command: list[str]
    output: Path
    last: str = ''

    @property
    def done(self) -> bool:
        """Whether it has run to its end."""
        if not self.output.is_file() or not self.output.stat().st_size:
            return False
        return not self.last or Path(self.output.read_text().strip()).name == self.last

    def run(self, log: Path | None = None) -> None:
        """Call the tool.

        Args:
            log: File for what it says; how long it still takes is shown instead.

        Raises:
            InputError: If it fails, or another process is at work on the output's folder.
        """
        sys.stdout.flush()
        folder = self.output.parent
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder / '.lock', folder):
            code = _run_aside(self.command, log) if log else _run(self.command)
        if code:
            raise InputError(
                f'{folder}: {self.title} ended with {code}, see {log or "above"}: mend that and '
                'call again, what is done is kept'
            )


@dataclass
class Training:
    """A config without bases, and the folder where its training lies."""

    config: Config
    work_dir: Path

    @property
    def config_file(self) -> Path:
        """Where the config lies for the tools: in the work dir, the Runner would replace it."""
        return self.work_dir.with_name(f'{self.work_dir.name}.py')

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint."""
        loop = self.config.train_cfg
        name = f'epoch_{loop.max_epochs}' if 'max_epochs' in loop else f'iter_{loop.max_iters}'
        return self.work_dir / f'{name}.pth'

    @property
    def metrics(self) -> Path:
        """Where the scores go."""
        return self.work_dir / 'metrics.json'

    def write_config(self) -> None:
        """Lay the config down for the tools.

        Raises:
            InputError: If another config lies there.
        """
        text = self.config.pretty_text
        if self.config_file.is_file() and self.config_file.read_bytes() != text.encode():
            raise InputError(
                f'{self.work_dir} holds a training with another config: remove it or give '
                'another --work-dir'
            )
        self.config_file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(text.encode(), self.config_file)

    def train(self, num_gpus: int, *arguments: str) -> Step:
        """Begin or resume the training."""
        last = self.work_dir / 'last_checkpoint'
        call = [self.config_file, '--work-dir', self.work_dir, *arguments]
        if last.is_file():
            call.append('--resume')
        return Step('train', launch('train', call, num_gpus), last, self.checkpoint.name)

    def generate(
        self, boxes: dict[str, Any], out: Path, num_gpus: int, *arguments: str | Path
    ) -> Step:
        """Give the boxes of a training set proxy masks by the last checkpoint."""
        call = [self.config_file, self.checkpoint, *arguments]
        call += ['--ann', Path(boxes.data_root, boxes.ann_file)]
        call += ['--images', Path(boxes.data_root, boxes.data_prefix.img)]
        return Step('proxy masks', launch('generate', [*call, '--out', out], num_gpus), out)

    def test(self, num_gpus: int, *arguments: str) -> Step:
        """Score the last checkpoint."""
        call = [self.config_file, self.checkpoint, '--work-dir', self.work_dir]
        call += ['--out', self.metrics, *arguments]
        return Step('test', launch('test', call, num_gpus), self.metrics)


@dataclass
class Trained(Training):
    """A network that is trained already, as a round that others go on from."""

    weights: Path

    @property
    def checkpoint(self) -> Path:
        """Its weights, wherever they lie."""
        return self.weights

    def train(self, num_gpus: int, *arguments: str) -> Step:
        """What is done."""
        return Step('train', [], self.weights)


def _run(command: list[str]) -> int:
    return subprocess.run(command, preexec_fn=end_with_parent).returncode


def _run_aside(command: list[str], log: Path) -> int:
    """Run a command, its output in a file and on the screen how long it still takes."""
    begin, end, pauses = ('\r\033[K', '', 1) if sys.stdout.isatty() else ('', '\n', 10)
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with (
        log.open('wb') as file,
        subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, preexec_fn=end_with_parent
        ) as process,
    ):
        try:
            while True:
                try:
                    return process.wait(pauses * _PAUSE)
                except subprocess.TimeoutExpired:
                    seconds = f'{time.monotonic() - start:.0f} s'
                    print(f'{begin}   {seconds}, to go: {remaining_time(log)}', end=end, flush=True)
        finally:
            process.terminate()
            print(begin, end='', flush=True)


def remaining_time(log: Path) -> str:
    """The last remaining time that mmengine or tqdm wrote.

    Args:
        log: File with what a tool has said so far.

    Returns:
        Hours, minutes and seconds, or ``'?'``.
    """
    with log.open('rb') as file:
        file.seek(max(log.stat().st_size - 4096, 0))
        text = file.read().decode(errors='replace')
    # That of a training, not of the validation within it.
    found = re.findall(r'\(train\).*eta: ([\d:]+)|<(\d+:[\d:]+)', text)
    return ''.join(found[-1]) if found else '?'


def launch(command: str, arguments: list[str | Path], num_gpus: int = 1) -> list[str]:
    """Words that call a subcommand of ``mmboxcaseg``, in one process or one for each GPU.

    Args:
        command: The subcommand.
        arguments: What it is given.
        num_gpus: How many processes.

    Returns:
        The words.

    Example:
        >>> launch('train', ['config.py'])[1:]
        ['-m', 'mmboxcaseg', 'train', 'config.py']
    """
    words = [sys.executable]
    if num_gpus > 1:
        words += ['-m', 'mmboxcaseg.engine.launch', f'--nproc_per_node={num_gpus}']
        arguments = [*arguments, '--launcher', 'pytorch']
    return [*words, '-m', 'mmboxcaseg', command, *map(str, arguments)]
