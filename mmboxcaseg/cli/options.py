"""Options that several subcommands have."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any


def add_network(parser: ArgumentParser) -> None:
    """CONFIG and CHECKPOINT, for :func:`mmboxcaseg.pretrained.or_shipped`."""
    parser.add_argument(
        'config', nargs='?', help='config of a BoxCaseg (the network that comes with the package)'
    )
    parser.add_argument('checkpoint', nargs='?', help='its checkpoint')


def add_amp_options(parser: ArgumentParser) -> None:
    """``--amp`` and ``--force-amp``, for :func:`mmboxcaseg.engine.device.choose_amp`."""
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on a GPU, bfloat16 on a CPU that has instructions for it; '
        'on other CPUs this changes nothing',
    )
    parser.add_argument(
        '--force-amp', action='store_true', help='--amp, even where a CPU must emulate bfloat16'
    )


def add_config_options(parser: ArgumentParser, example: str) -> None:
    """``--cfg-options``, for :func:`mmboxcaseg.engine.config.parse_options`."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help=f'override settings of the config, such as {example}',
    )


def add_launcher_option(parser: ArgumentParser, *launchers: str) -> None:
    """``--launcher``, which the scripts for several processes set."""
    parser.add_argument('--launcher', choices=['none', *launchers], default='none')


def add_tta_option(parser: ArgumentParser) -> None:
    """``--tta``."""
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation: average over all views of the config's tta_pipeline",
    )


def add_device_option(parser: ArgumentParser) -> None:
    """``--device``."""
    parser.add_argument(
        '--device', help='where the network runs, such as cpu or cuda:1 (the GPU if there is one)'
    )


def add_rounds_options(parser: ArgumentParser, example: str) -> None:
    """What training in rounds takes, whatever the rounds are, for :func:`rounds_settings`."""
    parser.add_argument(
        '--gpus', type=int, help='processes to train and test with (default: one for each GPU)'
    )
    parser.add_argument('--seed', type=int, help="in place of the configs' randomness.seed")
    add_amp_options(parser)
    add_config_options(parser, example)
    parser.add_argument('--dry-run', action='store_true', help='print the commands that are left')


def rounds_settings(args: Namespace) -> dict[str, Any]:
    """What :func:`add_rounds_options` took, as functions of ``apis`` take it."""
    from mmengine.device import get_device

    from mmboxcaseg.engine.config import parse_options
    from mmboxcaseg.engine.device import choose_amp

    return dict(
        rounds=args.rounds,
        options=parse_options(args.cfg_options),
        gpus=args.gpus,
        seed=args.seed,
        amp=choose_amp(args.amp, args.force_amp, get_device()),
        dry_run=args.dry_run,
    )
