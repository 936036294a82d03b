"""Where the network that predicts masks runs, and in which precision."""

from __future__ import annotations

import torch

from mmboxcaseg.errors import InputError, check_count

# A CPU has one of these where it computes in bfloat16 by itself (x86, the last two Arm).
_BFLOAT16 = ('avx512_bf16', 'amx_bf16', 'bf16', 'sve_bf16')


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


def default_device() -> str:
    """The GPU if there is one, else the CPU."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def choose_amp(amp: bool, force: bool, device: str) -> bool:
    """Decide whether a tool runs in mixed precision, and say so where it was asked for in vain.

    Without instructions for it, bfloat16 makes a training step on a CPU 4 to 10 times as slow.

    Args:
        amp: Whether it was asked for.
        force: Whether it was asked for even if it is slow.
        device: Of the run, such as ``'cpu'`` or ``'cuda:1'``.

    Returns:
        Whether to.
    """
    if force or not amp or device.split(':')[0] != 'cpu':
        return amp or force
    if has_bfloat16():
        return True
    # Not above: `mmboxcaseg env` tells of a missing mmengine, which this imports.
    from mmboxcaseg.engine.distributed import is_first_process

    if is_first_process():
        print(
            '--amp: this CPU has no bfloat16 instructions, with which it would be slower; running '
            'in float32 (--force-amp insists)'
        )
    return False


def has_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16; no where torch cannot tell."""
    capabilities = getattr(torch.cpu, 'get_capabilities', dict)()
    return any(capabilities.get(name) for name in _BFLOAT16)
