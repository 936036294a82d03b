"""Make a synthetic data set for the demo: shapes in COCO form, salient images beside them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('out', type=Path, help='folder to make; an earlier toy set is replaced')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--num-train', type=int, default=300, help='box-annotated images')
    parser.add_argument('--num-val', type=int, default=60, help='images to score on')
    parser.add_argument('--num-salient', type=int, default=300, help='images with one object')
    parser.add_argument('--size', type=int, default=128, help='image width and height in pixels')


def main(args: Namespace) -> None:
    """Draw."""
    from mmboxcaseg.apis.toy_dataset import make_toy_dataset

    make_toy_dataset(**vars(args))
