"""Where the network that predicts masks runs."""

from __future__ import annotations

import torch

from mmboxcaseg.errors import InputError


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
