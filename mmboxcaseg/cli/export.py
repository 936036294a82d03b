"""Write a network as an ONNX file or a program of torch.export, to run without this package."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from .options import add_config_options, add_network


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    add_network(parser)
    parser.add_argument('out', type=Path, help='file to write, .onnx or .pt2')
    add_config_options(parser, 'model.test_cfg.slack=0.1')


def main(args: Namespace) -> None:
    """Export."""
    from mmboxcaseg.apis.exporting import export_model
    from mmboxcaseg.engine.config import load_config, parse_options
    from mmboxcaseg.pretrained import or_shipped

    config, checkpoint = or_shipped(args.config, args.checkpoint)
    config = load_config(config, parse_options(args.cfg_options))
    print(f'{args.out}: {export_model(args.out, config, checkpoint)}')
