"""The compiled ops of mmcv that mmdet needs, for environments that have none.

mmdet and mmseg import all of ``mmcv.ops``, which needs the compiled module ``mmcv._ext``. The
package calls two of its ops, ``nms`` and ``roi_align``. Where mmcv has no ``_ext`` (``mmcv-lite``),
:func:`provide_ops` lets :mod:`mmboxcaseg.ops.mmcv_ext` take its place.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

__all__ = ['provide_ops']

_EXT = 'mmcv._ext'


class _ExtFinder(MetaPathFinder):
    """Finds ``mmcv._ext`` after every other finder has failed to."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _EXT:
            return None
        return spec_from_file_location(name, Path(__file__).with_name('mmcv_ext.py'))


def provide_ops() -> None:
    """Let mmdet import and Mask R-CNN run where mmcv has no compiled ops.

    Compiled ops are found first, so an environment that has them is not touched. Importing
    ``mmboxcaseg`` calls this; it has to come before the import of ``mmdet``. Calling it again
    changes nothing.

    Example:
        >>> import mmboxcaseg
        >>> from mmcv.ops import nms
    """
    if not any(isinstance(finder, _ExtFinder) for finder in sys.meta_path):
        sys.meta_path.append(_ExtFinder())
