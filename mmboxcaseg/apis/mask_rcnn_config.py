"""The config of a Mask R-CNN for a file of proxy masks."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mmboxcaseg.coco.annotations import Coco, Id
from mmboxcaseg.coco.repairs import mended, tell_faults
from mmboxcaseg.coco.splitting import val_images
from mmboxcaseg.errors import shown
from mmboxcaseg.fileio import write_bytes, write_json
from mmboxcaseg.images import BACKEND, DEFAULT_READER, ImageReader

# A training has about so many steps, within the bounds of its epochs.
_STEPS, _EPOCHS = 1000, (12, 60)
_BATCH_SIZE = 2

_HEAD = """\
# Mask R-CNN on the masks of {masks}, written by mmboxcaseg masks.
#   mmboxcaseg train {path}
{note}_base_ = __import__('mmboxcaseg').config_path('proxy_mask_rcnn/{base}.py')

work_dir = {work_dir!r}
classes = {classes!r}
max_epochs = {epochs}
batch_size = {batch_size}
images = dict(img={images!r})
train_file = {train_file!r}
val_file = {val_file!r}
num_classes = dict(num_classes=len(classes))
heads = dict(bbox_head=num_classes, mask_head=num_classes)
"""
_NOTE = """\
# The masks that validate are not true ones but those of the network: bbox_mAP tells more than
# segm_mAP does.
"""
_SMALL = """
model = dict(roi_head=heads)
"""
_PRETRAINED = """
# Heads of other classes than the checkpoint's begin anew.
load_from = {pretrained!r}
model = dict(backbone=dict(depth=50, init_cfg=None), roi_head=heads)
# The base's rate is for 16 images at a time.
optim_wrapper = dict(optimizer=dict(lr=0.02 * batch_size / 16))
"""
_TAIL = """
# How images are read, as the masks were made: see mmboxcaseg.images.ImageReader.
load = dict(_base_.load, backend_args={reading!r})
drop_masks = dict(_base_.drop_masks, min_agreement=0.0, min_quality={min_quality!r})
train_pipeline = [load, _base_.annotations, _base_.merge_masks, drop_masks]
train_pipeline += [_base_.resize, _base_.flip, _base_.pack]
test_pipeline = [load, _base_.resize, _base_.annotations, _base_.pack_test]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=2,
    dataset=dict(
        metainfo=dict(classes=classes),
        ann_file=train_file,
        data_prefix=images,
        filter_cfg=dict(min_size=1),  # mmdet leaves images of less than 32 pixels out
        pipeline=train_pipeline,
    ),
)
train_cfg = dict(max_epochs=max_epochs, val_interval=max(max_epochs // 6, 1))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end={warm_up}),
    dict(type='CosineAnnealingLR', by_epoch=True, T_max=max_epochs, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=batch_size)
default_hooks = dict(
    checkpoint=dict(max_keep_ckpts=3),
    logger=dict(interval=10),
    visualization=dict(backend_args=load['backend_args']),
)
"""
_VAL = """
val_dataloader = dict(
    num_workers=1,
    dataset=dict(
        metainfo=dict(classes=classes),
        data_root='',
        ann_file=val_file,
        data_prefix=images,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=val_file)
test_evaluator = val_evaluator
"""
_NO_VAL = """
# One image is too few to validate.
val_dataloader = test_dataloader = None
val_evaluator = test_evaluator = None
"""


def write_mask_rcnn(
    coco: Coco,
    images: str | Path,
    out: Path,
    min_quality: float,
    pretrained: str | Path | None = None,
    true: Coco | None = None,
    reader: ImageReader = DEFAULT_READER,
) -> str:
    """Write ``mask_rcnn.py``, ``masks_train.json`` and ``masks_val.json``.

    Args:
        coco: File of proxy masks.
        images: Folder of its images.
        out: Folder to write to.
        min_quality: Masks of a quality above it train.
        pretrained: Checkpoint of mmdet's Mask R-CNN R-50 FPN, which the training then begins with
            in full size; by default a small network begins with ImageNet weights.
        true: Images with true masks to validate on, none of which then train; by default a part of
            the file's own, see :func:`val_images`.
        reader: How images are read.

    Returns:
        In a few words, how many images train and validate, and how long.

    Raises:
        InputError: If a file cannot be written.
    """
    used = {annotation.image_id for annotation in coco.objects}
    if true is None:
        val = val_images(coco)
        train = used - val
    else:
        val = {image.id for image in true.images}
        names = {image.file_name for image in true.images}
        train = used - {image.id for image in coco.images if image.file_name in names}
    files = {name: str((out / f'masks_{name}.json').resolve()) for name in ('train', 'val')}
    _write_part(coco, train, files['train'])
    _write_part(true or coco, val, files['val'], scoring=True)
    steps = -(-len(train) // _BATCH_SIZE)
    epochs = int(np.clip(round(_STEPS / steps), *_EPOCHS))
    path = out / 'mask_rcnn.py'
    text = _HEAD.replace('{note}', _NOTE if true is None else '')
    text += _PRETRAINED if pretrained else _SMALL
    text += _TAIL + (_VAL if val else _NO_VAL)
    filled = dict(
        masks=coco.path,
        base='r101_fpn_coco' if pretrained else 'effnet-lite0_fpn_coco-mini',
        path=shlex.quote(str(path)),
        work_dir=str((out / 'mask_rcnn').resolve()),
        classes=tuple(category.name for category in coco.categories),
        epochs=epochs,
        batch_size=_BATCH_SIZE,
        images=f'{Path(images).resolve()}/',
        train_file=files['train'],
        val_file=files['val'],
        min_quality=min_quality,
        reading=dict(backend=BACKEND, **asdict(reader)),
        pretrained=str(Path(pretrained).resolve()) if pretrained else None,
        warm_up=min(100, epochs * steps // 10),
    )
    # In one go: a class may have the name of a field.
    text = re.sub(
        rf'{{({"|".join(filled)})(!r)?}}',
        lambda field: (_literal if field[2] else _comment)(filled[field[1]]),
        text,
    )
    write_bytes(text.encode(), path)
    return f'Mask R-CNN, {len(train)} images to train, {len(val)} to validate, {epochs} epochs'


def _literal(value: Any) -> str:
    # mmengine fills what stands in two braces, also within a string.
    return repr(value).replace('{{', r'{\x7b')


def _comment(value: Any) -> str:
    return shown(value).replace('{{', '{ {')


def _write_part(coco: Coco, ids: set[Id], path: str, scoring: bool = False) -> None:
    tell_faults(coco, scoring)
    content = mended(coco, scoring)
    content['images'] = [image for image in content['images'] if image['id'] in ids]
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] in ids]
    write_json(content, path)
