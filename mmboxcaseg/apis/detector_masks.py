"""Raw masks of a trained detector in given boxes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.structures import InstanceData
from torch import nn
from tqdm import tqdm

from mmboxcaseg.coco import Coco, annotation_bboxes, load_coco, mask_result
from mmboxcaseg.coco.annotations import Id
from mmboxcaseg.coco.checks import check_bboxes, image_paths, images_of_objects
from mmboxcaseg.engine.checkpoint import load_model_weights
from mmboxcaseg.engine.checks import check_loaded
from mmboxcaseg.engine.config import (
    box_pipeline,
    build_model,
    class_name,
    config_errors,
    innermost,
    load_config,
)
from mmboxcaseg.engine.device import check_device, default_device
from mmboxcaseg.engine.reading import set_reading
from mmboxcaseg.errors import InputError, listing
from mmboxcaseg.fileio import check_output, write_json
from mmboxcaseg.images import ImageReader
from mmboxcaseg.models import BBAM
from mmboxcaseg.proxy import box_mask, encode_rle

from .attribution_masks import masks_by_attribution


def make_detector_masks(
    config: Config | str | Path,
    checkpoint: str | Path,
    ann_file: str | Path,
    img_root: str | Path,
    out: str | Path,
    *,
    source: str = 'mask-head',
    device: str | None = None,
    reader: ImageReader | None = None,
) -> int:
    """Draw a mask into every box of a COCO file by a trained detector.

    The boxes take the place of the detector's own; each mask is that of the box's category and ends
    at the box. Boxes of categories that are none of the config's classes are left out. Images are
    seen as in the config's test.

    Args:
        config: Config of a two-stage detector of mmdet's, or its file.
        checkpoint: Its checkpoint.
        ann_file: COCO file with boxes; its masks are not read.
        img_root: Folder of its images.
        out: COCO results file to write, raw masks for ``mmboxcaseg refine``.
        source: What draws them: ``'mask-head'``, the mask head of a Mask R-CNN, or ``'bbam'``, what
            any detector needs of an image to find its objects, see
            :class:`mmboxcaseg.models.BBAM`, whose settings are ``model.test_cfg.bbam``. It looks at
            an image some hundred times for each box.
        device: Where the network runs; by default the GPU if there is one.
        reader: How images are read; by default as the config says.

    Returns:
        How many masks there are.

    Raises:
        InputError: If a file cannot be read or written or an entry of it is wrong, the model does
            not have the head for given boxes, a setting is wrong, the checkpoint does not fit it,
            or no category of the boxes is one of its classes.

    Example:
        >>> from mmboxcaseg.apis import make_detector_masks
        >>> make_detector_masks(
        ...     'mask_rcnn.py', 'iter_22500.pth', 'boxes.json', 'images', 'raw.json'
        ... )  # doctest: +SKIP
    """
    config = config if isinstance(config, Config) else load_config(config)
    if reader:
        set_reading(config, reader)
    device = device or default_device()
    check_device(device)
    coco = load_coco(ann_file)
    check_bboxes(coco)
    labels = _labels(coco, config)
    images = images_of_objects(coco)
    paths = image_paths(images, img_root, ann_file)
    check_output(out, [config.filename or '', checkpoint, ann_file, *paths.values()])
    model = build_model(config)  # before the pipeline: it sets the scope of names
    with config_errors(config):
        transforms = [t for t in box_pipeline(config) if class_name(t) != 'LoadAnnotations']
        pipeline = Compose(transforms)
    check_loaded(transforms, {paths[image.id]: image.shape for image in images}, ann_file)
    draw = _drawer(source, model, config)
    model = revert_sync_batchnorm(model)
    load_model_weights(model, checkpoint)
    model = model.to(device).eval()
    results = []
    total = sum(annotation.category_id in labels for annotation in coco.objects)
    with tqdm(total=total, desc='masks', unit='box') as progress:
        for image, objects in coco.objects_by_image():
            objects = [annotation for annotation in objects if annotation.category_id in labels]
            if not objects:
                continue
            masks = draw(
                model,
                pipeline(dict(img_path=paths[image.id], img_id=image.id)),
                annotation_bboxes(objects),
                [labels[annotation.category_id] for annotation in objects],
            )
            for annotation, mask in zip(objects, masks, strict=True):
                results.append(mask_result(annotation, encode_rle(mask)))
                progress.update()
    write_json(results, out)
    return len(results)


@torch.no_grad()
def masks_in_boxes(
    model: nn.Module, packed: dict, bboxes: np.ndarray, labels: Sequence[int]
) -> np.ndarray:
    """Predict masks in given boxes of one image.

    Args:
        model: A Mask R-CNN in eval mode.
        packed: The image, as its test pipeline gives it.
        bboxes: (N, 4) boxes xyxy in pixels of the image as it is stored.
        labels: N classes.

    Returns:
        (N, H, W) bool, each false outside its pixel box.
    """
    data = model.data_preprocessor(pseudo_collate([packed]), False)
    (sample,) = data['data_samples']
    factor = np.tile(sample.metainfo.get('scale_factor', (1, 1)), 2)
    boxes = InstanceData(
        bboxes=data['inputs'].new_tensor(bboxes * factor),
        labels=torch.tensor(labels, device=data['inputs'].device),
    )
    features = model.extract_feat(data['inputs'])
    (predicted,) = model.roi_head.predict_mask(features, [sample.metainfo], [boxes], rescale=True)
    masks = predicted.masks.cpu().numpy()
    return np.stack(
        [mask & box_mask(bbox, masks.shape[1:]) for mask, bbox in zip(masks, bboxes, strict=True)]
    )


def _drawer(
    source: str, model: nn.Module, config: Config
) -> Callable[[nn.Module, dict, np.ndarray, Sequence[int]], Iterable[np.ndarray]]:
    """What draws masks as :func:`masks_in_boxes` does, if the model has the head for it."""
    head = getattr(model, 'roi_head', None)
    if source == 'mask-head':
        draw, kind, part = masks_in_boxes, 'Mask R-CNN', 'mask head'
        fits = getattr(head, 'with_mask', False)
    else:
        draw, kind, part = masks_by_attribution, 'two-stage detector', 'single box head'
        fits = hasattr(getattr(head, 'bbox_head', None), 'bbox_coder')
    if not fits:
        raise InputError(
            f'{config.filename or "the config"} is of no {kind}: its model, '
            f'{type(model).__name__}, has no {part} that takes given boxes'
        )
    if source == 'bbam':
        with config_errors(config):
            draw = partial(draw, bbam=BBAM(**(model.test_cfg.get('bbam') or {})))
    return draw


def _labels(coco: Coco, config: Config) -> dict[Id, int]:
    """Category id to class, for the categories that are classes."""
    loader = config.get('test_dataloader') or config.get('val_dataloader') or {}
    metainfo = innermost(loader.get('dataset') or {}).get('metainfo') or CocoDataset.METAINFO
    classes = list(metainfo['classes'])
    used = {annotation.category_id for annotation in coco.objects}
    names = {category.id: category.name for category in coco.categories if category.id in used}
    labels = {id_: classes.index(name) for id_, name in names.items() if name in classes}
    others = [name for id_, name in names.items() if id_ not in labels]
    if others:
        message = (
            f'categories {listing(map(repr, others))} of {coco.path} are none of the classes of '
            f'{config.filename or "the config"}'
        )
        if not labels:
            raise InputError(f'{message}: give the config that the network was trained with')
        print_log(f'{message}: their boxes get no mask', 'current', logging.WARNING)
    return labels
