"""Write the weights of a checkpoint in half precision, without what only a training needs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('src', type=Path, help='checkpoint of a training')
    parser.add_argument('dst', type=Path, help='checkpoint to write, a .pth file')


def main(args: Namespace) -> None:
    """Publish."""
    from mmboxcaseg.converters.publish import publish_checkpoint

    sha256, size = publish_checkpoint(args.src, args.dst)
    print(f'{args.dst}: {size / 1e6:.1f} MB, SHA-256 {sha256}')
