"""Turn VOC 2012 with SBD into COCO files whose masks are the bitmaps, never polygons (Sec. 4)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from mmboxcaseg.errors import shown


def add_arguments(parser: ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument('voc', type=Path, help='VOCdevkit, or VOC2012 in it')
    parser.add_argument('sbd', type=Path, help='benchmark_RELEASE of SBD, or dataset in it')
    parser.add_argument(
        'out', type=Path, help='folder to write: images/, annotations/instances_{train,val}.json'
    )


def main(args: Namespace) -> None:
    """Convert."""
    from mmboxcaseg.converters.voc_sbd import convert_voc_sbd

    print(*map(shown, convert_voc_sbd(**vars(args))), sep='\n')
