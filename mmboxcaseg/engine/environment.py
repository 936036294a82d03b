"""What is installed, which is what a bug report has to say first."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, requires

import mmboxcaseg


def describe_environment() -> dict[str, str]:
    """What is installed, what computes, and what is missing.

    Returns:
        Text by name, in the order to show it in. ``missing`` is there if a package is not, and
        ``installed twice`` if two distributions bring the same package.
    """
    found = {'mmboxcaseg': mmboxcaseg.__version__, 'Python': platform.python_version()}
    found['platform'] = f'{platform.platform()}, {os.cpu_count()} cores'
    twice = []
    for name in (*mmboxcaseg.TESTED_VERSIONS, 'torchvision', 'numpy', 'opencv-python'):
        installed = mmboxcaseg.installed_distributions(name)
        found[name] = ', '.join(f'{d} {v}' for d, v in installed.items()) or 'not installed'
        if len(installed) > 1:
            twice.append(' and '.join(installed))
    found.update(_describe_torch())
    found['ops'] = _describe_ops()
    missing = [name for name in _required() if not mmboxcaseg.installed_distributions(name)]
    if missing:
        found['missing'] = ', '.join(missing)
    if twice:
        found['installed twice'] = '; '.join(twice)
    return found


def _describe_torch() -> dict[str, str]:
    try:
        import torch

        from mmboxcaseg.engine.device import has_bfloat16
    except (ImportError, OSError) as error:
        return {'GPU': f'unknown, for torch does not load: {error}'}
    count = torch.cuda.device_count()
    gpus = ', '.join(torch.cuda.get_device_name(i) for i in range(count)) or 'none'
    cuda = torch.version.cuda or 'not in this build'
    return {
        'GPU': f'{gpus} (CUDA {cuda})',
        'CPU': f'bfloat16 {"by instructions" if has_bfloat16() else "emulated"}, '
        f'{torch.get_num_threads()} threads',
    }


def _describe_ops() -> str:
    try:
        import mmcv._ext
    except (ImportError, OSError) as error:
        return f"none, for mmcv's do not load: {error}"
    return f'nms and roi_align by {getattr(mmcv._ext, "SOURCE", "mmcv, compiled")}'


def _required() -> list[str]:
    """Distributions that the package cannot do without, by their names."""
    try:
        lines = requires('mmboxcaseg') or []
    except PackageNotFoundError:  # a clone that is not installed
        return list(mmboxcaseg.TESTED_VERSIONS)
    names = [line.split(';')[0] for line in lines if 'extra ==' not in line]
    return [*mmboxcaseg.TESTED_VERSIONS, *(name.split('>')[0].strip() for name in names)]
