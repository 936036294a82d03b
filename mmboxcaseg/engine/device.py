"""Where the network that predicts masks runs."""

from __future__ import annotations

import torch

from mmboxcaseg.errors import InputError, check_count


def check_device(name: str) -> None:
    """Check, before a network is loaded, that it can run there.

    Args:
        name: Of a device, such as ``'cpu'`` or ``'cuda:1'``.

    Raises:
        InputError: If this machine has no such device.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError):
        raise InputError(f'device {name!r} is not available here: try --device cpu') from None


def check_gpus(num_gpus: int) -> None:
    """Make sure that as many processes as asked for have a GPU each, where there are GPUs.

    Raises:
        InputError: If there are fewer.
    """
    check_count('--gpus', num_gpus)
    if 0 < torch.cuda.device_count() < num_gpus:
        raise InputError(f'--gpus {num_gpus}: this machine has {torch.cuda.device_count()}')
