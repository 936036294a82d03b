"""Each metric gives the same figures however many processes share the data set."""

import json
import multiprocessing
import os

import numpy as np
import pytest
import torch
import torch.distributed
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from torch.utils.data import DataLoader

from mmboxcaseg.evaluation import (
    BoxMaskIoUMetric,
    CocoAPMetric,
    SalientObjectMetric,
    VOCInstanceMetric,
)
from mmboxcaseg.proxy import encode_rle

# Divided by no number of processes and no batch below: last batches are uneven, some are filled
# up with samples that come twice.
NUM_SAMPLES = 7
SHAPE = (24, 24)
CLASSES = ('cat', 'dog')


def random_mask(rng):
    mask = np.zeros(SHAPE, dtype=bool)
    y, x = rng.integers(0, 12, 2)
    mask[y : y + rng.integers(6, 12), x : x + rng.integers(6, 12)] = True
    return mask


def patch_samples(rng):
    """What BoxCaseg predicts: maps of boxes and of whole salient images."""
    return [
        dict(
            pred_maps=dict(fused=torch.from_numpy(rng.random((1, 8, 8), dtype=np.float32))),
            segmentation=encode_rle(random_mask(rng)),
            gt_sem_seg=dict(sem_seg=torch.from_numpy(random_mask(rng))[None]),
            ori_shape=SHAPE,
            bbox=[0, 0, 24, 24],
            threshold=0.5,
            label=index % 2,
            area=100,
            img_path='x',
        )
        for index in range(NUM_SAMPLES)
    ]


def detections(rng, path):
    """What an mmdet network predicts, in images with equal scores, void and difficult objects."""
    coco = dict(images=[], annotations=[], categories=[])
    for label, name in enumerate(CLASSES):
        coco['categories'].append(dict(id=label, name=name))
    samples = []
    for img_id in range(NUM_SAMPLES):
        coco['images'].append(
            dict(id=img_id, file_name='x', height=24, width=24, void=encode_rle(random_mask(rng)))
        )
        masks = [random_mask(rng) for _ in range(3)]
        for index, mask in enumerate(masks):
            coco['annotations'].append(
                dict(
                    id=10 * img_id + index + 1,
                    image_id=img_id,
                    category_id=index % 2,
                    bbox=[0, 0, 24, 24],
                    threshold=0.5,
                    area=int(mask.sum()),
                    iscrowd=0,
                    difficult=int(rng.random() < 0.2),
                    segmentation=encode_rle(mask),
                )
            )
        found = [np.roll(mask, rng.integers(0, 3), axis=1) for mask in (*masks, masks[0])]
        samples.append(
            dict(
                img_id=img_id,
                ori_shape=SHAPE,
                pred_instances=dict(
                    bboxes=torch.tensor([[0.0, 0, 24, 24]] * 4),
                    labels=torch.tensor([0, 1, 0, 0]),
                    scores=torch.from_numpy(rng.integers(1, 5, 4) / 5),
                    masks=torch.from_numpy(np.array(found)),
                ),
            )
        )
    path.write_text(json.dumps(coco))
    return samples


def make_box_mask_iou(rng, path):
    return BoxMaskIoUMetric(by_size=True, classwise=True), patch_samples(rng)


def make_salient_object(rng, path):
    return SalientObjectMetric(), patch_samples(rng)


def make_voc_instance(rng, path):
    samples = detections(rng, path)
    return VOCInstanceMetric(path, classwise=True), samples


def make_coco_ap(rng, path):
    samples = detections(rng, path)
    return CocoAPMetric(ann_file=str(path), metric=['bbox', 'segm']), samples


def score(metric, samples):
    """As mmengine's test loop does."""
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(classes=CLASSES)
    sampler = DefaultSampler(samples, shuffle=False)
    for batch in DataLoader(samples, batch_size=2, sampler=sampler, collate_fn=list):
        evaluator.process(batch)
    return evaluator.evaluate(len(samples))


def run_rank(rank, world_size, folder, metric, samples):
    os.chdir(folder)  # results are exchanged below the working directory
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world_size
    )
    metrics = score(metric, samples)
    (folder / f'{rank}.json').write_text(json.dumps(metrics))
    torch.distributed.destroy_process_group()


METRICS = [make_box_mask_iou, make_salient_object, make_voc_instance, make_coco_ap]


@pytest.mark.parametrize('world_size', [2, 3, 8])
@pytest.mark.parametrize('make', METRICS)
def test_same_figures_with_any_number_of_ranks(make, world_size, tmp_path):
    metric, samples = make(np.random.default_rng(3), tmp_path / 'ann.json')
    context = multiprocessing.get_context('fork')  # nothing is imported again
    ranks = [
        context.Process(target=run_rank, args=(rank, world_size, tmp_path, metric, samples))
        for rank in range(world_size)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(60)
    assert [rank.exitcode for rank in ranks] == [0] * world_size
    expected = score(metric, samples)
    assert all(-1 <= value <= 1 for value in expected.values())
    assert len(set(expected.values())) > 2
    for rank in range(world_size):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == expected


@pytest.mark.parametrize('make', METRICS)
def test_order_of_the_samples_changes_nothing(make, tmp_path):
    """Where no scores are equal: of equal ones the first counts first."""
    rng = np.random.default_rng(3)
    metric, samples = make(rng, tmp_path / 'ann.json')
    for sample in samples:
        if 'pred_instances' in sample:
            sample['pred_instances']['scores'] = torch.from_numpy(rng.random(4))
    expected = score(metric, samples)
    assert score(metric, samples) == expected
    for _ in range(3):
        shuffled = [samples[index] for index in rng.permutation(NUM_SAMPLES)]
        assert score(metric, shuffled) == pytest.approx(expected, abs=1e-9)
