"""The poorest masks to people, and what they corrected back among the others as true masks."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec import Raw
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from mmboxcaseg.coco.annotations import (
    Annotation,
    Coco,
    Id,
    Image,
    annotation_bboxes,
    annotations_by_image,
    read_masks,
    write_coco,
)
from mmboxcaseg.coco.checks import image_paths
from mmboxcaseg.coco.proxies import (
    Proxy,
    load_proxy_file,
    measure_masks,
    rank_proxies,
    read_proxies,
)
from mmboxcaseg.errors import InputError, check_count, check_share, listing
from mmboxcaseg.fileio import check_output, make_folder
from mmboxcaseg.formats import check_convertible, convert_masks, read_boxes
from mmboxcaseg.images import DEFAULT_READER, ImageReader
from mmboxcaseg.proxy import (
    box_agreement,
    decode_rle,
    encode_rle,
    pairwise_iou,
    rle_bboxes,
)

#: What masks can be handed out as: COCO, and those of the formats of masks that people correct in.
REVIEW_FORMATS = ('coco', 'label-studio', 'labelme')

# A mask that comes back is an object's if its box or its pixels have this IoU with the object's.
_SAME = 0.5


def review_masks(
    masks: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    to: str = 'coco',
    count: int | None = None,
    share: float | None = None,
    below: float | None = None,
) -> list[str]:
    """Hand the masks of the lowest quality to people, the lowest first.

    True masks are not handed out. Where not every mask has a quality, their box agreement counts.

    Args:
        masks: COCO file of proxy masks.
        images: Folder of its images.
        out: Folder to write: ``review.json``, a COCO file of these masks alone, images and
            annotations in the order of the quality, and in another format the folder of its name.
        to: Out of :data:`REVIEW_FORMATS`.
        count: How many masks; 50 unless one of the next two is given.
        share: Which share of those that are not true.
        below: Those of a quality below this.

    Returns:
        What was written and what comes next, in two or three lines.

    Raises:
        InputError: If something that was given cannot be used, or there is no such mask.

    Example:
        >>> review_masks('masks.json', 'images', 'review', below=0.5)  # doctest: +SKIP
    """
    out = Path(out)
    if to not in REVIEW_FORMATS:
        raise InputError(f'there is no format {to!r}: take one of {", ".join(REVIEW_FORMATS)}')
    if sum(choice is not None for choice in (count, share, below)) > 1:
        raise InputError('give one of --count, --share and --below')
    coco = load_proxy_file(masks)
    proxies = read_proxies(coco)
    measure, values = rank_proxies(proxies, masks)
    ids = {annotation.id for annotation in coco.objects if annotation.true_mask is None}
    ranked = sorted(ids, key=lambda id_: (values[id_], str(id_)))
    chosen = ranked[: _how_many([values[id_] for id_ in ranked], count, share, below)]
    if not chosen:
        raise InputError(f'{masks} has no mask to hand out: raise --below, or there are true ones')
    image_paths(coco.images, images, masks)
    if to != 'coco':
        check_convertible(coco, out / to, to)
    make_folder(out)
    check_output(out / 'review.json', [masks])
    _write_chosen(coco, chosen, out / 'review.json')
    converted = []
    if to != 'coco':
        converted = [convert_masks(out / 'review.json', images, out / to, to)]
    owners = {annotation.id: annotation.image_id for annotation in coco.annotations}
    number = len({owners[id_] for id_ in chosen})
    where = ('--images', str(images), '--out', 'NEW.json')
    back = shlex.join(['mmboxcaseg', 'merge-back', str(masks), 'CORRECTED', *where])
    return [
        f'{out / "review.json"}: {len(chosen)} of {len(proxies)} masks, on {number} images, '
        f'{measure} {values[chosen[0]]:.2f} to {values[chosen[-1]]:.2f}',
        *converted,
        f'next: correct them, then {back}',
    ]


def merge_corrected(
    masks: str | Path,
    corrected: str | Path,
    images: str | Path,
    out: str | Path,
    reader: ImageReader = DEFAULT_READER,
) -> list[str]:
    """Take masks that people corrected as true masks.

    A mask that comes back is that of the object of its image and category whose box and mask it
    fits best, by IoU, and at least by 0.5: programs number annotations anew. It has quality and
    agreement 1 from now on and wins its pixels; a mask that loses some to it is measured anew.
    Every other annotation is as it was, to the byte.

    Args:
        masks: COCO file of proxy masks.
        corrected: File or folder of corrected masks, whether changed or found right, in any format
            that :func:`mmboxcaseg.formats.read_boxes` reads masks of.
        images: Folder of the images.
        out: COCO file to write, with all annotations of ``masks``.
        reader: How images are read.

    Returns:
        What was done, and what did not fit, in up to two lines.

    Raises:
        InputError: If something that was given cannot be used, or no mask fits an object.

    Example:
        >>> merge_corrected('masks.json', 'review.json', 'images', 'new.json')  # doctest: +SKIP
    """
    check_output(out, inputs=[masks, corrected])
    if Path(masks).resolve() == Path(corrected).resolve():
        raise InputError(f'{corrected} is the file of all masks: give the corrected ones')
    coco = load_proxy_file(masks)
    proxies = read_proxies(coco)
    if any(proxy.box_agreement is None for proxy in proxies.values()):
        raise InputError(f'{masks} has raw masks, without box_agreement: mmboxcaseg refine first')
    drawn = read_boxes(corrected, images, reader=reader).coco
    known = {image.file_name: image for image in coco.images}
    strangers = [image.file_name for image in drawn.images if image.file_name not in known]
    if strangers:
        raise InputError(f'{corrected} has images that {masks} has not: {listing(strangers)}')
    names = {category.id: category.name for category in coco.categories}
    classes = {category.id: category.name for category in drawn.categories}
    groups = annotations_by_image(coco)
    changes: dict[Id, dict] = {}
    true = losers = 0
    misfits: Counter[str] = Counter()
    for image, shapes in drawn.objects_by_image():
        image = known[image.file_name]
        shapes = [shape for shape in shapes if shape.segmentation]
        rles = read_masks({s.id: s.segmentation for s in shapes}, image.shape, corrected)
        objects = [annotation for annotation in groups[image.id] if annotation.is_object]
        matched = _match(
            [(names[a.category_id], a, proxies[a.id].rle) for a in objects],
            [(classes[shape.category_id], rles[shape.id]) for shape in shapes],
        )
        misfits[image.file_name] += len(shapes) - len(matched)
        others = [a for a in objects if a.id not in matched and a.true_mask is None]
        lost = _without(matched.values(), others, proxies, image)
        changes |= lost | {
            id_: dict(segmentation=rle, box_agreement=1.0, quality=1.0)
            for id_, rle in matched.items()
        }
        true += len(matched)
        losers += len(lost)
    if not true:
        raise InputError(f'no mask of {corrected} fits an object of {masks}')
    write_coco(coco.top, (_changed(a, changes.get(a.id)) for a in coco.annotations), out)
    lines = [
        f'{out}: {true} of {len(proxies)} masks are corrected ones; {losers} others lost pixels to '
        'them'
    ]
    if +misfits:
        where = listing(f'{number} in {name}' for name, number in (+misfits).items())
        lines.append(f'left out, for they fit no object of their class: {where}')
    return lines


def _how_many(
    values: Sequence[float], count: int | None, share: float | None, below: float | None
) -> int:
    if share is not None:
        check_share('--share', share)
        return round(share * len(values))
    if below is not None:
        check_share('--below', below)
        return sum(value < below for value in values)
    count = 50 if count is None else count
    check_count('--count', count)
    return count


def _write_chosen(coco: Coco, chosen: Sequence[Id], path: Path) -> None:
    texts = {annotation.id: annotation for annotation in coco.annotations}
    annotations = [texts[id_] for id_ in chosen]
    entries = {image['id']: image for image in json.loads(bytes(coco.top['images']))}
    ordered = dict.fromkeys(annotation.image_id for annotation in annotations)
    images = Raw(json.dumps([entries[id_] for id_ in ordered]).encode())
    write_coco({**coco.top, 'images': images}, (bytes(a.text) for a in annotations), path)


def _match(
    objects: Sequence[tuple[str, Annotation, dict]], shapes: Sequence[tuple[str, dict]]
) -> dict[Id, dict]:
    """Find whose the masks of an image are.

    Args:
        objects: Class, annotation and RLE of each object.
        shapes: Class and RLE of each mask that came back.

    Returns:
        Annotation id to the RLE that is now its own.
    """
    if not objects or not shapes:
        return {}
    rles = [rle for _, rle in shapes]
    bboxes = annotation_bboxes(annotation for _, annotation, _ in objects)
    by_box = pairwise_iou(bboxes, rle_bboxes(rles))
    by_mask = coco_mask.iou([rle for *_, rle in objects], rles, [0] * len(rles))
    same = np.array([[own == other for other, _ in shapes] for own, *_ in objects])
    fits = same & (np.maximum(by_box, by_mask) >= _SAME)
    pairs = zip(*linear_sum_assignment(fits * (by_box + by_mask), maximize=True), strict=True)
    return {objects[i][1].id: rles[j] for i, j in pairs if fits[i, j]}


def _without(
    winners: Sequence[dict],
    annotations: Sequence[Annotation],
    proxies: Mapping[Id, Proxy],
    image: Image,
) -> dict[Id, dict]:
    """What changes of an image's other masks, of those that share a pixel with a corrected one."""
    taken = np.zeros(image.shape, dtype=bool)
    for rle in winners:
        taken |= decode_rle(rle, image.shape)
    changes = {}
    for annotation in annotations:
        mask = decode_rle(proxies[annotation.id].rle, image.shape)
        if not (mask & taken).any():
            continue
        mask &= ~taken
        (agreement,) = box_agreement(mask[None], annotation_bboxes([annotation])).tolist()
        changes[annotation.id] = dict(segmentation=encode_rle(mask), box_agreement=agreement)
    return changes


def _changed(annotation: Annotation, change: dict | None) -> bytes:
    if change is None:
        return bytes(annotation.text)
    content = annotation.content()
    (measured,) = measure_masks([change['segmentation']], 'mask_bbox' in content)
    content.pop('mask_bbox', None)
    box_area = dict(area=annotation.bbox[2] * annotation.bbox[3])
    return json.dumps(content | box_area | measured | change).encode()
