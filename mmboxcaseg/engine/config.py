"""Configs from the command line, and what is built from them."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from mmboxcaseg.errors import InputError


class ConfigOptions(DictAction):
    """The argparse action of ``--cfg-options``: dotted keys and values."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Parse; raises :class:`InputError` where an option is not KEY=VALUE."""
        for value in values:
            try:
                super().__call__(parser, namespace, [value], option_string)
            except (AssertionError, ValueError):
                raise InputError(
                    f'{option_string} takes KEY=VALUE, such as optim_wrapper.optimizer.lr=1e-3, '
                    f'not {value!r}'
                ) from None


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read a config file and override some of it.

    Args:
        path: The config file.
        options: Values by dotted key, as ``--cfg-options`` gives them.

    Returns:
        The config.

    Raises:
        InputError: The file is missing or cannot be read, or an option does not fit in it.
    """
    if not Path(path).is_file():
        raise InputError(f'there is no config file {path}')
    try:
        config = Config.fromfile(path)
    except Exception as error:  # a config is a program, and can fail in any way
        raise InputError(f'config {path} cannot be read: {_one_line(error)}') from error
    try:
        config.merge_from_dict(options or {})
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f'--cfg-options do not fit in {path}: {_one_line(error)}') from error
    return config


def set_work_dir(config: Config, work_dir: str | None, path: str | Path) -> None:
    """Decide where logs and checkpoints go.

    Args:
        config: Its ``work_dir`` is set.
        work_dir: What the command line says; it comes first, the config's own second, and
            ``work_dirs/`` with the config's name last.
        path: The config file.

    Raises:
        InputError: The folder cannot be made or written to.
    """
    if work_dir is not None:
        config.work_dir = work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs', Path(path).stem))
    folder = Path(config.work_dir).absolute()
    existing = next(f for f in (folder, *folder.parents) if os.path.exists(f))
    if not existing.is_dir():
        raise InputError(f'cannot make the work dir {folder}: {existing} is a file')
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f'cannot write to the work dir {folder}: no permission in {existing}')


def build_model(config: Config) -> nn.Module:
    """Build the model of a config.

    Args:
        config: The config; its ``default_scope`` becomes the current one.

    Returns:
        The model, its weights not initialised.

    Raises:
        InputError: The config has no model, or one that cannot be built.
    """
    init_default_scope(config.get('default_scope', 'mmdet'))
    with naming_config(config):
        return MODELS.build(config.model)


def build_runner(config: Config, loop: str) -> Runner:
    """Build all that a run needs, before it begins.

    A Runner alone puts datasets and optimizer off until its loop runs, where an error of the
    config and one of the program look the same.

    Args:
        config: The config.
        loop: ``'train'`` or ``'test'``: what the Runner is for.

    Returns:
        The Runner.

    Raises:
        InputError: A part of the config cannot be built.
    """
    with naming_config(config):
        runner = Runner.from_cfg(config)
        if loop == 'test':
            runner.test_loop  # noqa: B018 -- built by being asked for
            return runner
        runner.train_loop, runner.val_loop  # noqa: B018
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        return runner


def box_pipeline(config: Config, tta: bool = False) -> list[dict[str, Any]]:
    """Find the pipeline by which a test looks at a box; masks are predicted by it everywhere.

    Args:
        config: The config.
        tta: Whether it is that of the test-time augmentation.

    Returns:
        With ``tta`` the config's ``tta_pipeline``; otherwise the pipeline of the data set in
        ``test_dataloader``, whatever it is wrapped in, or of ``val_dataloader`` in a config without
        a test, or ``test_pipeline`` in one without either.

    Raises:
        InputError: If the config has none.

    Example:
        >>> pipeline = [dict(type='mmboxcaseg.BoxPatch', size=64)]
        >>> inner = dict(type='mmboxcaseg.BoxInstanceDataset', pipeline=pipeline)
        >>> wrapped = dict(type='RepeatDataset', times=2, dataset=inner)
        >>> box_pipeline(Config(dict(test_dataloader=dict(dataset=wrapped))))[0]['size']
        64
    """
    name = config.filename or 'the config'
    if tta:
        for key in ('tta_model', 'tta_pipeline'):
            if not config.get(key):
                raise InputError(f'--tta: {name} has no {key}, give it one')
        return config.tta_pipeline
    pipeline = config.get('test_pipeline')
    if loader := config.get('test_dataloader') or config.get('val_dataloader'):
        pipeline = innermost(loader.get('dataset') or {}).get('pipeline')
    if not pipeline:
        raise InputError(
            f'{name} does not say how a box is cropped: give it a test_dataloader whose dataset '
            'has a pipeline, or a test_pipeline'
        )
    return pipeline


def innermost(dataset: dict[str, Any]) -> dict[str, Any]:
    """The config of a data set without those of the ones that wrap it, such as RepeatDataset."""
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


@contextmanager
def naming_config(config: Config) -> Iterator[None]:
    """Turn what a wrong setting raises while something is built into one sentence.

    Args:
        config: The config that is built.

    Raises:
        InputError: Whatever of these was raised, with the config's name.
    """
    try:
        yield
    except InputError:
        raise
    except (
        AssertionError, AttributeError, ImportError, IndexError, KeyError, TypeError, ValueError
    ) as error:  # fmt: skip
        name = config.filename or 'the config'
        raise InputError(f'{name} cannot be built: {_one_line(error)}') from error


def _one_line(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())}'
