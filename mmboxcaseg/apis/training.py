"""Training and testing from a config, with all that can be known to be wrong told first."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.runner import find_latest_checkpoint

from mmboxcaseg.engine.checkpoint import allow_checkpoint_types
from mmboxcaseg.engine.checks import (
    check_checkpoint,
    check_data,
    check_mask_head,
    check_pretrained,
    check_sampler,
    check_slack,
)
from mmboxcaseg.engine.config import box_pipeline, build_runner, innermost
from mmboxcaseg.engine.distributed import is_first_process, start_process
from mmboxcaseg.engine.reading import backend_args
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import check_output, lock, make_folder, write_json


def train(
    config: Config,
    *,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    launcher: str = 'none',
) -> None:
    """Train the model of a config.

    Args:
        config: The config, its ``work_dir`` set; it is changed.
        resume: A checkpoint to go on from, or ``'auto'`` for the latest one in the work dir.
        amp: Whether to train in mixed precision: float16 on a GPU, bfloat16 on a CPU.
        auto_scale_lr: Whether to scale the learning rate from the config's
            ``auto_scale_lr.base_batch_size``.
        launcher: What started the processes: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        InputError: If something that the config names cannot be used, see
            :mod:`mmboxcaseg.engine.checks`; if another training is at work in the work dir, or a
            loss is no number.

    Example:
        >>> from mmboxcaseg.engine.config import load_config
        >>> config = load_config('configs/boxcaseg/hrnet_w48_voc.py')  # doctest: +SKIP
        >>> config.work_dir = 'work_dirs/voc'  # doctest: +SKIP
        >>> train(config)  # doctest: +SKIP
    """
    config.launcher = launcher
    if amp:
        use_amp(config)
    if auto_scale_lr:
        if 'base_batch_size' not in config.get('auto_scale_lr', {}):
            raise InputError(
                f'--auto-scale-lr: {config.filename} has no auto_scale_lr.base_batch_size'
            )
        config.auto_scale_lr.enable = True
    if resume:
        config.resume = True
        config.load_from = None if resume == 'auto' else resume
    allow_checkpoint_types()
    held = None
    if is_first_process():
        _check_training(config)
        make_folder(Path(config.work_dir))
        held = lock(Path(config.work_dir, '.train.lock'), config.work_dir)
    start_process(config)
    runner = build_runner(config, 'train')
    _compare_batch_size(config, runner.world_size)
    runner.train()
    if held:
        held.close()


def use_amp(config: Config) -> None:
    """Let a training run in mixed precision: float16 on a GPU, bfloat16 on a CPU.

    Args:
        config: The config; it is changed.
    """
    if get_device() == 'cpu':
        config.optim_wrapper.type = 'mmboxcaseg.AutocastOptimWrapper'
    else:
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.setdefault('loss_scale', 'dynamic')


def _compare_batch_size(config: Config, world_size: int) -> None:
    """Say so where the learning rate is for batches of another size than the run's."""
    scaling = config.get('auto_scale_lr') or {}
    base = scaling.get('base_batch_size')
    size = config.train_dataloader.batch_size * world_size
    if base and size != base and not scaling.get('enable'):
        print_log(
            f'the learning rate of {config.filename} is for {base} images at a time, and this run '
            f'has {size}: --auto-scale-lr scales it',
            'current',
            logging.WARNING,
        )


def _check_training(config: Config) -> None:
    if not isinstance(config.get('model'), dict):
        raise InputError(f'{config.filename} is no config of a training: it has no model')
    check_sampler(config)
    check_slack(config, config.get('val_dataloader') or {})
    check_mask_head(config)
    check_pretrained(config.model)
    path = config.get('load_from')
    resume = bool(config.get('resume'))
    if resume:
        path = path or _latest_checkpoint(config)
        if not path:
            raise InputError(
                f'there is nothing to resume in {config.work_dir}: its file last_checkpoint is '
                'missing or empty; train without --resume, or give it a checkpoint'
            )
    check_checkpoint(config, path, resume=resume, strict=resume)
    # After the model: what an old config says of it is told in one sentence.
    check_data(config, ('train', 'val'))


def _latest_checkpoint(config: Config) -> str | None:
    """The checkpoint to resume from; where the folder was moved, that of its name in it."""
    path = find_latest_checkpoint(config.work_dir)
    if path and not os.path.isfile(path):
        here = os.path.join(config.work_dir, os.path.basename(path))
        if not os.path.isfile(here):
            raise InputError(
                f'{path}, which the file last_checkpoint of {config.work_dir} names, is not there, '
                f'nor is {here}: give --resume a checkpoint'
            )
        path = config.load_from = here
    return path


def test(
    config: Config,
    checkpoint: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    tta: bool = False,
    amp: bool = False,
    show: bool = False,
    show_dir: str | None = None,
    wait_time: float = 2,
    launcher: str = 'none',
) -> dict[str, Any]:
    """Score a checkpoint with the metrics of a config.

    Args:
        config: The config, its ``work_dir`` set; it is changed.
        checkpoint: The checkpoint file.
        out: JSON file that gets the metrics too.
        tta: Whether to average over the views of the config's ``tta_pipeline``.
        amp: Whether the network runs in half precision.
        show: Whether predictions are shown in a window.
        show_dir: Folder to paint predictions into, below the work dir.
        wait_time: Seconds for which each is shown.
        launcher: As in :func:`train`.

    Returns:
        Metrics by name.

    Raises:
        InputError: If something that the config names cannot be used.

    Example:
        >>> from mmboxcaseg.engine.config import load_config
        >>> config = load_config('configs/boxcaseg/hrnet_w48_voc.py')  # doctest: +SKIP
        >>> config.work_dir = 'work_dirs/voc'  # doctest: +SKIP
        >>> test(config, 'work_dirs/voc/epoch_40.pth')  # doctest: +SKIP
    """
    config.launcher = launcher
    config.load_from = str(checkpoint)
    config.resume = False
    if not config.get('test_dataloader'):
        raise InputError(f'{config.filename} has no test_dataloader, so there is nothing to score')
    pipeline = box_pipeline(config, tta=True) if tta else None
    check_slack(config, pipeline or config.test_dataloader)
    if amp:
        config.test_cfg = dict(config.get('test_cfg') or {}, fp16=True)
    if show or show_dir:
        hook = config.get('default_hooks', {}).get('visualization')
        if hook is None:
            raise InputError(
                f'--show and --show-dir: {config.filename} has no default_hooks.visualization'
            )
        hook.update(draw=True, show=show, wait_time=wait_time, test_out_dir=show_dir)
        # mmdet's own reads each image once more.
        if hook.type == 'DetVisualizationHook' and (reading := backend_args(config)):
            hook.setdefault('backend_args', reading)
    allow_checkpoint_types()
    if is_first_process():
        if out:
            check_output(out, inputs=[config.filename, checkpoint])
        check_checkpoint(config, checkpoint)
        check_data(config, ('test',))
    if tta:
        config.model = ConfigDict(**config.tta_model, module=config.model)
        innermost(config.test_dataloader.dataset).pipeline = pipeline
    start_process(config)
    metrics = build_runner(config, 'test').test()
    if out and is_first_process():
        write_json({name: float(value) for name, value in metrics.items()}, out)
    return metrics
