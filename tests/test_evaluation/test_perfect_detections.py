"""Detections that are the truth score 1 in every metric, whatever a file's fields look like."""

import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData

from mmboxcaseg.evaluation import BoxMaskIoUMetric, CocoAPMetric, VOCInstanceMetric
from mmboxcaseg.proxy import encode_rle

SHAPE = (40, 60)
MASKS = np.zeros((3, *SHAPE), bool)
MASKS[0, 2:20, 3:25] = MASKS[1, 22:38, 30:50] = MASKS[2, 25:30, 5:9] = True
MASKS[0, 2:8, 3:8] = False  # not the box
BOXES = [[3, 2, 22, 18], [30, 22, 20, 16], [5, 25, 4, 5]]
LABELS = [0, 1, 0]


def annotations():
    return [
        dict(
            id=n + 1,
            image_id=1,
            category_id=10 + label,
            bbox=box,
            area=int(mask.sum()),
            iscrowd=0,
            segmentation=encode_rle(mask),
        )
        for n, (box, label, mask) in enumerate(zip(BOXES, LABELS, MASKS, strict=True))
    ]


def change(**fields):
    return lambda rows: [row | fields for row in rows]


def ids(*given):
    return lambda rows: [row | dict(id=id_) for row, id_ in zip(rows, given, strict=True)]


def add(**fields):
    """One that is no object, where nothing is detected."""
    beside = dict(id=9, image_id=1, category_id=10, bbox=[40, 2, 9, 9], area=81)
    return lambda rows: [*rows, beside | fields]


def without(*keys):
    return lambda rows: [{k: v for k, v in row.items() if k not in keys} for row in rows]


@pytest.mark.parametrize(
    'spoil',
    [
        change(),
        ids(0, 1, 2),
        ids('u10', 'u11', 'u12'),
        ids('7', 0, 3),
        without('iscrowd'),
        without('area'),
        without('iscrowd', 'area'),
        *(change(iscrowd=flag) for flag in (None, False, '0')),
        *(change(area=area) for area in (0, None, -1)),
        change(ignore=0),
        add(iscrowd=1),
        add(ignore=1),
        add(iscrowd='1', segmentation=[]),
        add(bbox=[49, 11, -9, -9], segmentation=None),
        add(bbox=[49, 11, 0, 0], segmentation=[[40, 2, 49, 2, 49, 11]]),
    ],
)
@pytest.mark.parametrize('image_id', [1, 'one'])
def test_coco_and_voc(tmp_path, spoil, image_id):
    content = dict(
        images=[dict(id=image_id, file_name='a.png', height=SHAPE[0], width=SHAPE[1])],
        annotations=[a | dict(image_id=image_id) for a in spoil(annotations())],
        categories=[dict(id=10, name='cat'), dict(id=11, name='dog')],
    )
    path = tmp_path / 'val.json'
    path.write_text(json.dumps(content))
    bboxes = np.array(BOXES, np.float32)
    bboxes[:, 2:] += bboxes[:, :2]
    predicted = dict(
        bboxes=torch.tensor(bboxes),
        scores=torch.tensor([0.9, 0.8, 0.7]),
        labels=torch.tensor(LABELS),
        masks=torch.tensor(MASKS),
    )
    sample = dict(img_id=image_id, ori_shape=SHAPE, pred_instances=predicted)
    for metric in (
        CocoAPMetric(str(path), metric=['bbox', 'segm'], further_iou_thrs=(0.25, 0.95)),
        VOCInstanceMetric(str(path)),
    ):
        metric.dataset_meta = dict(classes=('cat', 'dog'))
        metric.process({}, [sample])
        figures = metric.evaluate(1)
        # -1 stands for sizes of which there is no object.
        assert {value for value in figures.values() if value != -1} == {1}, figures
    assert path.read_text() == json.dumps(content)


def test_masks_in_boxes():
    metric = BoxMaskIoUMetric()
    metric.dataset_meta = dict(classes=('cat', 'dog'))
    for n, (row, (x, y, w, h)) in enumerate(zip(annotations(), BOXES, strict=True)):
        sample = DetDataSample(
            metainfo=dict(
                ori_shape=SHAPE,
                bbox=[x, y, x + w, y + h],
                label=LABELS[n],
                area=row['area'],
                ann_id=row['id'],
                segmentation=row['segmentation'],
                threshold=0.5,
                calibration=(1.0, 0.0),
            )
        )
        own = torch.tensor(MASKS[n, y : y + h, x : x + w], dtype=torch.float32)
        sample.pred_maps = PixelData(fused=own[None])
        metric.process({}, [sample.to_dict()])
    figures = metric.evaluate(3)
    assert set(figures.values()) == {1}, figures
