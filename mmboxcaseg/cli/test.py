"""Score a checkpoint with the metrics of its config."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from .options import add_amp_options, add_config_options, add_launcher_option, add_tta_option


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='where the log goes (work_dirs/ and the config name)')
    parser.add_argument('--out', metavar='METRICS.json', help='write the metrics to this file too')
    add_tta_option(parser)
    add_amp_options(parser)
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument(
        '--show-dir', help="paint the predictions into this folder, made in the run's own folder"
    )
    parser.add_argument('--wait-time', type=float, default=2, help='seconds for --show')
    add_config_options(parser, 'test_dataloader.batch_size=8')
    add_launcher_option(parser, 'pytorch', 'slurm', 'mpi')


def main(args: Namespace) -> None:
    """Score."""
    from mmengine.device import get_device

    from mmboxcaseg.apis.training import test
    from mmboxcaseg.engine.config import load_config, parse_options, set_work_dir
    from mmboxcaseg.engine.device import choose_amp

    config = load_config(args.config, parse_options(args.cfg_options))
    set_work_dir(config, args.work_dir, args.config)
    test(
        config,
        args.checkpoint,
        out=args.out,
        tta=args.tta,
        amp=choose_amp(args.amp, args.force_amp, get_device()),
        show=args.show,
        show_dir=args.show_dir,
        wait_time=args.wait_time,
        launcher=args.launcher,
    )
