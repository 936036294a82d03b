"""The corners xmin, ymin, xmax, ymax that Pascal VOC and CSV files have, and where they lie."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from mmboxcaseg.errors import InputError

from .pictures import tidy

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


def read_corners(
    texts: Mapping[str, str | None], origin: int, where: str
) -> tuple[float, float, float, float]:
    """Read the corners of a box.

    Files differ in what they count. With an origin of 0 the numbers are the edges of the box, as
    labelImg, Roboflow, CVAT and most tools write them. With 1, as in the VOC challenge itself, the
    first pixel is called 1, and the box holds its last pixel: it begins one pixel further to the
    left and up, and ends at the same number.

    Args:
        texts: The corners' texts by their names :data:`CORNERS`.
        origin: 0 or 1.
        where: What they are of, for the message.

    Returns:
        The box xyxy; x2 and y2 are the right and the lower edge.

    Raises:
        InputError: If one is missing or no number.

    Example:
        >>> texts = dict(xmin='3', ymin='4', xmax='10', ymax='20.5')
        >>> read_corners(texts, 0, ''), read_corners(texts, 1, '')
        ((3, 4, 10, 20.5), (2, 3, 10, 20.5))
    """
    x1, y1, x2, y2 = (read_number(texts.get(name), name, where) for name in CORNERS)
    return x1 - origin, y1 - origin, x2, y2


def read_number(value: Any, name: str, where: str) -> float | int:
    """Read a number of a file: text, or a number already.

    Args:
        value: What the file has.
        name: Its name there, for the message.
        where: What it is of, for the message.

    Returns:
        The number, an int where it is whole.

    Raises:
        InputError: If it is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float('nan')
    if not isfinite(number):
        raise InputError(f'{where} has {name} {value!r}, not a number')
    return tidy(number)
