import json

import numpy as np
import pytest
import torch
from mmdet.structures.mask import encode_mask_results
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmboxcaseg.errors import InputError
from mmboxcaseg.evaluation import VOCInstanceMetric
from mmboxcaseg.evaluation.voc_instance_metric import Matches, average_precision
from mmboxcaseg.proxy import encode_rle

CLASSES = ('cat', 'dog', 'cow')
# Ids in no order, as in files of one's own.
CATEGORY_IDS = (7, 2, 5)
VOLUME = np.arange(1, 10) / 10


def row(pixels):
    """A mask of one row: (1, W) bool."""
    return np.array([[char == '#' for char in pixels]])


def write_coco(path, images):
    """Write images, each a dict of objects (class, mask, other fields) and perhaps void."""
    coco = dict(images=[], annotations=[], categories=[])
    for name, id_ in zip(CLASSES, CATEGORY_IDS, strict=True):
        coco['categories'].append(dict(id=id_, name=name))
    for img_id, image in enumerate(images):
        height, width = image['shape']
        entry = dict(id=img_id, file_name=f'{img_id}.png', height=height, width=width)
        if image.get('void') is not None:
            entry['void'] = encode_rle(image['void'])
        coco['images'].append(entry)
        for label, mask, fields in image['objects']:
            annotation = dict(
                id=len(coco['annotations']) + 1,
                image_id=img_id,
                category_id=CATEGORY_IDS[label],
                bbox=[0, 0, width, height],
                area=int(mask.sum()),
                iscrowd=0,
                segmentation=encode_rle(mask),
            )
            coco['annotations'].append(annotation | fields)
    path.write_text(json.dumps(coco))
    return path


def data_sample(img_id, shape, detections):
    """A data sample as mmengine's evaluator gives it: detections are class, score, mask."""
    masks = np.array([mask for _, _, mask in detections], dtype=bool).reshape(-1, *shape)
    return dict(
        img_id=img_id,
        ori_shape=shape,
        pred_instances=dict(
            labels=torch.tensor([label for label, _, _ in detections], dtype=torch.int64),
            scores=torch.tensor([score for _, score, _ in detections], dtype=torch.float32),
            masks=torch.from_numpy(masks),
        ),
    )


@pytest.fixture
def evaluate(tmp_path):
    """Score rows of pixels: an image is (objects, void, detections)."""

    def run(*images, **kwargs):
        truths, samples = [], []
        for img_id, (objects, void, detections) in enumerate(images):
            objects = [(o[0], row(o[1]), o[2] if len(o) > 2 else {}) for o in objects]
            truths.append(dict(shape=(1, 10), objects=objects, void=void and row(void)))
            detections = [(label, score, row(pixels)) for label, score, pixels in detections]
            samples.append(data_sample(img_id, (1, 10), detections))
        metric = VOCInstanceMetric(write_coco(tmp_path / 'ann.json', truths), **kwargs)
        metric.dataset_meta = dict(classes=CLASSES)
        metric.process({}, samples)
        assert len(metric.results) == len(samples)
        return metric.evaluate(len(samples))

    return run


A, B, C = '####......', '....##....', '.......###'
NONE = '..........'
DIFFICULT = dict(difficult=1)


@pytest.mark.parametrize(
    ('objects', 'void', 'detections', 'ap50'),
    [
        pytest.param([(0, A)], None, [(0, 0.9, A)], 1, id='found'),
        pytest.param([(0, A)], None, [], 0, id='no detection'),
        pytest.param([(0, A)], None, [(0, 0.9, C)], 0, id='elsewhere'),
        pytest.param([(0, A)], None, [(1, 0.9, A)], 0, id='of another class'),
        pytest.param([(0, A), (0, B)], None, [(0, 0.9, A)], 1 / 2, id='one missed'),
        pytest.param([(0, A)], None, [(0, 0.9, C), (0, 0.8, A)], 1 / 2, id='wrong before right'),
        pytest.param([(0, A)], None, [(0, 0.8, C), (0, 0.9, A)], 1, id='wrong after right'),
        # Precision 1, 1/2, 2/3.
        pytest.param(
            [(0, A), (0, B)],
            None,
            [(0, 0.9, A), (0, 0.8, A), (0, 0.7, B)],
            (1 + 2 / 3) / 2,
            id='duplicate',
        ),
        # The better mask of lower score is the duplicate.
        pytest.param(
            [(0, A), (0, B)],
            None,
            [(0, 0.9, '###.......'), (0, 0.8, A), (0, 0.7, B)],
            (1 + 2 / 3) / 2,
            id='duplicate that is better',
        ),
        # Precision 1, 1/2, 1/3, 2/4, 3/5: the second object counts with the 3/5 that follows.
        pytest.param(
            [(0, A), (0, B), (0, C)],
            None,
            [(0, 0.9, A), (0, 0.8, A), (0, 0.7, A), (0, 0.6, B), (0, 0.5, C)],
            (1 + 3 / 5 + 3 / 5) / 3,
            id='interpolated',
        ),
        pytest.param([(0, A)], None, [(0, 0.5, C), (0, 0.5, A)], 1 / 2, id='tie, wrong first'),
        pytest.param([(0, A)], None, [(0, 0.5, A), (0, 0.5, C)], 1, id='tie, right first'),
        pytest.param([(0, A)], '....######', [(0, 0.9, '#########.')], 1, id='reaches into void'),
        pytest.param([(0, A)], None, [(0, 0.9, '#########.')], 0, id='reaches too far'),
        # Of the seven pixels outside void two are shared.
        pytest.param([(0, A)], '.......###', [(0, 0.9, '..########')], 0, id='no more than void'),
        pytest.param([(0, A)], C, [(0, 0.9, C), (0, 0.8, A)], 1, id='lies in void'),
        pytest.param([(0, A)], C, [(0, 0.9, NONE), (0, 0.8, A)], 1 / 2, id='empty'),
        pytest.param([(0, A)], None, [(0, 0.9, NONE), (0, 0.8, A)], 1 / 2, id='empty, no void'),
        pytest.param([(0, A), (0, C)], C, [(0, 0.8, A)], 1, id='object in void'),
        pytest.param(
            [(0, A), (0, C, dict(iscrowd=1))], None, [(0, 0.9, C), (0, 0.8, A)], 1, id='crowd'
        ),
        pytest.param(
            [(0, '#.........'), (1, C, dict(iscrowd=1))],
            B,
            [(0, 0.9, '#...##.###')],
            1,
            id='crowd and void',
        ),
        pytest.param([(0, A), (0, B, DIFFICULT)], None, [(0, 0.9, A)], 1, id='difficult missed'),
        pytest.param(
            [(0, A), (0, B, DIFFICULT)],
            None,
            [(0, 0.9, B), (0, 0.8, B), (0, 0.7, A)],
            1,
            id='difficult found, twice',
        ),
        # Its IoU with the difficult object is 2/5.
        pytest.param(
            [(0, A), (0, B, DIFFICULT)],
            None,
            [(0, 0.9, '....#####.'), (0, 0.8, A)],
            1 / 2,
            id='difficult touched',
        ),
        pytest.param(
            [(0, A), (1, B, DIFFICULT)],
            None,
            [(0, 0.9, B), (0, 0.8, A)],
            1 / 2,
            id='difficult of another class',
        ),
    ],
)
def test_one_image_worked_out_by_hand(objects, void, detections, ap50, evaluate):
    assert evaluate((objects, void, detections))['voc/AP50'] == pytest.approx(ap50)


def test_thresholds(evaluate):
    # IoU 1/2 and 7/10, which reach these thresholds exactly.
    half = ([(0, A)], None, [(0, 0.9, '##........')])
    metrics = evaluate(half)
    expected = {'voc/AP25': 1, 'voc/AP50': 1, 'voc/AP70': 0, 'voc/AP75': 0, 'voc/APvol': 5 / 9}
    assert metrics == pytest.approx(expected)
    metrics = evaluate(([(0, '##########')], None, [(0, 0.9, '#######...')]))
    expected |= {'voc/AP70': 1, 'voc/APvol': 7 / 9}
    assert metrics == pytest.approx(expected)


def test_goes_to_the_object_that_it_overlaps_most_found_or_not(evaluate):
    # IoU of the second detection is 3/6 with the first object, which is found, and 2/5 with the
    # other one.
    detections = [(0, 0.9, A), (0, 0.8, '.#####....')]
    assert evaluate(([(0, A), (0, B)], None, detections))['voc/AP25'] == pytest.approx(1 / 2)


def test_difficult_at_a_threshold_that_it_does_not_reach(evaluate):
    objects = [(0, A), (0, B, DIFFICULT)]
    metrics = evaluate((objects, None, [(0, 0.9, '....#####.'), (0, 0.8, A)]))
    assert (metrics['voc/AP25'], metrics['voc/AP50']) == pytest.approx((1, 1 / 2))


def test_scores_are_sorted_over_all_images(evaluate):
    # Wrong 0.9 (no object in its image), right 0.8, wrong 0.7, right 0.6: 1/2 and 2/4.
    images = [
        ([(0, A)], None, [(0, 0.6, A)]),
        ([], None, [(0, 0.9, A)]),
        ([(0, A)], None, [(0, 0.7, C), (0, 0.8, A)]),
    ]
    assert evaluate(*images)['voc/AP50'] == pytest.approx(1 / 2)


def test_many_equal_scores_stay_in_their_order():
    rng = np.random.default_rng(0)
    scores = rng.integers(1, 4, 300) / 4
    right = rng.random(300) < 0.3
    zeros = np.zeros(300, dtype=int)
    matches = Matches(
        labels=zeros,
        scores=scores,
        ious=right.astype(float),
        objects=np.arange(300),
        difficult=zeros.astype(bool),
        positives=zeros,
    )
    order = sorted(range(300), key=lambda index: -scores[index])
    precision = [right[order[:n]].mean() for n in range(1, 301)]
    expected = sum(max(precision[place:]) for place in range(300) if right[order[place]]) / 300
    assert average_precision(matches, 0, 0.5) == pytest.approx(expected)


def test_a_class_without_objects_has_no_precision():
    no_objects = Matches(*(np.array([value]) for value in (0, 0.9, 0.0, 0, False)), np.zeros(0))
    assert np.isnan(average_precision(no_objects, 0, 0.5))


def test_mean_over_the_classes_that_have_objects(evaluate):
    images = [
        ([(0, A), (2, B, DIFFICULT)], None, [(0, 0.9, A), (2, 0.9, A)]),
        ([(0, A), (1, B)], None, [(2, 0.8, B)]),
    ]
    metrics = evaluate(*images, classwise=True)
    # One cat of two, no dog, and no cow to be found.
    assert metrics['voc/AP50'] == pytest.approx((1 / 2 + 0) / 2)
    assert metrics['voc/AP50_cat'] == metrics['voc/APvol_cat'] == pytest.approx(1 / 2)
    assert metrics['voc/AP25_dog'] == 0
    assert not any(name.endswith('cow') for name in metrics)
    assert len(metrics) == 5 * 3


def test_masks_may_be_rles(tmp_path):
    ann_file = write_coco(
        tmp_path / 'ann.json', [dict(shape=(1, 10), objects=[(0, row(A), {})])] * 2
    )
    metric = VOCInstanceMetric(ann_file)
    metric.dataset_meta = dict(classes=CLASSES)
    samples = [data_sample(0, (1, 10), [(0, 0.9, row(A))]), data_sample(1, (1, 10), [])]
    for sample in samples:
        predicted = sample['pred_instances']
        predicted['masks'] = encode_mask_results(predicted['masks'].numpy())
    metric.process({}, samples)
    assert metric.evaluate(2)['voc/AP75'] == 1 / 2


def random_rectangle(rng, x, y, size):
    mask = np.zeros((48, 48), dtype=bool)
    height, width = rng.integers(size // 2, size + 1, 2)
    mask[y : y + height, x : x + width] = True
    return mask


def test_equals_pycocotools_where_the_definitions_agree(tmp_path):
    """No void, crowd or difficult object, and no detection overlaps two objects."""
    rng = np.random.default_rng(0)
    truths, samples = [], []
    for img_id in range(12):
        truth = dict(shape=(48, 48), objects=[])
        detections = []
        for x, y in np.ndindex(3, 3):
            label = int(rng.integers(3))
            place = 16 * x, 16 * y, 15
            if rng.random() < 0.7:
                truth['objects'].append((label, random_rectangle(rng, *place), {}))
            if rng.random() < 0.8:
                label = label if rng.random() < 0.8 else int(rng.integers(3))
                detections.append((label, rng.random(), random_rectangle(rng, *place)))
        truths.append(truth)
        samples.append(data_sample(img_id, (48, 48), detections))
    ann_file = write_coco(tmp_path / 'ann.json', truths)
    metric = VOCInstanceMetric(ann_file, classwise=True)
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, samples[:5])
    metric.process({}, samples[5:])
    metrics = metric.evaluate(len(samples))

    predictions = [
        dict(
            image_id=sample['img_id'],
            category_id=CATEGORY_IDS[label],
            score=float(score),
            segmentation=encode_rle(mask.numpy()),
        )
        for sample in samples
        for label, score, mask in zip(*sample['pred_instances'].values(), strict=True)
    ]
    coco = COCO(ann_file)
    evaluation = COCOeval(coco, coco.loadRes(predictions), 'segm')
    evaluation.params.areaRng = evaluation.params.areaRng[:1]
    thresholds = dict(AP25=[0.25], AP50=[0.5], AP70=[0.7], AP75=[0.75], APvol=VOLUME)
    for name, values in thresholds.items():
        evaluation.params.iouThrs = np.array(values)
        evaluation.evaluate()
        means = []
        for class_, category in zip(CLASSES, CATEGORY_IDS, strict=True):
            images = [e for e in evaluation.evalImgs if e and e['category_id'] == category]
            aps = [area_under_curve(images, index) for index in range(len(values))]
            means.append(np.mean(aps))
            assert metrics[f'voc/{name}_{class_}'] == pytest.approx(means[-1])
        assert metrics[f'voc/{name}'] == pytest.approx(np.mean(means))
        assert 0.05 < np.mean(means) < 0.95


def area_under_curve(images, index):
    """Interpolated at every point, where COCO reads 101 points."""
    scores = np.concatenate([image['dtScores'] for image in images])
    right = np.concatenate([image['dtMatches'][index] > 0 for image in images])
    right = right[np.argsort(-scores)]
    total = sum(len(image['gtIds']) for image in images)
    points = [(right[:n].sum() / total, right[:n].sum() / n) for n in range(1, len(right) + 1)]
    area = last = 0
    for recall, _ in points:
        area += (recall - last) * max(p for r, p in points if r >= recall)
        last = recall
    return area


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda coco: coco['annotations'][0].pop('segmentation'), 'annotation 1 .* no segment'),
        (lambda coco: coco['annotations'][0].update(segmentation='x'), 'neither polygons nor'),
        (lambda coco: coco['images'][0].update(void=dict(size=[2, 5], counts='0')), 'void of im'),
        (lambda coco: coco['images'][0].update(void=None), 'void of image 0 .* neither'),
        (lambda coco: coco['annotations'][0].update(difficult=1), 'ann.json holds no object'),
        (lambda coco: coco.pop('images'), 'ann.json is not a COCO file'),
    ],
)
def test_broken_files(change, message, tmp_path):
    path = write_coco(tmp_path / 'ann.json', [dict(shape=(1, 10), objects=[(0, row(A), {})])])
    coco = json.loads(path.read_text())
    change(coco)
    path.write_text(json.dumps(coco))
    with pytest.raises(InputError, match=message):
        VOCInstanceMetric(path)


def test_missing_file():
    with pytest.raises(InputError, match=r'cannot read none\.json'):
        VOCInstanceMetric('none.json')


@pytest.mark.parametrize(
    ('img_id', 'shape', 'message'),
    [
        (8, (1, 10), r'image 8 is not in \S+ann\.json'),
        (0, (10, 1), r'image 0\.png has height and width \[1, 10\] .* but \[10, 1\] in the'),
    ],
)
def test_predictions_of_other_images(img_id, shape, message, tmp_path):
    path = write_coco(tmp_path / 'ann.json', [dict(shape=(1, 10), objects=[(0, row(A), {})])])
    metric = VOCInstanceMetric(path)
    metric.dataset_meta = dict(classes=CLASSES)
    with pytest.raises(InputError, match=message):
        metric.process({}, [data_sample(img_id, shape, [])])


def test_class_that_the_file_lacks(tmp_path):
    path = write_coco(tmp_path / 'ann.json', [dict(shape=(1, 10), objects=[(0, row(A), {})])])
    with pytest.raises(InputError, match=r"class 'bird' of the dataset is not in \S+, .* 'cat', "):
        VOCInstanceMetric(path).dataset_meta = dict(classes=('cat', 'bird'))


def test_no_image(tmp_path):
    path = write_coco(tmp_path / 'ann.json', [dict(shape=(1, 10), objects=[(0, row(A), {})])])
    metric = VOCInstanceMetric(path)
    metric.dataset_meta = dict(classes=CLASSES)
    with pytest.raises(InputError, match='VOCInstanceMetric has nothing to score: the data set'):
        metric.evaluate(0)
