"""Look for images of one folder that are nearly the same as images of another."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mmboxcaseg.errors import InputError

from .options import add_image_options, image_reader


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.epilog = (
        'Images are compared by a perceptual hash, as they are and mirrored. Exit status: 0 if '
        'there is no such pair, 1 if there is, 2 if the input cannot be used.'
    )
    parser.add_argument('a', type=Path, help='folder of images, those in its folders included')
    parser.add_argument('b', type=Path, help='another one')
    parser.add_argument(
        '--distance',
        type=int,
        default=50,
        help='report pairs that differ in so many bits of 256 or fewer (default: %(default)s)',
    )
    add_image_options(parser)


def main(args: Namespace) -> None:
    """Look."""
    try:
        from mmboxcaseg.converters.leakage import check_leakage

        reader = image_reader(args)
        count, lines = check_leakage(**vars(args), reader=reader)
    except InputError:
        raise
    except Exception as error:
        # No failure may end with status 1, which says that there is a pair.
        raise InputError(f'could not look: {type(error).__name__}: {error}') from error
    print(*lines, sep='\n')
    raise SystemExit(int(count > 0))
