"""Patches for training and test: decode, crop, resize, normalise.

The plain procedure decodes the image for every instance, draws labels into arrays of the image's
size and resizes in floating point with scikit-image, as code for salient object detection does.
The same with OpenCV's resize, which takes a tenth of that time, stands beside it.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, MODELS, init_default_scope
from skimage.transform import resize
from table import Row, run_script, scaled, timed_row
from timing import compare, duration, least_seconds

from mmboxcaseg import config_path
from mmboxcaseg.datasets.transforms.patches import jitter_bbox
from mmboxcaseg.proxy import pixel_bboxes

MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])
BATCH_SIZE = 16
NUM_PATCHES = 160

Resize = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


def resize_skimage(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return resize(array, size, order=1, mode='edge', anti_aliasing=False)


def resize_opencv(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = array.shape[0] >= size[0] and array.shape[1] >= size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(array, size[::-1], interpolation=interpolation)


def plain_image(path: str) -> np.ndarray:
    """(H, W, 3) float RGB in [0, 1]."""
    return cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB) / 255.0


def plain_tensor(patch: np.ndarray) -> torch.Tensor:
    """(3, H, W) float32, normalised."""
    normalised = (patch - MEAN / 255) / (STD / 255)
    return torch.from_numpy(normalised.transpose(2, 0, 1).astype(np.float32))


def plain_box_patch(sample: dict, resize: Resize) -> tuple[torch.Tensor, np.ndarray]:
    """Image and label of a window of a box's image; test patches have a window, too: the box."""
    image = plain_image(sample['img_path'])
    x1, y1, x2, y2 = np.round(sample['bbox']).astype(int)
    label = np.zeros(image.shape[:2])
    label[y1:y2, x1:x2] = 1
    x1, y1, x2, y2 = sample['patch_bbox']
    patch = resize(image[y1:y2, x1:x2], sample['img_shape'])
    label = resize(label[y1:y2, x1:x2], sample['img_shape'])
    if sample.get('flip'):
        patch, label = patch[:, ::-1], label[:, ::-1]
    return plain_tensor(patch), label >= 0.5


def plain_salient_patch(sample: dict, resize: Resize) -> tuple[torch.Tensor, np.ndarray]:
    """Image and mask, resized to 320x320, of a window of 288x288."""
    image = plain_image(sample['img_path'])
    patch = resize(image, (320, 320))
    mask = resize(cv2.imread(sample['mask_path'], cv2.IMREAD_GRAYSCALE) / 255.0, (320, 320))
    window = sample['patch_bbox'] * 320 / np.tile(image.shape[1::-1], 2)
    x1, y1, x2, y2 = np.rint(window).astype(int)
    patch, mask = patch[y1:y2, x1:x2], mask[y1:y2, x1:x2]
    if sample['flip']:
        patch, mask = patch[:, ::-1], mask[:, ::-1]
    return plain_tensor(patch), mask >= 0.5


def batches(
    dataset: BaseDataset, indices: Sequence[int], preprocessor: torch.nn.Module
) -> Iterator[tuple[torch.Tensor, list[DetDataSample]]]:
    """Normalised patches and what belongs to them, batch by batch."""
    np.random.seed(0)  # what the transforms draw is the same in every repeat
    for start in range(0, len(indices), BATCH_SIZE):
        batch = pseudo_collate([dataset[index] for index in indices[start : start + BATCH_SIZE]])
        yield preprocessor(batch)['inputs'], batch['data_samples']


def check_image(image: torch.Tensor, plain: torch.Tensor, sample: dict, resize: Resize) -> None:
    x1, y1, x2, y2 = sample['patch_bbox']
    if resize is resize_skimage and min(x2 - x1, y2 - y1) >= image.shape[-1]:
        return  # where it shrinks it takes single pixels, we average
    # Ours is rounded to whole grey levels, the plain one is not.
    levels = ((image - plain).abs() * torch.tensor(STD).view(3, 1, 1)).max()
    assert levels < 1.02, f'{sample["img_path"]}: {levels:.2f} grey levels apart'


def check_bbox(bbox: np.ndarray, label: np.ndarray, sample: dict) -> None:
    if not label.any():  # the crop missed the box
        return
    rows, columns = label.any(1).nonzero()[0], label.any(0).nonzero()[0]
    tight = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    # The label is drawn on whole pixels of the image and ends on whole ones of the patch.
    window = np.asarray(sample['patch_bbox'])
    rounding = 0.5 * label.shape[0] / (window[2:] - window[:2]) + 1
    assert (np.abs(tight - bbox) <= np.tile(rounding, 2)).all(), f'{tight} and {bbox}'


def check_mask(mask: np.ndarray, plain: np.ndarray, sample: dict) -> None:
    # Pixels half way between object and ground may go either way.
    assert (mask != plain).mean() < 1e-3, f'another mask of {sample["img_path"]}'


def decoding(samples: Sequence[dict]) -> str:
    files = [np.fromfile(path, np.uint8) for path in {s['img_path'] for s in samples}]

    def decode() -> None:
        for file in files:
            cv2.imdecode(file, cv2.IMREAD_COLOR)

    return f'decoding an image: {duration(least_seconds(decode, len(files)))}'


def bench(
    step: str, dataset: BaseDataset, indices: Sequence[int], config: Config, asked: str
) -> Iterator[Row]:
    """Compare on patches of a data set."""
    preprocessor = MODELS.build(config.model.data_preprocessor)
    images, truths = zip(*batches(dataset, indices, preprocessor), strict=True)
    images, truths = torch.cat(images), sum(truths, [])
    samples = [
        {**dataset.get_data_info(index), **truth.metainfo}
        for index, truth in zip(indices, truths, strict=True)
    ]
    salient = 'mask_path' in samples[0]
    plain_patch = plain_salient_patch if salient else plain_box_patch
    limit = decoding(samples)

    def our_patches() -> None:
        for _ in batches(dataset, indices, preprocessor):
            pass

    for resize_name, resize_ in (('scikit-image', resize_skimage), ('OpenCV', resize_opencv)):
        for sample, truth, image in zip(samples, truths, images, strict=True):
            plain, label = plain_patch(sample, resize_)
            check_image(image, plain, sample, resize_)
            if salient:
                check_mask(truth.gt_sem_seg.sem_seg[0].numpy(), label, sample)
            else:
                check_bbox(truth.gt_instances.bboxes[0].numpy(), label, sample)

        def plain_patches(resize_: Resize = resize_) -> None:
            for sample in samples:
                plain_patch(sample, resize_)

        comparison = compare(plain_patches, our_patches, len(samples))
        yield timed_row(f'{step}; plain with {resize_name}', 'patch', comparison, asked, limit)


def large_crops(dataset: BaseDataset, size: int) -> Row:
    """How many crops a JPEG decoded at half its size would serve: the others need every pixel."""
    rng = np.random.default_rng(0)
    samples = [dataset.get_data_info(index) for index in range(len(dataset))]
    windows = [
        pixel_bboxes(
            jitter_bbox(sample['bbox'], rng.uniform(-0.25, 0.25, 2), rng.uniform(0.5, 1.5, 2)),
            (sample['height'], sample['width']),
        )[0]
        for sample in samples * 10
    ]
    sides = np.array([window[2:] - window[:2] for window in windows]).min(axis=1)
    share = (sides >= 2 * size).mean()
    return Row(
        f'crops of at least twice the size of a {size}x{size} box patch', ours=f'{share:.1%}'
    )


def rows(args: argparse.Namespace) -> Iterator[Row]:
    init_default_scope('mmdet')
    MMLogger.get_instance('mmengine').setLevel(logging.ERROR)
    config = Config.fromfile(config_path('boxcaseg/hrnet_w48_voc.py'))
    boxes = dict(type='mmboxcaseg.BoxInstanceDataset', data_root=str(args.data / 'coco_mini'))
    train = DATASETS.build(
        dict(
            ann_file='annotations/instances_train.json',
            data_prefix=dict(img='train'),
            pipeline=config.box_pipeline,
            **boxes,
        )
    )
    test = DATASETS.build(
        dict(
            ann_file='annotations/instances_val.json',
            data_prefix=dict(img='val'),
            test_mode=True,
            pipeline=config.test_pipeline,
            **boxes,
        )
    )
    salient = DATASETS.build(
        dict(
            type='mmboxcaseg.SalientObjectDataset',
            data_root=str(args.data / 'duts_mini'),
            pipeline=config.salient_pipeline,
        )
    )
    count = scaled(NUM_PATCHES, args.share)
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(len(dataset))[:count].tolist() for dataset in (train, salient)]
    yield from bench('box patch for training', train, drawn[0], config, asked='8')
    yield large_crops(train, 288)
    yield large_crops(train, 160)
    yield from bench('salient patch for training', salient, drawn[1], config, asked='10')
    tested = range(min(count, len(test)))
    images = len({test.get_data_info(index)['img_path'] for index in tested})
    step = f'test patch, {len(tested) / images:.1f} an image'
    yield from bench(step, test, tested, config, asked='15')


if __name__ == '__main__':
    run_script(rows)
