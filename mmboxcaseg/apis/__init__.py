"""What other programs call. Each name is imported when it is first asked for, torch with it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    'BoxCasegInferencer': 'apis.inferencer',
    'BoxCasegPredictor': 'apis.inference',
    'adapt': 'apis.self_training',
    'convert_masks': 'formats',
    'boxes_to_masks': 'apis.masking',
    'draw_masks': 'apis.drawing',
    'draw_proxies': 'apis.drawing',
    'export_model': 'apis.exporting',
    'generate_proxy_masks': 'apis.proxy_generation',
    'init_model': 'apis.inference',
    'make_baseline_masks': 'apis.baseline_masks',
    'make_detector_masks': 'apis.detector_masks',
    'make_report': 'apis.reporting',
    'make_toy_dataset': 'apis.toy_dataset',
    'merge_corrected': 'apis.reviewing',
    'refine_proxy_masks': 'coco',
    'review_masks': 'apis.reviewing',
    'self_train': 'apis.self_training',
    'test': 'apis.training',
    'train': 'apis.training',
}

__all__ = [*_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'mmboxcaseg.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
