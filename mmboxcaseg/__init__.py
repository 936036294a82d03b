"""BoxCaseg: instance segmentation from boxes, taught what objects look like by salient images."""

from __future__ import annotations

import warnings
from difflib import get_close_matches
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from mmboxcaseg.errors import InputError
from mmboxcaseg.ops import provide_ops

__version__ = '0.1.0'

__all__ = [
    'InputError',
    'TESTED_VERSIONS',
    '__version__',
    'config_path',
    'installed_distributions',
]

#: The versions that the package is tested with; other ones may well work.
TESTED_VERSIONS = {
    'torch': ('2.13.0', '2.14.1'),
    'mmengine': ('0.10.7',),
    'mmcv': ('2.1.0',),
    'mmdet': ('3.3.0',),
    'mmsegmentation': ('1.2.2',),
}

# Where packages keep their configs.
_CONFIG_FOLDERS = {'mmboxcaseg': 'configs', 'mmdet': '.mim/configs'}

# Other distributions that bring the same import name.
_ALTERNATIVES = {
    'mmengine': ('onedl-mmengine',),
    'mmcv': ('mmcv-lite', 'onedl-mmcv'),
    'mmdet': ('onedl-mmdetection',),
    'mmsegmentation': ('onedl-mmsegmentation',),
    'opencv-python': ('opencv-python-headless', 'opencv-contrib-python'),
}


def config_path(name: str) -> str:
    """Path of a config that is shipped with this package or with mmdet, to inherit it.

    mmengine resolves ``package::config`` for a fixed list of packages only, and needs setuptools'
    ``pkg_resources`` for it, which new releases no longer have.

    Args:
        name: Path below ``configs/``; with ``mmdet::`` in front, below mmdet's.

    Returns:
        The absolute path.

    Raises:
        InputError: If there is no such config.

    Example:
        In a config of one's own::

            _base_ = __import__('mmboxcaseg').config_path('boxcaseg/hrnet_w48_voc.py')
    """
    package, _, path_below = name.rpartition('::')
    package = package or 'mmboxcaseg'
    if package not in _CONFIG_FOLDERS:
        raise InputError(f'{name}: configs are those of {" and ".join(_CONFIG_FOLDERS)}')
    spec = find_spec(package)
    if spec is None:
        raise InputError(f'{name}: {package} is not installed')
    root = Path(spec.origin).parent / _CONFIG_FOLDERS[package]
    path = root / path_below
    if not path.is_file():
        known = sorted(str(config.relative_to(root)) for config in root.glob('[!_]*/**/*.py'))
        near = ', '.join(get_close_matches(path_below, known, n=3, cutoff=0)) or 'none at all'
        raise InputError(
            f'{package} has no config {path_below}; the nearest of its {len(known)} are {near}'
        )
    return str(path)


def installed_distributions(name: str) -> dict[str, str]:
    """What is installed under a distribution's name or under one with the same import name.

    Nothing is imported for it. More than one is a mistake: they write to the same folder.

    Args:
        name: Of a distribution, such as ``'mmcv'``, whose place ``mmcv-lite`` can take.

    Returns:
        Versions by the distributions' own names.
    """
    found = {}
    for distribution in (name, *_ALTERNATIVES.get(name, ())):
        try:
            found[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return found


def _warn_untested() -> None:
    untested = []
    for name, tested in TESTED_VERSIONS.items():
        installed = installed_distributions(name)
        if not installed:
            untested.append(f'no {name}')
        # A local version such as 2.13.0+cpu is the same release.
        elif next(iter(installed.values())).split('+')[0] not in tested:
            untested.append(' '.join(next(iter(installed.items()))))
    if untested:
        releases = (f'{name} {" or ".join(tested)}' for name, tested in TESTED_VERSIONS.items())
        warnings.warn(
            f'found {", ".join(untested)}; mmboxcaseg {__version__} is tested with '
            f'{", ".join(releases)}',
            stacklevel=2,
        )


provide_ops()
_warn_untested()
