"""Reading and writing files of proxy masks; their agreement and quality are what the file says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import trange

from mmboxcaseg.errors import InputError, check_share
from mmboxcaseg.fileio import check_output, read_utf8
from mmboxcaseg.proxy import (
    AGREEMENTS,
    clean_mask,
    combined_quality,
    decode_rle,
    empty_rle,
    encode_rle,
    refine_rles,
    rle_areas,
    rle_bboxes,
)

from .annotations import (
    Annotation,
    Coco,
    Id,
    Image,
    Share,
    annotation_bboxes,
    check_masks,
    is_set,
    load_coco,
    read_masks,
    tell_reasons,
    write_coco,
)
from .checks import check_bboxes, check_true_masks
from .groups import ImageGroups
from .results import load_results, match_image, match_results, results_by_image

#: What makes proxy masks; messages name it.
MASK_TOOL = 'mmboxcaseg generate'


#: In place of the agreement of a box of a pixel, which any mask fills.
NO_EVIDENCE = float('nan')
# Fields that say something of the mask that an annotation had before.
_OF_A_MASK = ('segmentation', 'box_agreement', 'quality', 'mask_bbox', 'area')


class ProxyAnnotation(Annotation, gc=False):
    """An annotation of a file of proxy masks."""

    box_agreement: Share | None = None
    quality: Share | None = None


class Proxy(NamedTuple):
    """The mask of a box and what is known about how good it is.

    Attributes:
        rle: The mask; compressed unless it is raw.
        box_agreement: See :func:`mmboxcaseg.proxy.box_agreement`; None of a mask that was not
            merged and measured yet.
        quality: See :func:`mmboxcaseg.proxy.expected_iou`; None where nobody has told, as of a true
            mask; 0 where there is no mask.
    """

    rle: Any
    box_agreement: float | None = None
    quality: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the mask, which is compressed, has no pixel."""
        return self.rle['counts'] == empty_rle(tuple(self.rle['size']))['counts']


def load_proxies(
    path: str | Path, boxes: Coco | None = None, *, partial: bool = False
) -> dict[Id, Proxy]:
    """Read a file of proxy masks.

    Args:
        path: COCO file that ``mmboxcaseg generate`` or ``mmboxcaseg refine`` wrote, or one of raw
            masks, which has no ``box_agreement``.
        boxes: See :func:`read_proxies`.
        partial: See :func:`read_proxies`.

    Returns:
        As :func:`read_proxies`.

    Raises:
        InputError: If the file is missing or is not COCO, a number is none in [0, 1], or as
            :func:`read_proxies`.
    """
    return read_proxies(load_proxy_file(path), boxes, partial=partial)


def load_proxy_file(path: str | Path) -> Coco:
    """Read a file of proxy masks as :func:`load_coco` does, for :func:`read_proxies`.

    Returns:
        The file, its annotations :class:`ProxyAnnotation`.

    Raises:
        InputError: If it is missing or not COCO, or a number is none in [0, 1].
    """
    if not Path(path).is_file():
        raise InputError(f'there is no file of proxy masks {path}: make it with {MASK_TOOL}')
    return load_coco(path, ProxyAnnotation)


def read_proxies(
    coco: Coco, boxes: Coco | None = None, *, partial: bool = False
) -> dict[Id, Proxy]:
    """Read the proxy masks of a file.

    Args:
        coco: The file, of :func:`load_proxy_file`.
        boxes: The file whose boxes the masks are for; by default the same.
        partial: Whether some objects may have no mask. They then get an empty one, of agreement and
            quality 0, and where masks have no numbers they are true ones, of agreement and quality
            1 (:attr:`Annotation.true_mask`).

    Returns:
        Annotation id to proxy, of every object of ``boxes``, in its order.

    Raises:
        InputError: If an object is not in the file or is of another image or place there, or has a
            mask that is missing, broken or of another size than the image; if some objects have a
            ``box_agreement`` and others have none.
    """
    path = coco.path
    images = {image.id: image for image in coco.images}
    found = {annotation.id: annotation for annotation in coco.objects}
    some = partial and has_some_masks(coco)
    missing = None if some else f': make proxy masks with {MASK_TOOL}'
    check_masks(coco, missing, objects_only=True)
    read = _read_partial if some else _read_proxy
    proxies = {}
    for wanted in (boxes or coco).objects:
        own = found.get(wanted.id)
        if own is None or (own.image_id, own.bbox) != (wanted.image_id, wanted.bbox):
            raise InputError(
                f'annotation {wanted.id} of {boxes.path} is not in {path}, or has another image or '
                f'box there: make proxy masks of this file with {MASK_TOOL}'
            )
        proxies[own.id] = read(own, images[own.image_id], path)
    unmeasured = [id_ for id_, proxy in proxies.items() if proxy.box_agreement is None]
    if 0 < len(unmeasured) < len(proxies):
        raise InputError(
            f'annotation {unmeasured[0]} of {path} has no box_agreement and others have one: make '
            'the file anew with mmboxcaseg refine'
        )
    return proxies


def has_some_masks(coco: Coco) -> bool:
    """Whether some of a file's objects have a mask and others have none."""
    return len({annotation.lacks_mask for annotation in coco.objects}) == 2


def load_masks(path: str | Path, boxes: Coco) -> dict[Id, Proxy]:
    """Read masks of boxes from either kind of file.

    Args:
        path: Raw masks, a COCO results file or a COCO file, or a COCO file of proxy masks, whose
            annotations have a ``box_agreement``.
        boxes: The file of the boxes.

    Returns:
        Annotation id to proxy. Of raw masks, of which some may be missing, ``rle`` is of any kind,
        and the quality is their score.

    Raises:
        InputError: If a file is broken or not of these boxes; see :func:`load_proxies`,
            :func:`load_results` and :func:`match_results`.
    """
    data = read_utf8(path)
    if data[:64].lstrip().startswith(b'{') and b'"box_agreement"' in data:
        return load_proxies(path, boxes)
    del data
    matched = match_results(boxes, load_results(path), path)
    return {id_: Proxy(result.segmentation, None, result.score) for id_, result in matched.items()}


def refine_annotations(
    image: Image,
    annotations: Sequence[Annotation],
    raw: Mapping[Id, dict],
    *,
    scores: Mapping[Id, float] | None = None,
    merge: bool = True,
    inclusive_boxes: bool = False,
    mask_bbox: bool = False,
    keep_masks: bool = False,
    min_part: float = 0.0,
    max_hole: float = 0.0,
) -> list[dict]:
    """Give one image's annotations their proxy masks.

    An annotation without a raw mask, a crowd and a degenerate box get an empty mask and
    agreement 0.

    Args:
        image: Of a COCO file.
        annotations: The image's; their masks are not read unless they are kept.
        raw: Annotation id to RLE of :func:`read_rles`; may hold other images' too.
        scores: Annotation id to the score of its raw mask, for those that have one.
        merge: See :func:`refine_rles`.
        inclusive_boxes: See :func:`mmboxcaseg.proxy.box_agreement`.
        mask_bbox: Whether to give the tight box of each mask that is not empty too.
        keep_masks: Whether annotations with a true mask (:attr:`Annotation.true_mask`) keep it as
            it is: it wins its pixels in the merge, and its agreement and quality are 1. One that
            belongs to a crowd or a degenerate box is kept too, and takes no part.
        min_part: Before the merge, parts of raw masks that are smaller go; see
            :func:`mmboxcaseg.proxy.clean_mask`.
        max_hole: Before the merge, holes in raw masks that are not larger are filled.

    Returns:
        The annotations' fields with ``segmentation`` (compressed RLE) and ``box_agreement``, with
        the score of a raw mask that has one as ``quality``, 0 if none of it is left, with
        ``mask_bbox`` (x, y, width, height) if it is asked for, with ``area``, the mask's pixels, or
        the box's area where there are none, because mmdet drops a box that has no area, and with
        ``iscrowd`` as 0 or 1. What the fields said of another mask is gone; every other one is as
        it was.
    """
    true = {a.id: a.true_mask for a in annotations} if keep_masks else {}
    true = {id_: mask for id_, mask in true.items() if mask is not None}
    objects = [a for a in annotations if a.is_object and (a.id in raw or a.id in true)]
    given = {a.id: true[a.id] for a in objects if a.id in true}
    bboxes = annotation_bboxes(objects)
    known = {**raw, **read_masks(given, image.shape, 'the annotation file')}
    if min_part or max_hole:
        for annotation, bbox in zip(objects, bboxes, strict=True):
            if annotation.id not in given:
                mask = decode_rle(known[annotation.id], image.shape)
                known[annotation.id] = encode_rle(clean_mask(mask, bbox, min_part, max_hole))
    rles, agreement = refine_rles(
        [known[annotation.id] for annotation in objects],
        bboxes,
        image.shape,
        merge=merge,
        inclusive_boxes=inclusive_boxes,
        fixed=np.array([annotation.id in true for annotation in objects], dtype=bool),
    )
    fields = {
        annotation.id: dict(segmentation=rle, box_agreement=value)
        for annotation, rle, value in zip(objects, rles, agreement.tolist(), strict=True)
    }
    for id_ in fields.keys() & (scores or {}).keys():
        # Smaller objects may take all pixels of a mask that was rated.
        is_empty = Proxy(fields[id_]['segmentation']).is_empty
        fields[id_]['quality'] = 0.0 if is_empty else scores[id_]
    for id_ in given:
        fields[id_] |= dict(segmentation=true[id_], quality=1.0)
    for annotation, measured in zip(objects, measure_masks(rles, mask_bbox), strict=True):
        if annotation.id in true:
            measured.pop('area', None)  # the file's own number stays
        fields[annotation.id] |= measured
    empty = dict(segmentation=empty_rle(image.shape), box_agreement=0.0)
    refined = []
    for annotation in annotations:
        own = fields.get(annotation.id, empty)
        if annotation.id in true:
            own = own | dict(segmentation=true[annotation.id])
        box_area = abs(annotation.bbox[2] * annotation.bbox[3])
        is_new = annotation.is_object and annotation.id not in true
        content = annotation.content()
        for name in _OF_A_MASK:
            content.pop(name, None)
        flags = {name: int(is_set(content.get(name))) for name in ('iscrowd', 'ignore')}
        if 'ignore' not in content:
            del flags['ignore']
        area = box_area if is_new else annotation.known_area
        refined.append(content | flags | dict(area=area) | own)
    return refined


def measure_masks(rles: Sequence[dict], mask_bbox: bool) -> list[dict]:
    """Measure masks for their annotations.

    Args:
        rles: N RLEs of :func:`read_rles`.
        mask_bbox: Whether their tight boxes are asked for.

    Returns:
        N dicts of ``area``, in pixels, and ``mask_bbox`` (x, y, width, height); none of either for
        an empty mask.

    Example:
        >>> measure_masks([dict(size=[2, 2], counts='13')], mask_bbox=True)
        [{'area': 3, 'mask_bbox': [0, 0, 2, 2]}]
    """
    measured = [dict(area=area) if area else {} for area in rle_areas(rles)]
    if mask_bbox:
        for own, (x1, y1, x2, y2) in zip(measured, rle_bboxes(rles).tolist(), strict=True):
            if own:
                own['mask_bbox'] = [x1, y1, x2 - x1, y2 - y1]
    return measured


def refine_proxy_masks(
    boxes: str | Path,
    raw: str | Path,
    out: str | Path,
    *,
    merge: bool = True,
    inclusive_boxes: bool = False,
    mask_bbox: bool = False,
    keep_masks: bool = False,
    min_part: float = 0.0,
    max_hole: float = 0.0,
) -> tuple[str, int]:
    """Refine the raw masks of a COCO file image by image.

    Args:
        boxes: COCO file; its masks are not read unless they are kept.
        raw: The raw masks, see :func:`load_results`.
        out: COCO file to write, the boxes with their proxy masks (:func:`refine_annotations`).
        merge: See :func:`refine_rles`.
        inclusive_boxes: See :func:`mmboxcaseg.proxy.box_agreement`.
        mask_bbox: See :func:`refine_annotations`.
        keep_masks: See :func:`refine_annotations`.
        min_part: See :func:`refine_annotations`.
        max_hole: See :func:`refine_annotations`.

    Returns:
        What :func:`summarize_agreement` says, and how many objects had no raw mask.

    Raises:
        InputError: If a file cannot be read or written, an entry of it is wrong, or there is no
            mask.

    Example:
        >>> refine_proxy_masks('boxes.json', 'raw.json', 'proxy.json')  # doctest: +SKIP
    """
    check_share('--min-part', min_part)
    check_share('--max-hole', max_hole)
    check_output(out, inputs=[boxes, raw])
    coco = load_coco(boxes)
    check_bboxes(coco)
    if keep_masks:
        check_true_masks(coco)
    groups = ImageGroups(coco, keep_masks)
    kept = keep_masks and any(annotation.segmentation for annotation in coco.objects)
    del coco
    by_image = results_by_image(load_results(raw), groups.images, raw)
    if not (by_image or kept):
        raise InputError(
            f'{raw} has no mask: give the raw masks of the boxes of {boxes}, such as those that '
            '`mmboxcaseg generate --raw-out` writes'
        )
    agreement: list[float] = []
    missing = empty = 0

    def proxies() -> Iterator[bytes]:
        nonlocal missing, empty
        for index in trange(len(groups), desc='refine', unit='image'):
            image, annotations = groups.image(index), groups.annotations(index)
            known = match_image(annotations, by_image.pop(image.id, []), raw)
            refined = refine_annotations(
                image,
                annotations,
                read_masks({id_: r.segmentation for id_, r in known.items()}, image.shape, raw),
                scores={id_: r.score for id_, r in known.items() if r.score is not None},
                merge=merge,
                inclusive_boxes=inclusive_boxes,
                mask_bbox=mask_bbox,
                keep_masks=keep_masks,
                min_part=min_part,
                max_hole=max_hole,
            )
            missing += sum(annotation.id not in known for annotation in groups.wanted(index))
            for annotation, proxy in zip(annotations, refined, strict=True):
                if annotation.is_object:
                    value = proxy['box_agreement']
                    agreement.append(NO_EVIDENCE if annotation.is_pixel else value)
                    # A true mask, which is of any kind, has a pixel.
                    empty += not value and Proxy(proxy['segmentation']).is_empty
                yield json.dumps(proxy).encode()

    write_coco(groups.top, groups.in_file_order(proxies()), out)
    return summarize_agreement(agreement, empty, groups.left_out), missing


def combine_rounds(rounds: Sequence[str | Path], out: str | Path) -> int:
    """Rate the masks of a last round by all rounds.

    Args:
        rounds: Files of proxy masks of the same boxes, the last round last.
        out: COCO file to write: the last one, each quality replaced by
            :func:`mmboxcaseg.proxy.combined_quality`.

    Returns:
        How many masks are rated: those that have a quality in the last file.

    Raises:
        InputError: If a file is broken, see :func:`load_proxies`; if a mask that has a quality in
            the last file has none in another; if ``out`` cannot be written.
    """
    last = load_coco(rounds[-1], ProxyAnnotation)
    rated = [a.id for a in last.objects if a.quality is not None]
    columns = []
    for path in rounds:
        proxies = load_proxies(path, last)
        columns.append([known_quality(proxies[id_], id_, path) for id_ in rated])
    quality = dict(zip(rated, combined_quality(np.array(columns)).tolist(), strict=True))
    texts = (
        json.dumps(a.content() | (dict(quality=quality[a.id]) if a.id in quality else {})).encode()
        for a in last.annotations
    )
    write_coco(last.top, texts, out)
    return len(rated)


def known_quality(proxy: Proxy, id_: Id, path: str | Path) -> float:
    """The quality of a mask that was made by a network.

    Args:
        proxy: The mask.
        id_: Of its annotation, for the message.
        path: Its file, for the message.

    Raises:
        InputError: If it has none: it may be a true mask.
    """
    if proxy.quality is None:
        raise InputError(
            f'annotation {id_} of {path} has no quality, so it may be a true mask, which training '
            f'never reads: make proxy masks with {MASK_TOOL}'
        )
    return proxy.quality


def rank_proxies(proxies: Mapping[Id, Proxy], path: str | Path) -> tuple[str, dict[Id, float]]:
    """Find by what the masks of a file are ranked.

    Args:
        proxies: Annotation id to proxy, of :func:`load_proxies`.
        path: Their file, for the message.

    Returns:
        ``'quality'`` where every mask has one, else ``'agreement'``, and each mask's; 0 of an empty
        mask, which the merge may have emptied and which keeps the quality that it had before.

    Raises:
        InputError: If the file has neither.

    Example:
        >>> full, empty = dict(size=[1, 2], counts='02'), dict(size=[1, 2], counts='2')
        >>> rank_proxies({5: Proxy(full, 0.5, 0.25), 6: Proxy(empty, 0.0)}, 'proxy.json')
        ('quality', {5: 0.25, 6: 0.0})
        >>> rank_proxies({5: Proxy(full, 0.5, 0.25), 6: Proxy(full, 1.0)}, 'proxy.json')
        ('agreement', {5: 0.5, 6: 1.0})
    """
    for measure, attribute in (('quality', 'quality'), ('agreement', 'box_agreement')):
        values = {
            id_: 0.0 if proxy.is_empty else getattr(proxy, attribute)
            for id_, proxy in proxies.items()
        }
        if None not in values.values():
            return measure, values
    raise InputError(
        f'the masks of {path} have neither quality nor box_agreement: rate them with '
        'mmboxcaseg refine'
    )


def summarize_proxies(annotations: Iterable[ProxyAnnotation]) -> str:
    """Say in a few words how good proxy masks are; see :func:`summarize_agreement`."""
    agreement, empty, reasons = [], 0, []
    for annotation in annotations:
        reasons.append(annotation.left_out)
        if annotation.is_object:
            value = annotation.box_agreement
            agreement.append(NO_EVIDENCE if annotation.is_pixel else value)
            # A mask that leaves its box may agree by 0 without being empty.
            empty += not value and Proxy(annotation.segmentation).is_empty
    return summarize_agreement(agreement, empty, tell_reasons(reasons))


def summarize_agreement(agreement: Sequence[float], empty: int, left_out: str = '') -> str:
    """Say in a few words how good proxy masks are.

    Args:
        agreement: Box agreement of all objects, :data:`NO_EVIDENCE` of boxes of a pixel.
        empty: How many of their masks are empty.
        left_out: What is said of annotations that are no objects.

    Returns:
        One line: how many boxes, how many empty masks, the share above each agreement that the
        paper compares, and what is left out.

    Example:
        >>> summarize_agreement([0.0, 0.96], empty=1).split(';')[0]
        '2 boxes, 1 empty masks'
    """
    agreement = np.asarray(agreement, dtype=np.float64)
    left_out = left_out and f'; {left_out}'
    if not len(agreement):
        return f'no box to give a mask{left_out}'
    known = agreement[~np.isnan(agreement)]
    shares = ', '.join(f'{(known > t).mean():.1%} above {t:.2f}' for t in AGREEMENTS if len(known))
    if pixels := len(agreement) - len(known):
        shares += ', ' if shares else ''
        shares += f'no evidence of {pixels} boxes of a pixel'
    return f'{len(agreement)} boxes, {empty} empty masks; agreement: {shares}{left_out}'


def _read_proxy(annotation: ProxyAnnotation, image: Image, path: str | Path) -> Proxy:
    rle = annotation.segmentation
    if not isinstance(rle, dict) or not isinstance(rle['counts'], str):
        rle = read_masks({annotation.id: rle}, image.shape, path)[annotation.id]
    proxy = Proxy(rle, annotation.box_agreement, annotation.quality)
    return proxy._replace(quality=0.0) if proxy.quality is None and proxy.is_empty else proxy


def _read_partial(annotation: ProxyAnnotation, image: Image, path: str | Path) -> Proxy:
    # One that has numbers is a proxy mask.
    if annotation.box_agreement is not None or annotation.quality not in (None, 1):
        return _read_proxy(annotation, image, path)
    if annotation.true_mask is None:
        return Proxy(empty_rle(image.shape), 0.0, 0.0)
    return _read_proxy(annotation, image, path)._replace(box_agreement=1.0, quality=1.0)
