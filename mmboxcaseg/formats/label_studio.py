"""Label Studio: its JSON export, a list of tasks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_bytes

from .pictures import Drawn, ImageFolder, Picture, as_coco, in_pixels

# What an upload puts in front of a name.
_UPLOAD = re.compile(r'^[0-9a-f]{8}-')


def read_label_studio(path: Path, images: Path, origin: int = 0) -> Coco:
    """Read the rectangles of a Label Studio export (JSON, not JSON-MIN).

    Of several annotations of a task the first that was not cancelled counts.

    Args:
        path: The file.
        images: Folder of the images; a name counts without what an upload put in front of it.
        origin: Has no meaning here: the numbers are parts of the image.

    Returns:
        The boxes, to a hundredth of a pixel.

    Raises:
        InputError: If the file is no such export, an image is missing or of another size, or a
            rectangle is turned.
    """
    folder = ImageFolder(images)
    try:
        tasks = json.loads(read_bytes(path))
        pictures = [_read_task(task, folder, path) for task in tasks]
    except (
        LookupError,
        TypeError,
        AttributeError,
        StopIteration,
        ValueError,
        RecursionError,
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is no JSON export of Label Studio, a list of tasks with 'data' and "
            f"'annotations' ({type(error).__name__}: {error})"
        ) from None
    return as_coco(pictures, path)


def _read_task(task: dict, folder: ImageFolder, path: Path) -> Picture:
    address = next(value for value in task['data'].values() if isinstance(value, str))
    parts = urlsplit(address)
    # Files that were not uploaded: /data/local-files/?d=folder/a.jpg
    name = unquote(parse_qs(parts.query).get('d', [parts.path])[0])
    try:
        picture = folder.picture(name, path)
    except InputError:
        bare = _UPLOAD.sub('', Path(name).name)
        if bare == Path(name).name:
            raise
        picture = folder.picture(bare, path)
    valid = (a for a in task['annotations'] if not a.get('was_cancelled'))
    for result in next(valid, {}).get('result', ()):
        value = result.get('value', {})
        if not value.get('rectanglelabels'):
            continue
        where = f'rectangle {result.get("id")} of {picture.file_name} in {path}'
        if value.get('rotation'):
            raise InputError(f'{where} is turned: draw it upright, boxes have no angle')
        said = result.get('original_height'), result.get('original_width')
        if None not in said and said != picture.shape:
            raise InputError(
                f'{where} is of an image of {said[1]}x{said[0]}, but the file is '
                f'{picture.shape[1]}x{picture.shape[0]}: was it scaled or turned since?'
            )
        x, y, w, h = (value[key] / 100 for key in ('x', 'y', 'width', 'height'))
        bbox = in_pixels((x, y, x + w, y + h), picture.shape)
        picture.boxes.append(Drawn(str(value['rectanglelabels'][0]), bbox))
    return picture
