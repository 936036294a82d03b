"""Configs from the command line, and what is built from them."""

from __future__ import annotations

import copy
import os
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn

import mmboxcaseg
from mmboxcaseg.engine.hooks import FiniteLossHook, FirstIterationsHook, PlainCheckpointHook
from mmboxcaseg.errors import InputError, listing

# Of a longer list of numbers or names in a config, such as indices, so many are logged.
_LOGGED = 20

# What a Runner wants of a split, or nothing of it.
_LOOP = ('dataloader', 'cfg', 'evaluator')

# Top-level settings that are read: all others only name something in a config file.
_READ = {
    *signature(Runner).parameters,
    *('activation_checkpointing', 'auto_scale_lr', 'compile', 'efficient_conv_bn_eval'),
    *('find_unused_parameters', 'model_wrapper_cfg', 'sync_bn', 'test_pipeline', 'tta_model'),
    'tta_pipeline',
}


def parse_options(texts: Iterable[str]) -> dict[str, Any]:
    """Parse what ``--cfg-options`` gives.

    Args:
        texts: ``KEY=VALUE`` each, KEY with dots; of one KEY the last counts.

    Returns:
        Values by key: numbers, booleans, None, text, and lists and tuples of them.

    Raises:
        InputError: If one is not KEY=VALUE.

    Example:
        >>> parse_options(['optim_wrapper.optimizer.lr=1e-3', 'model.neck=None'])
        {'optim_wrapper.optimizer.lr': 0.001, 'model.neck': None}
    """
    action, namespace = DictAction(['--cfg-options'], 'options'), Namespace(options={})
    for text in texts:
        try:
            action(ArgumentParser(), namespace, [text])
        except (AssertionError, ValueError):
            raise InputError(
                f'--cfg-options takes KEY=VALUE, such as optim_wrapper.optimizer.lr=1e-3, '
                f'not {text!r}'
            ) from None
    return namespace.options


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read a config file and override some of it.

    Args:
        path: The config file, or the name of one of the package's, such as
            ``boxcaseg/hrnet_w48_voc.py``, where there is no file of that name.
        options: Values by dotted key, as ``--cfg-options`` gives them.

    Returns:
        The config.

    Raises:
        InputError: If the file is missing or cannot be read, or an option does not fit in it or
            has no effect.
    """
    if not Path(path).is_file():
        try:
            path = mmboxcaseg.config_path(str(path).removeprefix('configs/'))
        except InputError as error:
            raise InputError(f'there is no config file {path}, and {error}') from None
    if Path(path).suffix not in ('.py', '.json'):
        # mmengine loads YAML in the way that runs what its tags name.
        raise InputError(f'config {path} is neither .py nor .json: write it as one of these')
    try:
        config = Config.fromfile(path)
    except Exception as error:  # a config is a program, and can fail in any way
        raise InputError(f'config {path} cannot be read: {_one_line(error)}') from error
    for key in options or {}:
        _check_is_read(key.split('.')[0], key, config)
    override(config, options or {})
    return config


def _check_is_read(name: str, key: str, config: Config) -> None:
    if name in _READ:
        return
    if name in config:
        takers = [
            path
            for path in _dotted(config)
            if path.endswith(f'.{name}') and path.split('.')[0] in _READ
        ]
        raise InputError(
            f'{key}: setting {name} has no effect, for {config.filename} has used it already: set '
            f'{listing(takers) if takers else "what it is used for"}'
        )
    near = get_close_matches(name, sorted(_READ), n=1)
    hint = f'; {near[0]} is' if near else ''
    raise InputError(f'{key}: {name} is no setting of a run{hint}')


def _dotted(settings: Mapping, prefix: str = '') -> Iterator[str]:
    for key, value in settings.items():
        yield f'{prefix}{key}'
        if isinstance(value, Mapping):
            yield from _dotted(value, f'{prefix}{key}.')


def override(config: Config, options: dict[str, Any]) -> None:
    """Override settings of a config.

    Args:
        config: The config; it is changed.
        options: Values by dotted key. An entry of a list goes by its place, or by its type, whose
            scope is left out, as in ``train_dataloader.dataset.pipeline.RandomFlip.prob``; an
            entry that is set itself is replaced, one that is set to None is left out.

    Raises:
        InputError: If an option does not fit in the config.

    Example:
        >>> config = Config(dict(pipeline=[dict(type='mmdet.Resize'), dict(type='RandomFlip')]))
        >>> override(config, {'pipeline.RandomFlip.prob': 0.5, 'pipeline.Resize': None})
        >>> config.pipeline
        [{'type': 'RandomFlip', 'prob': 0.5}]
    """
    for key, value in options.items():
        try:
            config.merge_from_dict(_by_place(config, key, copy.deepcopy(value)))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f'{key}={value!r} does not fit in {config.filename}: {_one_line(error)}'
            ) from error


def _by_place(config: Config, key: str, value: Any) -> dict[str, Any]:
    """The option as mmengine takes it: places for types, and for an entry its whole list."""
    *parents, last = key.split('.')
    node, names = config, []
    for name in parents:
        if isinstance(node, list):
            place = _place(node, name)
            node, name = node[place], str(place)
        else:
            node = node.get(name) if isinstance(node, (dict, Config)) else None
        names.append(name)
    if not isinstance(node, list):
        return {'.'.join([*names, last]): value}
    place = _place(node, last)
    entries = [] if value is None else [value]
    return {'.'.join(names): [*node[:place], *entries, *node[place + 1 :]]}


def _place(entries: list, name: str) -> int:
    if name.isdigit() and int(name) < len(entries):
        return int(name)
    types = [class_name(entry) if isinstance(entry, dict) else 'None' for entry in entries]
    if types.count(name) != 1:
        raise ValueError(f'{name} must name one of {", ".join(types)}')
    return types.index(name)


def set_work_dir(config: Config, work_dir: str | None, path: str | Path) -> None:
    """Decide where logs and checkpoints go.

    Args:
        config: Its ``work_dir`` is set.
        work_dir: What the command line says; it comes first, the config's own second, and
            ``work_dirs/`` with the config's name last.
        path: The config file.

    Raises:
        InputError: If the folder cannot be made or written to.
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
        InputError: If the config has no model, or one that cannot be built.
    """
    init_default_scope(config.get('default_scope', 'mmdet'))
    with config_errors(config):
        return MODELS.build(config.model)


def build_runner(config: Config, loop: str) -> Runner:
    """Build all that a run needs, before it begins.

    Without a ``val_dataloader`` there is no validation, and without a ``test_dataloader`` no test,
    whatever else the config has for them. A loader of ``num_workers=0`` has no persistent workers.

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
    for split in ('val', 'test'):
        if not config.get(f'{split}_dataloader'):
            config.merge_from_dict({f'{split}_{key}': None for key in _LOOP})
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if (config.get(name) or {}).get('num_workers') == 0:
            config[name].persistent_workers = False
    with config_errors(config):
        runner = _Runner.from_cfg(config)
        runner.register_hook(FirstIterationsHook())
        runner.register_hook(PlainCheckpointHook())
        if loop == 'test':
            runner.test_loop  # noqa: B018 -- built by being asked for
            return runner
        runner.register_hook(FiniteLossHook())
        runner.train_loop, runner.val_loop  # noqa: B018
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        return runner


class _Runner(Runner):
    """Logs the config with long lists cut, which would fill screens; the work dir has it whole."""

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        whole, self.cfg = self.cfg, Config(_cut(self.cfg.to_dict()))
        super()._log_env(env_cfg)
        self.cfg = whole


def _cut(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _cut(value) for key, value in node.items()}
    if not isinstance(node, list | tuple):
        return node
    more = 0 if any(dicts(node)) else max(len(node) - _LOGGED, 0)
    return [*map(_cut, node[: len(node) - more]), *[f'and {more} more'] * bool(more)]


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


def class_name(config: dict[str, Any]) -> str:
    """Name of the class that a part of a config is to be of, without its scope."""
    return str(config.get('type')).rsplit('.', 1)[-1]


def dicts(node: Any, skip: str = '') -> Iterator[dict[str, Any]]:
    """Find all dicts of a part of a config, however deep they lie in wrappers and lists.

    Args:
        node: The part.
        skip: Key whose values are not looked at.

    Yields:
        The dicts, outermost first.
    """
    if isinstance(node, dict):
        yield node
        node = [value for key, value in node.items() if key != skip]
    if isinstance(node, list | tuple):
        for child in node:
            yield from dicts(child, skip)


@contextmanager
def config_errors(config: Config) -> Iterator[None]:
    """Turn what a wrong setting raises while something is built into one sentence.

    Args:
        config: The config that is built.

    Raises:
        InputError: If one of these was raised. It may be a fault of the code as well as of the
            config: the sentence says where it was raised.
    """
    try:
        yield
    except InputError:
        raise
    except (
        AssertionError, AttributeError, ImportError, IndexError, KeyError, TypeError, ValueError
    ) as error:  # fmt: skip
        name = config.filename or 'the config'
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(
            f'{name} cannot be built: {_one_line(error)} ({frame.filename}:{frame.lineno})'
        ) from error


def _one_line(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())}'
