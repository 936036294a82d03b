"""From boxes in any format to masks, and to a Mask R-CNN that can be trained on them."""

from __future__ import annotations

import logging
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from mmengine.logging import print_log

from mmboxcaseg.coco.annotations import Coco, check_mask, load_coco, tell_left_out, write_coco
from mmboxcaseg.coco.checks import (
    check_bboxes,
    check_images,
    check_true_masks,
    similar_classes,
)
from mmboxcaseg.coco.proxies import Proxy, load_proxy_file, rank_proxies, read_proxies
from mmboxcaseg.coco.wrong_entries import WrongEntries
from mmboxcaseg.engine.checkpoint import load_checkpoint_file
from mmboxcaseg.engine.device import default_device
from mmboxcaseg.errors import InputError, check_share, listing
from mmboxcaseg.fileio import check_output, make_folder
from mmboxcaseg.formats import (
    FORMATS,
    check_convertible,
    convert_masks,
    read_boxes,
)
from mmboxcaseg.images import DEFAULT_READER, ImageReader
from mmboxcaseg.pretrained import or_shipped

from .drawing import draw_proxies
from .mask_rcnn_config import write_mask_rcnn
from .proxy_generation import generate_proxy_masks

# Sides of boxes by which COCO tells small, medium and large ones.
_SIDES = (32, 96)
_SHOWN = 5


def boxes_to_masks(
    boxes: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    format: str | None = None,
    voc_origin: int = 0,
    trust_boxes: bool = False,
    skip_bad: bool = False,
    keep_masks: bool = True,
    min_quality: float = 0.75,
    pretrained: str | Path | None = None,
    val: str | Path | None = None,
    pictures: int = 0,
    also: Sequence[str] = (),
    min_part: float = 0.0,
    max_hole: float = 0.0,
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    tta: bool = False,
    amp: bool = False,
    batch_size: int = 32,
    slack: float | None = None,
    workers: int = 2,
    device: str | None = None,
    reader: ImageReader | None = None,
) -> list[str]:
    """Give boxes of any format masks, and write the config of a Mask R-CNN to train on them.

    Args:
        boxes: File or folder with the boxes; see :func:`mmboxcaseg.formats.read_boxes`.
        images: Folder of the images.
        out: Folder to write: ``boxes.json``, what was read, as COCO; ``masks.json``, the same with
            the masks, all of them; ``mask_rcnn.py`` and its ``masks_train.json`` and
            ``masks_val.json``; with pictures, ``masks.jpg``.
        format: Key of :data:`mmboxcaseg.formats.FORMATS`; by default it is recognised.
        voc_origin: What VOC and CSV files call the first pixel, 0 or 1.
        trust_boxes: Whether boxes that look wrong are taken all the same; see
            :func:`mmboxcaseg.coco.checks.check_bboxes`.
        skip_bad: Whether wrong images and boxes are left out of all that is written and listed in
            ``skipped.json``; by default the first is refused.
        keep_masks: Whether annotations with a true mask keep it.
        min_quality: Masks of a quality above it count as kept, and train the Mask R-CNN.
        pretrained: Checkpoint of mmdet's Mask R-CNN R-50 FPN for the training to begin with.
        val: COCO file with true masks to validate the Mask R-CNN on, of images in the same folder,
            which then do not train; by default a tenth of the images validates.
        pictures: How many masks to draw, half of them the best and half the worst.
        also: Further formats, keys of :data:`mmboxcaseg.formats.MASK_FORMATS`, each written to a
            folder of ``out`` that has its name; see :func:`mmboxcaseg.formats.convert_masks`.
        min_part: See :func:`mmboxcaseg.coco.refine_annotations`, as for the next one. Unless both
            are 0, ``masks_raw.json`` has the masks as the network drew them.
        max_hole: Holes that are not larger are filled.
        config: See :func:`generate_proxy_masks`, as for all that follow.
        checkpoint: Of the config.
        tta: Whether to average over views.
        amp: Whether the network runs in half precision.
        batch_size: Boxes predicted at once.
        slack: How far a mask may leave its box.
        workers: Threads beside the network.
        device: Where the network runs.
        reader: How images are read; by default :data:`mmboxcaseg.images.DEFAULT_READER`.

    Returns:
        What happened, in about ten lines.

    Raises:
        InputError: If something that was given cannot be used; before the network runs.

    Example:
        >>> from mmboxcaseg.apis import boxes_to_masks
        >>> boxes_to_masks('boxes.csv', 'images', 'work_dirs/own')  # doctest: +SKIP
    """
    start = time.perf_counter()
    out, device = Path(out), device or default_device()
    reader = reader or DEFAULT_READER
    check_share('--min-quality', min_quality)
    check_share('--min-part', min_part)
    check_share('--max-hole', max_hole)
    config, checkpoint = or_shipped(config, checkpoint)
    if pretrained and not Path(pretrained).is_file():
        raise InputError(f'there is no checkpoint file {pretrained}')
    if pretrained:
        load_checkpoint_file(pretrained)
    if pictures < 0:
        raise InputError(f'--pictures must be 0 or more, not {pictures}')
    if out.resolve() in {Path(images).resolve(), Path(boxes).resolve()}:
        raise InputError(f'{out} holds what is read: give another folder to write to')
    wrong = WrongEntries(skip_bad)
    coco, format, left_out = read_boxes(boxes, images, format, voc_origin, reader, wrong)
    for note in similar_classes(coco):
        print_log(note, 'current', logging.WARNING)
    check_bboxes(coco, strict=not trust_boxes, trust=trust_boxes, wrong=wrong)
    if skip_bad:
        check_images(coco, images, reader, wrong, workers)
    if keep_masks:
        check_true_masks(coco, wrong)
    for to in also:
        check_convertible(coco, out / to, to)
    true = read_boxes(val, images, 'coco', reader=reader).coco if val else None
    if true and [c.name for c in true.categories] != [c.name for c in coco.categories]:
        raise InputError(
            f'{val} has other categories than {boxes}, or in another order: '
            f'{listing(c.name for c in true.categories)}, not '
            f'{listing(c.name for c in coco.categories)}'
        )
    if true:
        _check_val(true, coco)
    make_folder(out)
    raw = out / 'masks_raw.json' if min_part or max_hole else None
    for name in ('boxes', 'masks', 'masks_raw', 'masks_train', 'masks_val', 'skipped'):
        check_output(out / f'{name}.json', [boxes, *([val] if val else [])])
    if skip_bad:
        wrong.tell(boxes, out / 'skipped.json')
    _check_own(out, coco)
    write_coco(coco.top, (bytes(a.text) for a in coco.annotations), out / 'boxes.json')
    generate_proxy_masks(
        out / 'boxes.json',
        images,
        out / 'masks.json',
        raw_out=raw,
        config=config,
        checkpoint=checkpoint,
        tta=tta,
        amp=amp,
        batch_size=batch_size,
        slack=slack,
        keep_masks=keep_masks,
        min_part=min_part,
        max_hole=max_hole,
        workers=workers,
        device=device,
        reader=reader,
        trust_boxes=trust_boxes,
    )
    masked = load_proxy_file(out / 'masks.json')
    proxies = read_proxies(masked)
    training = write_mask_rcnn(masked, images, out, min_quality, pretrained, true, reader)
    val_names = {image.file_name for image in true.images} if true else set()
    val_ids = {i.id for i in masked.images if i.file_name in val_names} if true else None
    written = [
        convert_masks(out / 'masks.json', images, out / to, to, min_quality, val_ids) for to in also
    ]
    files = f'{out}/boxes.json: what was read, as COCO; {out}/masks.json: with masks and quality'
    if pictures:
        sizes = dict(count=pictures, min_side=0)
        draw_proxies(out / 'masks.json', images, out / 'masks.jpg', **sizes, reader=reader)
        files += f'; {out}/masks.jpg: best and worst masks'
    where = ('--images', str(images), '--out', f'{out}/report.html')
    report = shlex.join(['mmboxcaseg', 'report', f'{out}/masks.json', *where])
    training_step = shlex.join(['mmboxcaseg', 'train', f'{out}/mask_rcnn.py'])
    if not any(value > min_quality for value in rank_proxies(proxies, masked.path)[1].values()):
        training_step = 'lower --min-quality: no mask has one above it, so none would train'
    return [
        f'{boxes}: {FORMATS[format][0]}, {_count(coco.annotations, "box", "boxes")} on '
        f'{_count(coco.images, "image")}',
        *summarize_boxes(coco, left_out | wrong.counts),
        *summarize_masks(coco, proxies, min_quality, keep_masks),
        f'time: {time.perf_counter() - start:.1f} s on {device}',
        files,
        *written,
        f'{out}/mask_rcnn.py: {training}',
        f'next: {report}, then {training_step}',
    ]


def _check_own(out: Path, coco: Coco) -> None:
    """Refuse a folder that holds masks of other boxes: they are someone's work."""
    if not (out / 'masks.json').is_file():
        return
    try:
        is_same = _boxes_of(load_coco(out / 'boxes.json')) == _boxes_of(coco)
    except InputError:
        is_same = False
    if not is_same:
        raise InputError(
            f'{out} holds masks of other boxes than {coco.path} has: give another --out, or remove '
            f'{out / "masks.json"} if you need them no more'
        )


def _boxes_of(coco: Coco) -> tuple[list, list, list]:
    boxes = [(a.id, a.image_id, a.category_id, a.bbox, a.left_out) for a in coco.annotations]
    return coco.images, [(c.id, c.name) for c in coco.categories], boxes


def _check_val(true: Coco, coco: Coco) -> None:
    images = {image.id: image for image in true.images}
    for annotation in true.objects:
        check_mask(annotation, images[annotation.image_id], true.path, ' to validate with')
    names = {image.file_name for image in true.images}
    used = {annotation.image_id for annotation in coco.objects}
    if not any(image.id in used and image.file_name not in names for image in coco.images):
        raise InputError(
            f'{true.path} names every image of {coco.path} that has a box: none is left to train on'
        )


def summarize_boxes(coco: Coco, left_out: Mapping[str, int] = MappingProxyType({})) -> list[str]:
    """Say in three lines what boxes there are, and which get no mask.

    Args:
        coco: Boxes.
        left_out: What their reader left out.

    Returns:
        Classes, sizes, and what is left out and why.
    """
    names = {category.id: category.name for category in coco.categories}
    by_class = Counter(names[annotation.category_id] for annotation in coco.objects)
    sides = np.sqrt([a.bbox[2] * a.bbox[3] for a in coco.objects])
    small, medium, large = np.bincount(np.digitize(sides, _SIDES), minlength=3).tolist()
    used = {annotation.image_id for annotation in coco.objects}
    reasons = [f'{n} {reason}' for reason, n in left_out.items() if n]
    reasons.append(tell_left_out(coco.annotations))
    if bare := sum(image.id not in used for image in coco.images):
        reasons.append(_count(range(bare), 'image') + ' without a box')
    counts = listing(f'{name} {count}' for name, count in by_class.most_common())
    return [
        f'classes: {counts}',
        f'sizes: {small} small, {medium} medium, {large} large (sides of {_SIDES[0]} and '
        f'{_SIDES[1]} pixels between them)',
        f'left out: {", ".join(filter(None, reasons)) or "nothing"}',
    ]


def summarize_masks(
    coco: Coco, proxies: dict[int | str, Proxy], min_quality: float, keep_masks: bool
) -> list[str]:
    """Say in two lines how good the masks are.

    Args:
        coco: The boxes as they were read.
        proxies: The masks by annotation.
        min_quality: Those of a quality above it are kept.
        keep_masks: Whether true masks were kept.

    Returns:
        Counts, and the masks of the lowest quality.
    """
    _, quality = rank_proxies(proxies, coco.path)
    kept = sum(value > min_quality for value in quality.values())
    true = sum(a.true_mask is not None for a in coco.objects) if keep_masks else 0
    empty = sum(proxy.is_empty for proxy in proxies.values())
    images = {image.id: image.file_name for image in coco.images}
    owners = {annotation.id: images[annotation.image_id] for annotation in coco.objects}
    worst = sorted(quality, key=quality.get)[:_SHOWN]
    return [
        f'masks: {kept} of {len(quality)} have a quality above {min_quality:g} (mean of all '
        f'{np.mean(list(quality.values())):.2f}); {true} true ones were kept, {empty} are empty',
        'lowest quality: ' + ', '.join(f'{i} ({owners[i]}) {quality[i]:.2f}' for i in worst),
    ]


def _count(things: Sequence, one: str, many: str = '') -> str:
    return f'{len(things)} {one if len(things) == 1 else many or f"{one}s"}'
