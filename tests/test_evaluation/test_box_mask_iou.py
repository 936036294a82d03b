import numpy as np
import pytest
import torch

from mmboxcaseg.errors import InputError
from mmboxcaseg.evaluation import (
    BoxMaskIoUMetric,
    fit_calibration,
    mask_iou,
    summarize_ious,
)
from mmboxcaseg.evaluation.box_mask_iou import edges_ious
from mmboxcaseg.proxy import encode_rle, read_edges, window_edges


def mask(*rows):
    return np.array([[char == '#' for char in row] for row in rows])


@pytest.mark.parametrize(
    ('prediction', 'target', 'expected'),
    [
        (mask('##..', '##..'), mask('##..', '##..'), 1),
        (mask('##..', '##..'), mask('.##.', '.##.'), 2 / 6),
        (mask('##..', '....'), mask('..##', '....'), 0),
        (mask('....', '....'), mask('..##', '....'), 0),
        (mask('....', '....'), mask('....', '....'), 0),
    ],
)
def test_mask_iou(prediction, target, expected):
    assert mask_iou(prediction, target) == pytest.approx(expected)
    edges = [window_edges([m], [(0, 0)], [m.shape]) for m in (prediction, target)]
    assert edges_ious(*edges) == pytest.approx([expected])


def test_edges_ious_equal_brute_force():
    rng = np.random.default_rng(0)
    for count in range(20):
        shapes = rng.integers(1, 20, (count, 2)).tolist()
        sides, expected = ([], []), []
        for shape in shapes:
            masks = [rng.random(shape) > rng.choice([0, 0.1, 0.5, 0.9, 1]) for _ in sides]
            pairs = list(zip(*(mask.ravel().tolist() for mask in masks), strict=True))
            union = sum(a or b for a, b in pairs)
            expected.append(sum(a and b for a, b in pairs) / union if union else 0)
            for side, mask in zip(sides, masks, strict=True):
                side.append(mask)
        edges = [window_edges(side, np.zeros((count, 2)), shapes) for side in sides]
        assert edges_ious(*edges).tolist() == expected


def test_edges_ious_take_runs_of_no_pixels():
    # Pixels 1 and 2; pixel 2 with empty runs before, in and behind it.
    plain, split = (
        read_edges([dict(size=[1, 4], counts=counts)], [(1, 4)])
        for counts in ([1, 2, 1], [1, 0, 1, 0, 0, 1, 1, 0])
    )
    assert edges_ious(plain, split) == edges_ious(split, plain) == 1 / 2


def test_summarize_ious():
    ious = np.array([1.0, 0.5, 0.0, 0.75, 0.74])
    labels = np.array([4, 4, 4, 0, 0])
    # Class means 0.5 and 0.745; classes 1 to 3 do not occur.
    assert summarize_ious(ious, labels, (0.25, 0.5, 0.75)) == pytest.approx(
        {'mIoU': (0.5 + 0.745) / 2, 'IoU@25': 0.8, 'IoU@50': 0.8, 'IoU@75': 0.4}
    )


def data_sample(prob, target, bbox, label=0, **maps):
    """A data sample as mmengine's evaluator gives it, a dict."""
    maps = {'fused': prob, **maps}
    return dict(
        pred_maps={name: torch.tensor(p, dtype=torch.float32)[None] for name, p in maps.items()},
        segmentation=encode_rle(target),
        ori_shape=target.shape,
        bbox=bbox,
        label=label,
        area=int(target.sum()),
        threshold=0.5,
    )


def test_a_mask_counts_beyond_its_box_too():
    # The map is that of the box grown by a pixel on each side, and finds the object's rows 2 to 4.
    target = np.zeros((8, 10), dtype=bool)
    target[2:5, 3:6] = True
    prob = np.zeros((4, 4))
    prob[:3, 1:] = 1
    for slack, expected in ((0.5, 9 / 9), (None, 1 / 9)):
        sample = data_sample(prob, target, [3, 3, 5, 5])
        if slack:
            sample['slack'] = slack
        metric = BoxMaskIoUMetric()
        metric.process({}, [sample])
        assert metric.results[0]['ious']['fused'] == pytest.approx(expected)


def test_map_is_pasted_into_the_image_as_proxy_masks_are():
    target = np.zeros((8, 10), dtype=bool)
    target[2:6, 4:8] = True
    # Of the normalised map, 0.2 to 0.8, the left half is object; the box is [4, 2, 10, 6].
    prob = np.array([[0.8, 0.8, 0.8, 0.2, 0.2, 0.2]] * 4)
    metric = BoxMaskIoUMetric()
    metric.process({}, [data_sample(prob, target, [4, 2, 10, 6])])
    assert metric.evaluate(1) == pytest.approx(
        {
            'fused/mIoU': 12 / 16,
            'fused/IoU@25': 1,
            'fused/IoU@50': 1,
            'fused/IoU@70': 1,
            'fused/IoU@75': 1,
        }
    )


def test_threshold_is_that_of_the_data_samples():
    target = np.zeros((4, 4), dtype=bool)
    target[:, :2] = True
    prob = np.tile([1.0, 0.6, 0.4, 0.0], (4, 1))
    for threshold, expected in ((0.5, 1), (0.3, 2 / 3), (0.7, 1 / 2)):
        metric = BoxMaskIoUMetric(thresholds=())
        sample = data_sample(prob, target, [0, 0, 4, 4])
        metric.process({}, [sample | dict(threshold=threshold)])
        assert metric.evaluate(1) == pytest.approx({'fused/mIoU': expected})


def test_object_beyond_its_box_counts_as_missed():
    target = np.zeros((8, 10), dtype=bool)
    target[2:6, 0:8] = True
    metric = BoxMaskIoUMetric(thresholds=(0.5,))
    metric.process({}, [data_sample(np.ones((4, 4)), target, [4, 2, 8, 6])])
    assert metric.evaluate(1) == {'fused/mIoU': 0.5, 'fused/IoU@50': 1}


def test_random_maps_equal_brute_force():
    rng = np.random.default_rng(0)
    samples, expected = [], dict(fused=[], weak=[])
    for index in range(13):
        x1, y1 = rng.integers(0, 8, 2)
        width, height = rng.integers(2, 8, 2)
        target = rng.random((16, 16)) > 0.5
        maps = {name: rng.random((height, width)) for name in expected}
        for name, prob in maps.items():
            low, high = prob.min(), prob.max()
            common = union = 0
            for y in range(16):
                for x in range(16):
                    inside = x1 <= x < x1 + width and y1 <= y < y1 + height
                    hit = inside and (prob[y - y1, x - x1] - low) / (high - low) > 0.5
                    common += bool(hit and target[y, x])
                    union += bool(hit or target[y, x])
            expected[name].append((index % 3, common / union))
        bbox = [x1, y1, x1 + width, y1 + height]
        samples.append(data_sample(maps['fused'], target, bbox, index % 3, weak=maps['weak']))
    metric = BoxMaskIoUMetric(thresholds=(0.25,), classwise=True)
    metric.dataset_meta = dict(classes=('cat', 'dog', 'cow', 'never there'))
    for start, stop in ((0, 5), (5, 10), (10, 13)):  # the last batch is smaller
        metric.process({}, samples[start:stop])
    assert len(metric.results) == 13
    metrics = metric.evaluate(13)
    for name, entries in expected.items():
        means = [np.mean([iou for label, iou in entries if label == c]) for c in range(3)]
        assert metrics[f'{name}/mIoU'] == pytest.approx(np.mean(means))
        assert [metrics[f'{name}/mIoU_{c}'] for c in ('cat', 'dog', 'cow')] == pytest.approx(means)
        share = np.mean([iou >= 0.25 for _, iou in entries])
        assert metrics[f'{name}/IoU@25'] == pytest.approx(share)
    assert len(metrics) == 2 * 5


def test_sizes():
    metric = BoxMaskIoUMetric(thresholds=(), by_size=True)
    sizes = ((10, 0.1), (32**2 - 1, 0.3), (32**2, 0.5), (96**2 - 1, 0.7), (96**2, 0.9))
    metric.results = [dict(label=0, area=area, ious=dict(fused=iou)) for area, iou in sizes]
    assert metric.evaluate(5) == pytest.approx(
        {'fused/mIoU': 0.5, 'fused/mIoU_S': 0.2, 'fused/mIoU_M': 0.6, 'fused/mIoU_L': 0.9}
    )
    metric.results = [dict(label=0, area=10, ious=dict(fused=0.5))]
    assert metric.evaluate(1) == {'fused/mIoU': 0.5, 'fused/mIoU_S': 0.5}


def test_quality():
    prob = np.array([[0.9, 0.9, 0.1, 0.1]])
    true = np.array([[True, True, True, False]])
    # Its mask, the first two, has an expected IoU of 1.8 / 2.2 and a true one of 2 / 3.
    sample = data_sample(prob, true, [0, 0, 4, 1]) | dict(calibration=(1.0, 0.0))
    metric = BoxMaskIoUMetric(thresholds=(), quality=True)
    metric.process({}, [sample])
    (entry,) = metric.results
    assert entry['quality'] == pytest.approx(dict(fused=1.8 / 2.2))
    assert entry['ious'] == pytest.approx(dict(fused=2 / 3))
    # The odds are 4.5, and half of that by an offset of -ln 2.
    metric.process({}, [sample | dict(calibration=(1.0, -np.log(2)))])
    assert metric.results[1]['quality'] == pytest.approx(dict(fused=2.25 / 3.25))
    numbers = [(0.5, 0.4), (0.6, 0.7), (0.8, 0.6), (0.9, 0.8)]
    metric.results = [
        dict(label=0, area=10, ious=dict(fused=iou), quality=dict(fused=quality))
        for quality, iou in numbers
    ]
    metrics = metric.evaluate(4)
    assert metrics['fused/quality_spearman'] == pytest.approx(0.8)
    assert metrics['fused/quality_error'] == pytest.approx((0.1 + 0.1 + 0.2 + 0.1) / 4)
    slope, offset = (metrics[f'fused/calibration_{name}'] for name in ('slope', 'offset'))
    assert (slope, offset) == pytest.approx(fit_calibration(*np.transpose(numbers)))


def test_entries_that_fill_the_last_batch_of_a_distributed_test_are_cut_off():
    metric = BoxMaskIoUMetric(thresholds=())
    metric.results = [dict(label=0, area=10, ious=dict(fused=iou)) for iou in (0.5, 1, 0.5)]
    assert metric.evaluate(2) == {'fused/mIoU': 0.75}


def test_broken_segmentation_is_named():
    sample = data_sample(np.ones((4, 4)), np.ones((4, 4), bool), [0, 0, 4, 4])
    sample |= dict(ann_id=17, segmentation=dict(size=[4, 4], counts='3'))
    with pytest.raises(InputError, match='segmentation of annotation 17 is broken'):
        BoxMaskIoUMetric().process({}, [sample])


def test_no_box():
    with pytest.raises(InputError, match='BoxMaskIoUMetric has nothing to score'):
        BoxMaskIoUMetric().compute_metrics([])
