"""A page that shows what the masks of a file are like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from tqdm import trange

from mmboxcaseg.coco import (
    Annotation,
    Coco,
    annotation_bboxes,
    decode_annotation,
    load_coco,
    rank_proxies,
)
from mmboxcaseg.coco.annotations import Id
from mmboxcaseg.coco.checks import check_bboxes, check_images, images_of_objects
from mmboxcaseg.coco.proxies import load_proxy_file, read_proxies
from mmboxcaseg.errors import InputError, check_count, check_share, shown
from mmboxcaseg.evaluation import calibration_error, mask_iou, rank_correlation
from mmboxcaseg.fileio import check_output, write_bytes
from mmboxcaseg.images import DEFAULT_READER, ImageReader
from mmboxcaseg.proxy import FLAWS, mask_flaws
from mmboxcaseg.visualization.report import Gallery, Instance, render_report

from .drawing import draw_tile

_JPEG_QUALITY = 80
# Characters of names of data; of longer ones the middle is left out.
_LONGEST_NAME = 200


def make_report(
    masks: str | Path,
    img_root: str | Path,
    out: str | Path,
    *,
    truth: str | Path | None = None,
    min_quality: float = 0.75,
    min_agreement: float = 0.0,
    pictures: int = 12,
    reader: ImageReader = DEFAULT_READER,
) -> None:
    """Show the masks of a file on one HTML page, which holds all that it needs.

    Args:
        masks: COCO file of proxy masks.
        img_root: Folder of its images.
        out: Page to write, ``.html``.
        truth: COCO file with true masks of these boxes or of some of them; the page then tells
            their IoU too.
        min_quality: A mask counts as kept if its quality is above this or not known ...
        min_agreement: ... and its box agreement is above this.
        pictures: How many masks a gallery shows: there is one of the worst, of the best, of random
            ones and of each suspicious kind (:data:`mmboxcaseg.proxy.FLAWS`).
        reader: How images are read.

    Raises:
        InputError: If something that was given cannot be used.

    Example:
        >>> from mmboxcaseg.apis import make_report
        >>> make_report('proxy.json', 'images', 'report.html')  # doctest: +SKIP
    """
    img_root, out = Path(img_root), Path(out)
    check_share('--min-quality', min_quality)
    check_share('--min-agreement', min_agreement)
    check_count('--pictures', pictures)
    coco = load_proxy_file(masks)
    check_bboxes(coco)
    check_images(coco, img_root, reader)
    images = [img_root / image.file_name for image in images_of_objects(coco)]
    check_output(out, [masks, *filter(None, [truth]), *images], ('.html',))
    proxies = read_proxies(coco)
    measure, ranks = rank_proxies(proxies, masks)
    true = {} if truth is None else _true_masks(truth, coco)
    names = {category.id: category.name for category in coco.categories}
    objects = [(image, one) for image, own in coco.objects_by_image() for one in own]

    def decode(index: int) -> tuple[np.ndarray, np.ndarray | None]:
        image, one = objects[index]
        target = true.get(one.id)
        mask = decode_annotation(one, image.shape, masks)
        return mask, target and decode_annotation(target, image.shape, truth)

    def judge(index: int) -> Instance:
        image, one = objects[index]
        mask, target = decode(index)
        proxy = proxies[one.id]
        # float turns None, which is not known, into NaN, which no threshold is above.
        quality, agreement = np.array([proxy.quality, proxy.box_agreement], dtype=np.float64)
        return Instance(
            id=one.id if isinstance(one.id, int) else shown(one.id, _LONGEST_NAME),
            image=shown(image.file_name, _LONGEST_NAME),
            category=shown(names[one.category_id], _LONGEST_NAME),
            area=one.bbox[2] * one.bbox[3],
            quality=quality,
            agreement=agreement,
            iou=float('nan') if target is None else mask_iou(mask, target),
            kept=not (quality <= min_quality or agreement <= min_agreement),
            flaws=mask_flaws(mask, annotation_bboxes([one])[0]),
        )

    @cache
    def picture(index: int) -> bytes:
        image, one = objects[index]
        tile = draw_tile(img_root, image, one, *decode(index), reader=reader)
        options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        return cv2.imencode('.jpg', tile, options)[1].tobytes()

    instances = [judge(index) for index in trange(len(objects), desc='measure', unit='mask')]
    values = np.array([ranks[one.id] for _, one in objects])
    galleries = [
        Gallery(title, text, [(index, picture(index)) for index in chosen])
        for title, text, chosen in _choose(instances, values, measure, pictures)
    ]
    page = render_report(
        Path(masks).name,
        instances,
        galleries,
        min_quality=min_quality,
        min_agreement=min_agreement,
        truth=_about_truth(instances),
    )
    write_bytes(page.encode(), out)


def _true_masks(truth: str | Path, masks: Coco) -> dict[Id, Annotation]:
    coco = load_coco(truth)
    read_proxies(masks, coco)  # refuses boxes that have no mask there
    true = {annotation.id: annotation for annotation in coco.objects if annotation.segmentation}
    if not true:
        raise InputError(f'{truth} has no true masks: leave --truth out')
    return true


def _choose(
    instances: Sequence[Instance], values: np.ndarray, measure: str, count: int
) -> Iterator[tuple[str, str, list[int]]]:
    """Title, text and masks of each gallery."""
    order = np.argsort(values, kind='stable').tolist()
    yield 'Worst', f'Those of the lowest {measure}, the worst first.', order[:count]
    yield 'Best', f'Those of the highest {measure}, the best first.', order[::-1][:count]
    sample = np.random.default_rng(0).permutation(len(order))[:count].tolist()
    yield 'Random', 'What is typical.', sample
    excess = np.array([instance.quality - instance.iou for instance in instances])
    if not np.isnan(excess).all():
        # What is not known sorts to the end.
        worst = np.argsort(-excess, kind='stable')[: min(count, np.sum(excess > 0))].tolist()
        yield 'Rated too high', 'Their true IoU is furthest below their quality.', worst
    for flaw, text in FLAWS.items():
        own = [index for index in order if flaw in instances[index].flaws]
        if own:
            text = f'{text} {len(own):,} masks; those of the lowest {measure}.'
            yield f'Suspicious: {flaw}', text, own[:count]


def _about_truth(instances: Sequence[Instance]) -> str:
    known = [one for one in instances if not np.isnan(one.iou)]
    if not known:
        return ''
    text = f'{len(known):,} boxes have one, green in the pictures.'
    rated = np.array([(one.quality, one.iou) for one in known if not np.isnan(one.quality)])
    if len(rated):
        error = calibration_error(*rated.T)
        text += f' Over masks of like quality, quality and true IoU are {error:.2f} apart'
        text += ' (calibration error).'
        correlation = rank_correlation(*rated.T)
        if not np.isnan(correlation):
            text += f' Their rank correlation is {correlation:.2f}; 1 is the same order.'
    return text
