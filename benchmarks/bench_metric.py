"""mIoU* and IoU@k of probability maps."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator

import numpy as np
import torch
from bench_paste import SIDE, draw, plain_mask, resizing
from drawn import IMG_SHAPE, masks_of, rles_of
from mmengine.logging import MMLogger
from pycocotools import mask as coco_mask
from table import Row, run_script, scaled, timed_row
from timing import compare, duration, least_seconds, share_of

from mmboxcaseg.evaluation import BoxMaskIoUMetric
from mmboxcaseg.evaluation.box_mask_iou import edges_ious
from mmboxcaseg.proxy import Edges, mask_edges, read_edges

THRESHOLDS = (0.25, 0.5, 0.7, 0.75)
BATCH = 32


def plain(samples: list[dict]) -> dict[str, float]:
    """The procedure of the paper: prediction and truth as masks of the image's size."""
    ious, labels = [], []
    for sample in samples:
        prediction = plain_mask(sample['pred_maps']['fused'][0].numpy(), sample['bbox'])
        target = coco_mask.decode(sample['segmentation'])
        common = np.logical_and(prediction, target).sum()
        union = np.logical_or(prediction, target).sum()
        ious.append(common / union)
        labels.append(sample['label'])
    ious, labels = np.array(ious), np.array(labels)
    means = [ious[labels == label].mean() for label in np.unique(labels)]
    metrics = {'fused/mIoU': np.mean(means)}
    return metrics | {f'fused/IoU@{100 * t:.0f}': (ious >= t).mean() for t in THRESHOLDS}


def ours(samples: list[dict]) -> dict[str, float]:
    """This package's metric, batch by batch."""
    metric = BoxMaskIoUMetric(THRESHOLDS)
    for start in range(0, len(samples), BATCH):
        metric.process({}, samples[start : start + BATCH])
    return metric.compute_metrics(metric.results)


def draw_samples(count: int) -> list[dict]:
    """Data samples as mmengine's evaluator gives them; the truth is another blob in the box."""
    maps, bboxes = draw(count)
    truths = [rles_of([maps[n - 5]], bboxes[n : n + 1])[0] for n in range(count)]
    return [
        dict(
            pred_maps=dict(fused=torch.from_numpy(prob)[None]),
            segmentation=truth,
            ori_shape=IMG_SHAPE,
            threshold=0.5,
            bbox=bbox.tolist(),
            label=number % 80,
            area=1,
        )
        for number, (prob, bbox, truth) in enumerate(zip(maps, bboxes, truths, strict=True))
    ]


def parts(samples: list[dict]) -> dict[str, float]:
    """Seconds an instance of the parts of ours, each on all batches in turn."""
    batches = [samples[start : start + BATCH] for start in range(0, len(samples), BATCH)]
    shapes = [IMG_SHAPE] * BATCH

    def masks(batch: list[dict]) -> Edges:
        maps = [sample['pred_maps']['fused'][0].numpy() for sample in batch]
        bboxes = np.array([sample['bbox'] for sample in batch])
        return mask_edges(masks_of(maps, bboxes), shapes[: len(batch)])

    def truths(batch: list[dict]) -> Edges:
        return read_edges([sample['segmentation'] for sample in batch], shapes[: len(batch)])

    pairs = [(masks(batch), truths(batch)) for batch in batches]
    functions = {
        'edges of the masks': lambda: [masks(batch) for batch in batches],
        'edges of the truths': lambda: [truths(batch) for batch in batches],
        'IoU': lambda: [edges_ious(*pair) for pair in pairs],
    }
    return {name: least_seconds(function, len(samples)) for name, function in functions.items()}


def rows(args: argparse.Namespace) -> Iterator[Row]:
    MMLogger.get_instance('mmengine').setLevel(logging.ERROR)
    samples = draw_samples(scaled(480, args.share, BATCH))
    assert plain(samples) == ours(samples)
    comparison = compare(lambda: plain(samples), lambda: ours(samples), len(samples))
    maps, bboxes = draw(len(samples))
    limit = least_seconds(lambda: resizing(maps, bboxes), len(maps))
    yield timed_row(
        f'mIoU*, IoU@k, {SIDE}x{SIDE} into 640x480',
        'instance',
        comparison,
        asked='15',
        limit=share_of('range and resize alone', limit, comparison.ours_s),
    )
    cells = (f'{name} {duration(seconds)}' for name, seconds in parts(samples).items())
    yield Row('- its parts', ours=', '.join(cells))


if __name__ == '__main__':
    run_script(rows)
