"""What can be known to be wrong before a run begins."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS, METRICS, MODELS, TRANSFORMS, Registry, init_default_scope

from mmboxcaseg.coco.annotations import Coco, check_masks, load_coco
from mmboxcaseg.coco.checks import check_bboxes, check_headers, image_paths
from mmboxcaseg.coco.proxies import (
    MASK_TOOL,
    has_some_masks,
    known_quality,
    load_proxy_file,
    read_proxies,
)
from mmboxcaseg.coco.repairs import find_faults
from mmboxcaseg.datasets.box_instances import BoxInstanceDataset, read_classes
from mmboxcaseg.datasets.mended_coco import MendedCocoDataset
from mmboxcaseg.datasets.proxy_coco import ProxyCocoDataset
from mmboxcaseg.datasets.salient_objects import SalientObjectDataset
from mmboxcaseg.datasets.transforms import BoxPatch, DenoiseProxyMasks, DropProxyMasks
from mmboxcaseg.engine.checkpoint import (
    check_fits,
    check_kind,
    check_resumable,
    check_shares_weights,
    load_checkpoint_file,
)
from mmboxcaseg.engine.config import build_model, config_errors, dicts
from mmboxcaseg.engine.reading import reading_of
from mmboxcaseg.errors import InputError, check_share, listing, warn_once
from mmboxcaseg.evaluation import CocoAPMetric, VOCInstanceMetric
from mmboxcaseg.images import BACKEND, ImageReader
from mmboxcaseg.models import BoxCaseg
from mmboxcaseg.models.dense_heads import ProxyMask2FormerHead, ProxyRTMDetInsSepBNHead
from mmboxcaseg.models.roi_heads import ProxyMaskHead

#: Transforms that write into masks what is not to be learnt, and the mask heads that know of it.
_KNOWN_BY = {
    DropProxyMasks: (ProxyMaskHead, ProxyRTMDetInsSepBNHead, ProxyMask2FormerHead),
    DenoiseProxyMasks: (ProxyMaskHead,),
}


def check_classes(coco: Coco, classes: Sequence[str]) -> None:
    """Compare a COCO file's categories with a config's classes.

    mmdet goes wrong in silence on each difference: it numbers classes in the file's order, and
    ends in "need at least one array to concatenate" when no annotation is left. That it drops
    annotations of other categories may be what is wanted, so this is a warning.

    Args:
        coco: The file.
        classes: The config's class names.

    Raises:
        InputError: If a class is not in the file, or their order differs.
    """
    names = [category.name for category in coco.categories]
    shown = listing(map(repr, names))
    if coco.root and coco.root.name in classes:
        raise InputError(
            f'category {coco.root.id} of {coco.path}, the root that Roboflow adds, has the name of '
            f'class {coco.root.name!r}, so mmdet would count it as one: remove it'
        )
    used_ids = {annotation.category_id for annotation in coco.annotations}
    wanted, present = set(classes), set(names)
    missing = [name for name in classes if name not in present]
    if missing:
        raise InputError(
            f"class {missing[0]!r} of the config's metainfo.classes is not in {coco.path}, "
            f'whose categories are {shown}'
        )
    unknown = [c.name for c in coco.categories if c.id in used_ids and c.name not in wanted]
    if unknown:
        print_log(
            f"categories {listing(map(repr, unknown))} of {coco.path} are not in the config's "
            'metainfo.classes: their annotations are left out',
            'current',
            logging.WARNING,
        )
    if [name for name in names if name in wanted] != list(classes):
        raise InputError(
            "the config's metainfo.classes are in another order than the categories of "
            f'{coco.path}, which are {shown}: mmdet numbers them in the order of the file'
        )


def check_coco_dataset(config: dict[str, Any], default_classes: Sequence[str] = ()) -> bool:
    """Check the files of an mmdet ``CocoDataset``.

    Args:
        config: The dataset's config.
        default_classes: Classes where the config gives none.

    Returns:
        Whether only some boxes have a mask, which a ``ProxyCocoDataset`` takes.

    Raises:
        InputError: If the annotation file is missing, is no COCO file, has other classes than the
            config, a box outside its image, in training no annotations, or masks that are loaded
            and missing or of another size; or the image folder or an image is missing.
    """
    root = config.get('data_root') or ''
    ann_file = os.path.join(root, config['ann_file'])
    transforms = list(_with_key(config.get('pipeline'), 'type'))
    drops = [transform for transform in transforms if _is_drop(transform)]
    takes_some = issubclass(_class_of(config, DATASETS), ProxyCocoDataset)
    if drops:
        coco = load_proxy_file(ann_file)
        proxies = read_proxies(coco, partial=takes_some)
        if any(drop.get('min_quality') is not None for drop in drops):
            for id_, proxy in proxies.items():
                known_quality(proxy, id_, ann_file)
    else:
        coco = load_coco(ann_file)
    if coco.objects or not config.get('test_mode'):
        check_bboxes(coco)
    with_masks = any(transform.get('with_mask') for transform in transforms)
    if not issubclass(_class_of(config, DATASETS), MendedCocoDataset):
        _refuse_faults(find_faults(coco, masks=with_masks), ann_file, 'MendedCocoDataset')
    classes = (config.get('metainfo') or {}).get('classes', default_classes)
    check_classes(coco, read_classes(classes))
    folder = os.path.join(root, (config.get('data_prefix') or {}).get('img', ''))
    paths = image_paths(coco.images, folder, ann_file)
    is_partial = takes_some and has_some_masks(coco)
    if not (drops or is_partial) and with_masks:
        check_masks(
            coco,
            f', which the pipeline loads: make one with {MASK_TOOL}, or train on the masks that '
            'there are with mmboxcaseg.ProxyCocoDataset and mmboxcaseg.ProxyMaskHead',
        )
    check_loaded(transforms, {paths[i.id]: i.shape for i in coco.images}, ann_file)
    return is_partial


def _refuse_faults(faults: dict[str, str], ann_file: str, type_: str) -> None:
    """What a class of mmdet's makes of a file that one of this package mends."""
    for fault in faults.values():
        raise InputError(
            f'{fault.split(": ")[0]} in {ann_file}, which mmdet misreads: correct it, or give the '
            f"type 'mmboxcaseg.{type_}', which mends it in memory"
        )


def check_loaded(
    pipeline: Iterable[dict[str, Any]], shapes: dict[str, tuple[int, int]], ann_file: str | Path
) -> None:
    """Check images that mmdet's ``LoadImageFromFile`` reads, by this package's rule or its own.

    Args:
        pipeline: Transforms of a config, this one among them.
        shapes: Path of each image to the (height, width) that the file of its boxes says.
        ann_file: That file.

    Raises:
        InputError: If an image is broken, too large, of another size than said or turned by EXIF,
            or has more than 8 bits where mmdet reads it.
    """
    for transform in pipeline:
        if issubclass(_class_of(transform, TRANSFORMS), LoadImageFromFile):
            _check_loaded(transform, shapes, ann_file)


def _check_loaded(
    transform: dict[str, Any], shapes: dict[str, tuple[int, int]], ann_file: str | Path
) -> None:
    if (transform.get('backend_args') or {}).get('backend') == BACKEND:
        check_headers(shapes, ann_file, reading_of(transform))
        return
    turns = transform.get('color_type', 'color') not in ('unchanged', 'color_ignore_orientation')
    reader = ImageReader(exif=turns)
    remedy = f"give LoadImageFromFile backend_args=dict(backend='{BACKEND}')"
    for path, said in shapes.items():
        header = reader.header(path)
        if said != (header.turned if turns else header.stored):
            if turns and said == header.stored:
                raise InputError(f'{path} is turned as EXIF says, its boxes are not: {remedy}')
            raise InputError(reader.explain_shape(path, said, ann_file))
        if header.is_deep:
            raise InputError(f'{path} has more than 8 bits, of which mmdet keeps 8: {remedy}')
        if turns and header.stored == header.turned and header.orientation > 1:
            warn_once(
                f'{path} is turned as EXIF says; where its boxes are of the pixels as stored, '
                f'{remedy}'
            )


def check_data(config: Config, splits: Iterable[str]) -> None:
    """Check the files of every dataset and metric that a run will use.

    This package's own datasets and metrics check themselves when they are built, so they are built
    for it.

    Args:
        config: Config of the run.
        splits: Out of ``'train'``, ``'val'`` and ``'test'``.

    Raises:
        InputError: If a metric's annotation file is missing, or a file is not as it should be; see
            :func:`check_coco_dataset`, :class:`mmboxcaseg.datasets.BoxInstanceDataset`,
            :class:`mmboxcaseg.datasets.SalientObjectDataset` and
            :class:`mmboxcaseg.evaluation.VOCInstanceMetric`.
    """
    init_default_scope(config.get('default_scope', 'mmdet'))
    for split in splits:
        loader = config.get(f'{split}_dataloader') or {}
        for dataset in _with_key(loader.get('dataset'), 'type', skip='pipeline'):
            type_ = _class_of(dataset, DATASETS)
            if issubclass(type_, CocoDataset):
                if check_coco_dataset(dataset, type_.METAINFO.get('classes', ())):
                    reason = f'{dataset["ann_file"]} has boxes without a mask'
                    _check_heads(config, _KNOWN_BY[DropProxyMasks], reason)
            elif issubclass(type_, BoxInstanceDataset | SalientObjectDataset):
                with config_errors(config):
                    built = DATASETS.build(dict(dataset, pipeline=[], lazy_init=False))
                if issubclass(type_, BoxInstanceDataset) and dataset.get('pipeline'):
                    check_headers(
                        built.img_shapes(), built.ann_file, reading_of(dataset['pipeline'])
                    )
        for metric in _with_key(config.get(f'{split}_evaluator'), 'ann_file'):
            if metric['ann_file'] and not os.path.isfile(metric['ann_file']):
                raise InputError(f'there is no annotation file {metric["ann_file"]} to score with')
            type_ = _class_of(metric, METRICS) if 'type' in metric else object
            if issubclass(type_, VOCInstanceMetric | CocoAPMetric):
                with config_errors(config):
                    METRICS.build(metric)
            elif issubclass(type_, CocoMetric) and metric['ann_file']:
                _check_coco_metric(metric)


def _check_coco_metric(metric: dict[str, Any]) -> None:
    """Check the file of mmdet's own metric."""
    kinds = metric.get('metric', 'bbox')
    masks = 'segm' in ([kinds] if isinstance(kinds, str) else kinds)
    coco = load_coco(metric['ann_file'])
    faults = find_faults(coco, scoring=True, masks=masks)
    # mmdet has no words for what is ignored; that is no fault of the file.
    faults.pop('ignore', None)
    _refuse_faults(faults, metric['ann_file'], 'CocoAPMetric')
    if masks:
        check_masks(coco, ' to score against')


def check_sampler(config: Config) -> None:
    """Check that a sampler which composes batches does so for the loader's batch size.

    Args:
        config: Config of the run.

    Raises:
        InputError: If the train loader and its sampler have different batch sizes.
    """
    loader = config.get('train_dataloader') or {}
    size = (loader.get('sampler') or {}).get('batch_size')
    if size is not None and size != loader.get('batch_size'):
        raise InputError(
            f'train_dataloader.sampler.batch_size is {size}, but train_dataloader.batch_size is '
            f'{loader.get("batch_size")}: set both to the same'
        )


def check_mask_head(config: Config) -> None:
    """Check that where masks are dropped the mask head leaves them out.

    Another head would learn the boxes with which the dropped masks are filled, or pixels that are
    to be ignored.

    Args:
        config: Config of the run.

    Raises:
        InputError: If the train pipeline drops masks or ignores pixels and a mask head does not
            know of it.
    """
    transforms = list(_with_key((config.get('train_dataloader') or {}).get('dataset'), 'type'))
    for kind, known in _KNOWN_BY.items():
        if any(issubclass(_class_of(transform, TRANSFORMS), kind) for transform in transforms):
            _check_heads(config, known, f'the train pipeline has a mmboxcaseg.{kind.__name__}')


def _check_heads(config: Config, known: tuple[type, ...], reason: str) -> None:
    """Check that the mask heads are of classes that leave out what is not to be learnt from."""
    heads = _mask_heads(config.model)
    others = [head for head in heads if not issubclass(_class_of(head, MODELS), known)]
    if others or not heads:
        head = f'the mask head {others[0]["type"]}' if others else 'a model without a mask head'
        names = ' or '.join(f"'mmboxcaseg.{part.__name__}'" for part in known)
        raise InputError(
            f'{reason}, of which {head} knows nothing: set the type of its mask head to {names}, '
            'which leaves out of the loss what is not to be learnt'
        )


def _mask_heads(model: dict[str, Any]) -> list[dict[str, Any]]:
    heads = [part['mask_head'] for part in _with_key(model, 'mask_head')]
    heads = [head for part in heads for head in (part if isinstance(part, list) else [part])]
    # RTMDet-Ins and Mask2Former predict masks in the head that predicts all else.
    whole = [model.get(name) or {} for name in ('bbox_head', 'panoptic_head')]
    return [head for head in heads if head] + [head for head in whole if 'loss_mask' in head]


def check_slack(config: Config, views: Any, slack: float | None = None) -> None:
    """Check that the patches of a test show as much as masks may lie in.

    Args:
        config: Config of the run.
        views: The pipeline, or a part of the config with pipelines in it.
        slack: See :func:`mmboxcaseg.proxy.mask_windows`; by default that of the model's
            ``test_cfg``.

    Raises:
        InputError: If it is not in [0, 1], or above the margin of a ``BoxPatch``.
    """
    if slack is None:
        slack = (config.get('model', {}).get('test_cfg') or {}).get('slack', 0.0)
    check_share('slack', slack)
    for transform in _with_key(views, 'type') if slack else ():
        margin = transform.get('margin', 0.0)
        if issubclass(_class_of(transform, TRANSFORMS), BoxPatch) and margin < slack:
            raise InputError(
                f'masks may leave their boxes by a slack of {slack:g}, but a BoxPatch of '
                f'{config.filename or "the config"} has a margin of {margin:g}: give each a margin '
                'of at least the slack, or lower the slack'
            )


def check_pretrained(model: dict[str, Any]) -> None:
    """Check the files that a model's parts are initialised from.

    Args:
        model: Config of the model.

    Raises:
        InputError: If a local file is missing or is no checkpoint.
    """
    for key in ('checkpoint', 'pretrained'):
        for part in _with_key(model, key):
            if isinstance(part[key], str) and is_local(part[key]):
                load_checkpoint_file(part[key])


def check_checkpoint(
    config: Config, path: str | None, resume: bool = False, strict: bool = True
) -> None:
    """Check that a checkpoint can be loaded into the model of a config.

    The model is built for it, also where there is no checkpoint, which takes less than what would
    be lost otherwise: processes that are in the middle of talking to each other cannot be told
    that one of them gives up.

    Args:
        config: Config of the run.
        path: The checkpoint file; for an address or None the model alone is checked.
        resume: Whether training is to go on from it.
        strict: Whether every weight must fit, or one is enough, as in fine-tuning.

    Raises:
        InputError: If the model cannot be built, or the checkpoint cannot be used; see
            :mod:`mmboxcaseg.engine.checkpoint`.
    """
    model = build_model(config)
    if not is_local(path):
        return
    checkpoint = load_checkpoint_file(path)
    if resume:
        check_resumable(checkpoint, path)
    if strict:
        check_kind(model, checkpoint, path)
        check_fits(model, checkpoint, path)
    else:
        # A Mask R-CNN may begin with parts of any detector, a network that is told a box may not
        # with one that is told the other boxes.
        if isinstance(model, BoxCaseg):
            check_kind(model, checkpoint, path, parts=('prompt',))
        check_shares_weights(model, checkpoint, path)


def is_local(path: str | None) -> bool:
    """Whether this is a path, not an address that mmengine fetches from, such as a URL."""
    return path is not None and '://' not in path


def _class_of(config: Any, root: Registry) -> type:
    # What a config's type names; object if the registry does not know it.
    type_ = config['type']
    if isinstance(type_, str):
        with root.switch_scope_and_registry(None) as registry:
            type_ = registry.get(type_)
    return type_ if isinstance(type_, type) else object


def _is_drop(transform: dict[str, Any]) -> bool:
    return issubclass(_class_of(transform, TRANSFORMS), DropProxyMasks)


def _with_key(config: Any, key: str, skip: str = '') -> Iterator[dict[str, Any]]:
    return (part for part in dicts(config, skip) if key in part)
