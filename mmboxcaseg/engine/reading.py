"""How a config reads images: one rule for its training, its tests, its pictures and its masks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mmengine.config import Config

from mmboxcaseg.images import BACKEND, ImageReader

from .config import dicts

_LOADER = 'mmboxcaseg.LoadPatchImage'
_SETTINGS = tuple(asdict(ImageReader()))


def reading_of(config: Any) -> ImageReader:
    """Find how images are read.

    Args:
        config: A config, a pipeline or a part of one; the first transform in it that loads images
            by this package's rule tells.

    Returns:
        The reader; that of the defaults where none does.

    Raises:
        InputError: If a setting is wrong.
    """
    for part in _loaders(config):
        return ImageReader.of(**{key: part[key] for key in _SETTINGS if key in part})
    return ImageReader()


def set_reading(config: Config, reader: ImageReader) -> None:
    """Have all that loads images by this package's rule do it in one way.

    Args:
        config: The config; changed.
        reader: The way.
    """
    for part in _loaders(config):
        part.update(asdict(reader))


def backend_args(config: Config) -> dict[str, Any] | None:
    """What mmdet's transforms and hooks are to be given to read as the tests of a config do."""
    for part in dicts(config.get('test_dataloader')):
        if part.get('backend') == BACKEND:
            return dict(part)
    return None


def _loaders(config: Any) -> list[dict[str, Any]]:
    parts = list(dicts(config._cfg_dict if isinstance(config, Config) else config))
    return [part for part in parts if part.get('type') == _LOADER] + [
        part for part in parts if part.get('backend') == BACKEND
    ]
