"""What other programs call. Each name is imported when it is first asked for, torch with it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    'BoxCasegPredictor': 'inference',
    'draw_masks': 'drawing',
    'generate_proxy_masks': 'proxy_generation',
    'init_model': 'inference',
    'make_baseline_masks': 'baseline_masks',
    'make_toy_dataset': 'toy_dataset',
    'refine_proxy_masks': 'proxy_refinement',
    'self_train': 'self_training',
    'test': 'training',
    'train': 'training',
}

__all__ = [*_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
