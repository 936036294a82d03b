"""Say what is installed, what computes and what is missing: what a bug report needs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """It takes none."""


def main(args: Namespace) -> None:
    """Print a line for each thing."""
    from mmboxcaseg.engine.environment import describe_environment

    found = describe_environment()
    width = max(map(len, found))
    for name, text in found.items():
        print(f'{name:{width}}  {text}')
