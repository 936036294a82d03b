"""What mmdet and pycocotools rely on and files of others lack, mended in memory.

mmdet drops a box whose area is 0 without a word, and takes the string ``"0"`` for a crowd;
pycocotools takes an annotation whose id is 0 for one that nothing matches.
"""

from __future__ import annotations

import json

from mmboxcaseg.errors import warn_once

from .annotations import Annotation, Coco, is_set


def find_faults(coco: Coco, scoring: bool = False, masks: bool = True) -> dict[str, str]:
    """Find what :func:`mended` mends.

    Args:
        coco: A COCO file.
        scoring: Whether detections are scored with it, by pycocotools; otherwise mmdet trains on it
            or tests on it.
        masks: Whether its masks are used.

    Returns:
        A sentence for each kind of fault, naming the first annotation that has it.
    """
    faults: dict[str, str] = {}

    def note(kind: str, annotation: Annotation, text: str) -> None:
        faults.setdefault(kind, f'annotation {annotation.id} {text}')

    for annotation in coco.annotations:
        if scoring and not _is_number(annotation.id):
            note('id', annotation, 'has an id that is no number from 1 on: all are numbered anew')
        if annotation.area != annotation.known_area:
            note('area', annotation, f'has {_shown(annotation.area, "area")}: its box gives it')
        flag = annotation.iscrowd
        if isinstance(flag, str) or (scoring and flag is None):
            note('iscrowd', annotation, f'has {_shown(flag, "iscrowd")}: it is {int(is_set(flag))}')
        flag = annotation.ignore
        if not scoring and isinstance(flag, str):
            note('ignore', annotation, f'has {_shown(flag, "ignore")}: it is {int(is_set(flag))}')
        if scoring and annotation.left_out not in (None, 'crowd'):
            note('ignore', annotation, 'is no object: it counts neither way, as a crowd does')
        if masks and annotation.left_out and not annotation.segmentation:
            note('mask', annotation, 'is no object and has no mask: its box takes the place of it')
    return faults


def tell_faults(coco: Coco, scoring: bool = False, masks: bool = True) -> None:
    """Say, once, what :func:`mended` mends."""
    if faults := find_faults(coco, scoring, masks):
        warn_once(f'{coco.path} is mended in memory: {"; ".join(faults.values())}')


def mended(coco: Coco, scoring: bool = False) -> dict:
    """Mend a COCO file.

    Args:
        coco: The file.
        scoring: See :func:`find_faults`.

    Returns:
        Its content, ready for JSON or pycocotools. Ids are numbered anew to score where one is no
        number from 1 on; an area that is missing or not above 0 is the box's; ``iscrowd`` and
        ``ignore`` are 0 or 1; what is no object and has no mask has its box's. To score, what is no
        object is a crowd, which counts neither way.

    Example:
        >>> from mmboxcaseg.coco.annotations import parse_coco
        >>> image = dict(id=1, file_name='a.jpg', width=4, height=1)
        >>> thing = dict(id=0, image_id=1, category_id=7, bbox=[0, 0, 2, 1])
        >>> content = dict(images=[image], annotations=[thing], categories=[dict(id=7, name='cat')])
        >>> own = mended(parse_coco(json.dumps(content).encode(), 'a.json'), scoring=True)
        >>> own['annotations'][0] | thing == own['annotations'][0] | dict(id=0)
        True
        >>> [own['annotations'][0][key] for key in ('id', 'area', 'iscrowd')]
        [1, 2, 0]
    """
    content = {
        key: json.loads(str(text, 'utf-8'))
        for key, text in coco.top.items()
        if key != 'annotations'
    }
    numbered = not scoring or all(_is_number(annotation.id) for annotation in coco.annotations)
    content['annotations'] = [
        _mend(annotation, annotation.id if numbered else number, scoring)
        for number, annotation in enumerate(coco.annotations, 1)
    ]
    return content


def _mend(annotation: Annotation, id_: int | str, scoring: bool) -> dict:
    content = annotation.content() | dict(id=id_, area=annotation.known_area or 1)
    content['iscrowd'] = int(is_set(annotation.iscrowd))
    if 'ignore' in content:
        content['ignore'] = int(is_set(annotation.ignore))
    if annotation.left_out:
        x, y, width, height = annotation.bbox
        box = [min(x, x + width), min(y, y + height), abs(width), abs(height)]
        if not annotation.segmentation:
            right, bottom = box[0] + box[2], box[1] + box[3]
            corners = [*box[:2], right, box[1], right, bottom, box[0], bottom]
            content['segmentation'] = [corners]
        if scoring:
            content.update(iscrowd=1, bbox=box)
    return content


def _shown(value: float | str | None, name: str) -> str:
    return f'no {name}' if value is None else f'{name} {value!r}'


def _is_number(id_: int | str) -> bool:
    return isinstance(id_, int) and id_ > 0
