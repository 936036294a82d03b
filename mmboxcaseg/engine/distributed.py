"""Several processes, also on machines without a GPU."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
from datetime import timedelta
from typing import Any

import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device

from mmboxcaseg.engine.config import class_name, dicts
from mmboxcaseg.errors import InputError


def is_first_process() -> bool:
    """Whether this process is the one that checks and reports, before any group is made."""
    ranks = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return int(next((os.environ[rank] for rank in ranks if rank in os.environ), 0)) == 0


def start_process(config: Config) -> None:
    """Prepare one process of a distributed run; does nothing for a run of one process.

    On a CPU mmengine's own way fails three times over: its launchers choose a CUDA device, its
    DDP is given that device's number, and SyncBN runs on GPUs alone.

    Args:
        config: Config of the run, its ``launcher`` set.

    Raises:
        InputError: If there is no GPU, and the launcher is not torchrun.
    """
    if config.launcher == 'none':
        return
    if config.launcher == 'pytorch':
        end_with_parent()
    if get_device() != 'cpu':
        return
    if config.launcher != 'pytorch':
        raise InputError(
            f'launcher {config.launcher} needs GPUs, and none is found: '
            'on CPUs use tools/dist_train.sh or tools/dist_test.sh'
        )
    wrapper = config.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=config.get('find_unused_parameters', False),
    )
    config.model_wrapper_cfg = dict(wrapper, device_ids=None)
    config.sync_bn = None
    replaced = replace_sync_bn(config.model)
    if replaced and is_first_process():
        print(f'no GPU: {replaced} SyncBN settings of the model are BN, one for each process')
    _init_gloo()


def join_processes(launcher: str) -> None:
    """Join the processes of a run that is not a Runner's: each works alone, rank 0 gathers.

    Args:
        launcher: ``'pytorch'`` for torchrun; with ``'none'`` nothing is done.
    """
    if launcher == 'none':
        return
    end_with_parent()
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    # On GPUs too: only a few Python objects are sent, and one rank may wait long for another.
    _init_gloo(timeout=timedelta(days=30))
    # A process that ends with threads of gloo still there is aborted, now and then.
    atexit.register(torch.distributed.destroy_process_group)


def _init_gloo(**settings: Any) -> None:
    # While it waits for the others no Python runs that could handle SIGTERM, by which torchrun ends
    # them where one has failed: it would wait 30 s and kill them.
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        torch.distributed.init_process_group('gloo', **settings)
    finally:
        signal.signal(signal.SIGTERM, before)


def end_with_parent() -> None:
    """Let this process be killed when the one that started it ends, however that ends.

    A torchrun that is killed leaves its processes running, to be in the way of the next run.
    """
    if sys.platform == 'linux':
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def replace_sync_bn(config: Any) -> int:
    """Turn every SyncBN into BN, in place.

    Args:
        config: A model config or any part of one.

    Returns:
        How many were replaced.
    """
    found = [part for part in dicts(config) if class_name(part) in ('SyncBN', 'MMSyncBN')]
    for part in found:
        part['type'] = 'BN'
    return len(found)
