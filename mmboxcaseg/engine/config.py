"""Configs from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmboxcaseg.errors import InputError


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
    """
    if work_dir is not None:
        config.work_dir = work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs', Path(path).stem))


def _one_line(error: Exception) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())}'
