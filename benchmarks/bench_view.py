"""A view of a box on a CPU: the network as a predictor has it, beside the one of training.

The weights are random. The limit is the plain forward pass of the backbone, its norms folded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from copy import copy
from unittest.mock import patch

import cv2
import numpy as np
import torch
from table import Row, run_script, scaled, timed_row
from timing import compare, duration, least_seconds

import mmboxcaseg
from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.engine.config import load_config
from mmboxcaseg.models import BoxCaseg

CONFIG = 'prompted/prompted-boxcaseg_effnet-lite2-fine_1xb64-15e_coco-mini.py'
#: Patches that go through the network at once.
BATCH = 8


def rows(args: argparse.Namespace) -> Iterator[Row]:
    config = load_config(mmboxcaseg.config_path(CONFIG))
    boxes = boxes_of_images(args)
    repeats = scaled(7, args.share, 1)
    for size in (128, 160):
        config.test_dataloader.dataset.pipeline[1].size = size
        torch.manual_seed(0)
        yield from rows_of_size(init_model(config), size, boxes, repeats)


def rows_of_size(model: BoxCaseg, size: int, boxes: list, repeats: int) -> Iterator[Row]:
    folded = model.folded()
    inputs = torch.randn(BATCH, 3, size, size)
    wide = torch.randn(BATCH, 3 + model.prompt.channels, size, size)
    with torch.inference_mode():
        maps = [network(inputs)[model.output_map] for network in (model, folded)]
        torch.testing.assert_close(*maps, rtol=0, atol=1e-4)
        limit = least_seconds(lambda: folded.backbone(wide), BATCH, repeats)
        comparison = compare(lambda: model(inputs), lambda: folded(inputs), BATCH, repeats)
    limit = f'its backbone: {duration(limit)}, {limit / comparison.ours_s:.0%} of ours'
    unit = f'view of {size}x{size}'
    yield timed_row('network alone', unit, comparison, limit=limit)
    ours = BoxCasegPredictor(model, batch_size=BATCH)
    with patch.object(BoxCaseg, 'folded', copy):
        plain = BoxCasegPredictor(model, batch_size=BATCH)
    number = sum(len(bboxes) for _, bboxes in boxes)
    comparison = compare(
        lambda: predict(plain, boxes), lambda: predict(ours, boxes), number, repeats
    )
    yield timed_row('predictor, from image and boxes to masks', unit, comparison, limit=limit)


def boxes_of_images(args: argparse.Namespace) -> list[tuple[np.ndarray, np.ndarray]]:
    """Photographs of val, decoded, and the boxes of each."""
    root = args.data / 'coco_mini'
    coco = json.loads((root / 'annotations' / 'instances_val.json').read_text())
    pairs = []
    for image in coco['images'][: scaled(8, args.share, 1)]:
        boxes = [a['bbox'] for a in coco['annotations'] if a['image_id'] == image['id']]
        if boxes:
            corner, sides = np.split(np.array(boxes, float), 2, axis=1)
            pixels = cv2.imread(str(root / 'val' / image['file_name']))
            pairs.append((pixels, np.concatenate([corner, corner + sides], axis=1)))
    return pairs


def predict(predictor: BoxCasegPredictor, boxes: list) -> None:
    for image, bboxes in boxes:
        predictor.set_image(image)
        predictor.predict(bboxes)


if __name__ == '__main__':
    run_script(rows)
