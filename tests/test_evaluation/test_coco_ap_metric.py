import json

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmboxcaseg.errors import InputError
from mmboxcaseg.evaluation import CocoAPMetric
from mmboxcaseg.proxy import encode_rle

SIZE = 64


def random_box(rng, near=None):
    if near is not None:
        return (np.array(near) + rng.integers(-2, 3, 4)).clip(0, SIZE - 1)
    x, y = rng.integers(0, 40, 2)
    return np.array([x, y, x + rng.integers(8, 20), y + rng.integers(8, 20)])


def fill(box):
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    x1, y1, x2, y2 = box
    mask[y1:y2, x1:x2] = np.arange(x2 - x1) < (x2 - x1) * 0.8
    return mask


@pytest.fixture
def scene(tmp_path):
    """An annotation file with a crowd, and data samples of mediocre detections."""
    rng = np.random.default_rng(1)
    coco = dict(images=[], annotations=[], categories=[dict(id=9, name='a'), dict(id=4, name='b')])
    samples = []
    for img_id in range(1, 7):
        coco['images'].append(dict(id=img_id, file_name='x', width=SIZE, height=SIZE))
        boxes = [random_box(rng) for _ in range(5)]
        for index, (x1, y1, x2, y2) in enumerate(boxes):
            coco['annotations'].append(
                dict(
                    id=10 * img_id + index,
                    image_id=img_id,
                    category_id=(9, 4)[index % 2],
                    bbox=[int(v) for v in (x1, y1, x2 - x1, y2 - y1)],
                    area=int(fill(boxes[index]).sum()),
                    iscrowd=int(img_id == 3 and index == 0),
                    segmentation=encode_rle(fill(boxes[index])),
                )
            )
        found = np.array([random_box(rng, near) for near in boxes[1:]] + [random_box(rng)])
        predicted = dict(
            bboxes=torch.tensor(found, dtype=torch.float32),
            scores=torch.tensor(rng.random(5)),
            labels=torch.tensor([1, 0, 1, 0, 1]),
            masks=torch.from_numpy(np.array([fill(box) for box in found])),
        )
        samples.append(dict(img_id=img_id, ori_shape=(SIZE, SIZE), pred_instances=predicted))
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    return str(tmp_path / 'ann.json'), samples


def evaluate(metric, samples):
    metric.dataset_meta = dict(classes=('a', 'b'))
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_equals_pycocotools_at_each_threshold_alone(scene):
    ann_file, samples = scene
    metrics = evaluate(CocoAPMetric(ann_file=ann_file, metric=['bbox', 'segm']), samples)
    stock = evaluate(CocoMetric(ann_file=ann_file, metric=['bbox', 'segm']), samples)
    further = {f'coco/{kind}_mAP_{t}' for kind in ('bbox', 'segm') for t in (25, 70)}
    assert metrics.keys() == stock.keys() | further
    assert {name: metrics[name] for name in stock} == stock

    coco = COCO(ann_file)
    for kind in ('bbox', 'segm'):
        predictions = []
        for sample in samples:
            predicted = sample['pred_instances']
            for box, score, label, mask in zip(*predicted.values(), strict=True):
                x1, y1, x2, y2 = box.tolist()
                shape = dict(bbox=[x1, y1, x2 - x1, y2 - y1])
                if kind == 'segm':
                    shape = dict(segmentation=encode_rle(mask.numpy()))
                where = dict(image_id=sample['img_id'], category_id=(9, 4)[label])
                predictions.append(where | dict(score=float(score)) | shape)
        loaded = coco.loadRes(predictions)
        for threshold in (0.25, 0.5, 0.7, 0.75):
            evaluation = COCOeval(coco, loaded, kind)
            evaluation.params.iouThrs = np.array([threshold])
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            got = metrics[f'coco/{kind}_mAP_{round(100 * threshold)}']
            assert got == pytest.approx(evaluation.stats[0], abs=5.1e-4)
            assert 0 < got < 1
    assert metrics['coco/segm_mAP_25'] > metrics['coco/segm_mAP_70']


def test_thresholds_can_be_chosen(scene):
    ann_file, samples = scene
    metric = CocoAPMetric(ann_file=ann_file, metric='segm', further_iou_thrs=[0.5, 0.75])
    stock = evaluate(CocoMetric(ann_file=ann_file, metric='segm'), samples)
    assert evaluate(metric, samples) == stock
    with pytest.raises(InputError, match=r'further_iou_thrs must be in \[0, 1\], not 25'):
        CocoAPMetric(further_iou_thrs=[25])


def test_nothing_detected(scene):
    ann_file, samples = scene
    for sample in samples:
        predicted = sample['pred_instances']
        sample['pred_instances'] = {name: value[:0] for name, value in predicted.items()}
    # mmdet gives no figures then, and a hook that saves the best checkpoint ends the run.
    metrics = evaluate(CocoAPMetric(ann_file=ann_file, metric='segm'), samples)
    names = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'mAP_25', 'mAP_70')
    assert metrics == {f'coco/segm_{name}': 0 for name in names}


def write_boxes(path, *boxes):
    """A file with classes a and b, whose boxes are (image, category id, x, y) of 10x10 pixels."""
    coco = dict(
        images=[dict(id=i, file_name='x', width=SIZE, height=SIZE) for i in (1, 2)],
        categories=[dict(id=9, name='a'), dict(id=4, name='b')],
        annotations=[
            dict(id=n, image_id=i, category_id=c, bbox=[x, y, 10, 10], area=100, iscrowd=0)
            for n, (i, c, x, y) in enumerate(boxes, start=1)
        ],
    )
    path.write_text(json.dumps(coco))
    return str(path)


def detect(img_id, *rows):
    """Detections as (label, score, x, y)."""
    boxes = [[x, y, x + 10, y + 10] for _, _, x, y in rows]
    predicted = dict(
        bboxes=torch.tensor(boxes, dtype=torch.float32),
        scores=torch.tensor([score for _, score, _, _ in rows]),
        labels=torch.tensor([label for label, *_ in rows]),
    )
    return dict(img_id=img_id, ori_shape=(SIZE, SIZE), pred_instances=predicted)


@pytest.mark.parametrize(
    ('classes', 'objects', 'detections', 'expected'),
    [
        # The right one is the 125th of its image: a precision of 1/125 at each recall.
        pytest.param(
            ('a', 'b'),
            [(1, 9, 40, 40)],
            [(0, 0.9, 0, 0)] * 124 + [(0, 0.1, 40, 40)],
            1 / 125,
            id='more than 100 detections',
        ),
        # The class that the dataset leaves out does not count as missed.
        pytest.param(
            ('b',),
            [(1, 9, 0, 0), (1, 4, 40, 40)],
            [(0, 0.9, 40, 40)],
            1,
            id='some of the classes',
        ),
        # An image that the dataset leaves out does, as in mmdet: 51 of 101 recalls are reached.
        pytest.param(
            ('a', 'b'),
            [(1, 9, 40, 40), (2, 9, 40, 40)],
            [(0, 0.9, 40, 40)],
            51 / 101,
            id='some of the images',
        ),
    ],
)
def test_counts_what_mmdet_counts(classes, objects, detections, expected, tmp_path):
    metric = CocoAPMetric(ann_file=write_boxes(tmp_path / 'ann.json', *objects), metric='bbox')
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, [detect(1, *detections)])
    metrics = metric.evaluate(1)
    for threshold in (25, 50, 70):
        assert metrics[f'coco/bbox_mAP_{threshold}'] == pytest.approx(expected, abs=5.1e-4)


def test_no_image(scene):
    with pytest.raises(InputError, match='CocoAPMetric has nothing to score: the data set has'):
        evaluate(CocoAPMetric(ann_file=scene[0], metric='segm'), [])
