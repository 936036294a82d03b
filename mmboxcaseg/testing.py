"""Tiny data in the real layout, and any config of the package made small enough to train on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmdet.datasets import CocoDataset
from mmengine.config import Config

from mmboxcaseg.engine.config import dicts

#: Config of the smallest BoxCaseg, with two views of a box.
TINY_CONFIG = """
head = dict(type='mmboxcaseg.PatchHead', in_channels=60)
model = dict(
    type='mmboxcaseg.BoxCaseg',
    data_preprocessor=dict(type='mmengine.ImgDataPreprocessor', mean=[0, 0, 0], std=[255] * 3),
    backbone=dict(type='mmdet.ResNet', depth=18, base_channels=4, norm_eval=False),
    weak_head=head,
    salient_head=head,
    transferred_head=dict(head, type='mmboxcaseg.TransferredHead'),
)
load, pack = dict(type='mmboxcaseg.LoadPatchImage'), dict(type='mmboxcaseg.PackPatchInputs')
crop = dict(type='mmboxcaseg.BoxPatch', size=32)
test_dataloader = dict(dataset=dict(pipeline=[load, crop, pack]))
tta_model = dict(type='mmboxcaseg.BoxCasegTTAModel')
tta_pipeline = [
    load,
    dict(type='TestTimeAug', transforms=[
        [dict(type='mmboxcaseg.BoxPatch', size=24, margin=margin) for margin in (0.2, 0.6)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [pack],
    ]),
]
"""

# Arguments of transforms that make their output small.
_SMALL = {
    'mmboxcaseg.RandomBoxPatch': dict(size=32),
    'mmboxcaseg.RandomSalientPatch': dict(resize=36, size=32),
    'mmboxcaseg.BoxPatch': dict(size=32),
    'mmboxcaseg.WholeImagePatch': dict(size=32),
    'Resize': dict(scale=(64, 64)),
    'RandomChoiceResize': dict(scales=[(64, 64)]),
    'RandomResize': dict(scale=(64, 64)),
    'RandomCrop': dict(crop_size=(64, 64)),
    'Pad': dict(size=(64, 64)),
    'CachedMosaic': dict(img_scale=(64, 64)),
    'CachedMixUp': dict(img_scale=(64, 64)),
    'BatchFixedSizePad': dict(size=(64, 64)),
}
_MMDET_DATASETS = ('CocoDataset', 'mmboxcaseg.ProxyCocoDataset')
_DATASETS = (
    'mmboxcaseg.BoxInstanceDataset',
    'mmboxcaseg.SalientObjectDataset',
    *_MMDET_DATASETS,
)
_COCO_FILE = 'coco/annotations/instances.json'


def make_tiny_data(root: Path) -> None:
    """Draw a data set: bright ellipses on a dark ground.

    Args:
        root: The folder; ``coco/`` in it gets COCO's layout, four images of 48x40 with three boxes
            each, in two classes, whose masks pass for proxy masks, and ``salient/`` that of DUTS,
            six images.
    """
    rng = np.random.default_rng(0)
    coco = dict(
        images=[],
        annotations=[],
        categories=[dict(id=3, name='cat'), dict(id=7, name='dog')],
    )
    bboxes = [[2, 3, 20, 18], [4, 5, 20, 16], [26, 8, 14, 30]]
    for img_id in range(1, 5):
        name = f'{img_id:03d}.png'
        image = rng.integers(0, 60, (40, 48, 3), dtype=np.uint8)
        for number, (x, y, w, h) in enumerate(bboxes):
            centre, axes = (x + w // 2, y + h // 2), (w // 2 - 1, h // 2 - 1)
            colour = (200 - 40 * number, 120, 80 + 40 * number)
            cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1)
            coco['annotations'].append(
                dict(
                    id=10 * img_id + number,
                    image_id=img_id,
                    category_id=3 if number else 7,
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                    segmentation=[[x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h / 2]],
                    box_agreement=1.0,
                    quality=0.9,
                )
            )
        coco['images'].append(dict(id=img_id, file_name=name, width=48, height=40))
        _write_image(root / 'coco' / 'train' / name, image)
    _write_json(coco, root / _COCO_FILE)
    for index in range(6):
        image = rng.integers(0, 60, (36, 44, 3), dtype=np.uint8)
        mask = np.zeros((36, 44), np.uint8)
        cv2.ellipse(mask, (18 + index, 16), (12, 9), 0, 0, 360, 255, -1)
        image[mask > 0] += 120
        _write_image(root / 'salient' / 'images' / f's{index}.png', image)
        _write_image(root / 'salient' / 'masks' / f's{index}.png', mask)


def shrink(config: Config, data_root: Path, work_dir: Path) -> None:
    """Make a config small, and as it is otherwise: narrow networks, small patches, tiny data.

    Args:
        config: Config of a BoxCaseg, R-CNN, BoxInst, RTMDet-Ins or Mask2Former; it is changed.
        data_root: What :func:`make_tiny_data` drew.
        work_dir: Its work dir, which also gets the annotation files that it needs.
    """
    for node in dicts(config._cfg_dict):
        node.update(_SMALL.get(node.get('type'), {}))
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
        if isinstance(node.get('init_cfg'), dict) and node['init_cfg']['type'] == 'Pretrained':
            node['init_cfg'] = None
        if node.get('type') == 'mmboxcaseg.TIMMBackbone':
            node['pretrained'] = False
        if 'num_workers' in node:
            node.update(num_workers=0, persistent_workers=False)
        if str(node.get('type')) in _DATASETS:
            # Serialising collects all garbage first, which takes longer than the rest.
            node['serialize_data'] = False
        if node.get('type') == 'mmboxcaseg.BoxInstanceDataset':
            _use(data_root / _COCO_FILE, node, data_root)
            if 'proxy_file' in node:
                node['proxy_file'] = node['ann_file']
        elif node.get('type') == 'mmboxcaseg.SalientObjectDataset':
            node.update(data_root=str(data_root / 'salient'), ann_file='', hold_out=0)
        # What has no pipeline only names a part that data sets have in common.
        elif node.get('type') in _MMDET_DATASETS and 'pipeline' in node:
            classes = (node.get('metainfo') or CocoDataset.METAINFO)['classes']
            _write_with_classes(classes, data_root / _COCO_FILE, work_dir)
            with_masks = any(transform.get('with_mask') for transform in node['pipeline'])
            _use(work_dir / ('instances.json' if with_masks else 'boxes.json'), node, data_root)
        elif str(node.get('type')).endswith('Metric') and 'ann_file' in node:
            node['ann_file'] = str(work_dir / 'instances.json')
    shrink_model(config.model)
    config.load_from = None  # of a training that is not there
    config.work_dir = str(work_dir)
    config.log_level = 'ERROR'


def _use(ann_file: Path, dataset: dict, data_root: Path) -> None:
    images = dict(img=str(data_root / 'coco' / 'train'))
    dataset.update(data_root='', ann_file=str(ann_file), data_prefix=images)


def _write_with_classes(classes: str | tuple, source: Path, folder: Path) -> None:
    """Write the COCO file with the categories of a config; once without its masks."""
    coco = json.loads(source.read_text())
    classes = [classes] if isinstance(classes, str) else classes
    coco['categories'] = [dict(id=id_, name=name) for id_, name in enumerate(classes, start=1)]
    for annotation in coco['annotations']:
        annotation['category_id'] = annotation['category_id'] % len(classes) + 1
    _write_json(coco, folder / 'instances.json')
    for annotation in coco['annotations']:
        del annotation['segmentation']
    _write_json(coco, folder / 'boxes.json')


def shrink_model(model: Any) -> None:
    """Make the model of a config narrow.

    Args:
        model: Its config; it is changed.
    """
    backbone = model.backbone
    if backbone.type == 'mmseg.HRNet':
        factor = backbone.extra.stage4.num_channels[0] // 2
        for stage in backbone.extra.values():
            stage.num_blocks = (1,) * len(stage.num_blocks)
            if stage.num_branches > 1:
                stage.num_channels = tuple(c // factor for c in stage.num_channels)
        for name in ('weak_head', 'salient_head', 'transferred_head'):
            if model[name] is not None:
                model[name].in_channels //= factor
    if backbone.type == 'ResNet':
        factor = backbone.get('base_channels', 64) // 8
        backbone.base_channels = 8
        backbone.depth = min(backbone.depth, 50)  # of the same layers, half as many
        taker = model.get('neck') or model.panoptic_head
        taker.in_channels = [c // factor for c in taker.in_channels]
    if backbone.type == 'CSPNeXt':
        factor = round(backbone.widen_factor / 0.125)
        backbone.update(widen_factor=0.125, deepen_factor=0.1)
        model.neck.in_channels = [c // factor for c in model.neck.in_channels]
        model.neck.out_channels = 16
        model.bbox_head.update(in_channels=16, feat_channels=16)
    # Untrained, every class is as unlikely.
    if model.type in ('FasterRCNN', 'MaskRCNN', 'mmboxcaseg.SalientMaskRCNN'):
        model.train_cfg.rcnn.sampler.num = 16
        model.test_cfg.rpn.update(nms_pre=20, max_per_img=20)
        model.test_cfg.rcnn.update(max_per_img=5, score_thr=0.0)
    if model.type == 'Mask2Former':
        model.panoptic_head.num_queries = 20
        model.panoptic_head.pixel_decoder.encoder.num_layers = 1
        model.panoptic_head.transformer_decoder.num_layers = 2
        model.train_cfg.num_points = 64
        model.test_cfg.max_per_image = 5
    if model.type in ('BoxInst', 'RTMDet'):
        model.test_cfg.update(nms_pre=20, max_per_img=5, score_thr=0.0)
    if model.type == 'RTMDet':
        model.test_cfg.min_bbox_size = -1  # nor need boxes have an area


def _write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def _write_json(coco: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(coco))
