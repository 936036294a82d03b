"""mIoU* and IoU@k of probability maps."""

from __future__ import annotations

import argparse

import numpy as np
import torch
from bench_paste import SIDE, draw, plain_mask, resizing
from drawn import IMG_SHAPE
from pycocotools import mask as coco_mask
from timing import HEADER, compare, cpu_seconds, duration, row

from mmboxcaseg.evaluation import BoxMaskIoUMetric
from mmboxcaseg.proxy import probability_rles

THRESHOLDS = (0.25, 0.5, 0.7, 0.75)
BATCH = 16


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
    truths = [
        probability_rles([maps[n - 5]], bboxes[n : n + 1], IMG_SHAPE)[0] for n in range(count)
    ]
    return [
        dict(
            pred_maps=dict(fused=torch.from_numpy(prob)[None]),
            segmentation=truth,
            ori_shape=IMG_SHAPE,
            bbox=bbox.tolist(),
            label=number % 80,
            area=1,
        )
        for number, (prob, bbox, truth) in enumerate(zip(maps, bboxes, truths, strict=True))
    ]


def main() -> None:
    """Print the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    samples = draw_samples(480)
    assert plain(samples) == ours(samples)
    comparison = compare(lambda: plain(samples), lambda: ours(samples), len(samples))
    maps, bboxes = draw(len(samples))
    limit = min(cpu_seconds(lambda: resizing(maps, bboxes)) for _ in range(5)) / len(maps)
    print(HEADER)
    name = f'mIoU*, IoU@k, {SIDE}x{SIDE} into 640x480'
    print(row(name, comparison, 'instance', f'range and resize alone: {duration(limit)}'))


if __name__ == '__main__':
    main()
