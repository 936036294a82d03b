"""Predict a mask for every box of a COCO file, merge them and measure their box agreement."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.datasets.transforms import LoadPatchImage
from mmboxcaseg.engine.config import ConfigOptions, load_config
from mmboxcaseg.engine.device import check_device
from mmboxcaseg.errors import InputError, check_count, run_tool
from mmboxcaseg.proxy import paste_probability
from mmboxcaseg.proxy.coco import (
    annotation_bboxes,
    annotations_by_image,
    check_bboxes,
    check_images,
    check_output,
    load_coco,
    mask_result,
    replace_annotations,
    wants_mask,
    write_json,
)
from mmboxcaseg.proxy.refine import refine_annotations, summarize_proxies


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the BoxCaseg')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument(
        '--ann', type=Path, required=True, help='COCO file with boxes; its masks are not read'
    )
    parser.add_argument('--img-root', type=Path, required=True, help='folder of the images')
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        help='COCO file to write: the boxes with segmentation and box_agreement',
    )
    parser.add_argument(
        '--raw-out',
        type=Path,
        help='COCO results file to write with the masks before merging, '
        'for tools/refine_proxy_masks.py',
    )
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='where the network runs (default: the GPU if there is one)',
    )
    parser.add_argument('--batch-size', type=int, default=32, help='boxes predicted at once')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='override settings of the config',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    config = load_config(args.config, args.cfg_options)
    coco = load_inputs(args)
    model = init_model(config, args.checkpoint, args.device)
    predictor = BoxCasegPredictor(model, batch_size=args.batch_size)

    proxies, raw_results = [], []
    num_boxes = sum(map(wants_mask, coco['annotations']))
    with tqdm(total=num_boxes, desc='predict', unit='box') as progress:
        for image, annotations, results in predict_masks(coco, args.img_root, predictor):
            raw = {entry['ann_id']: entry['segmentation'] for entry in results}
            proxies += refine_annotations(image, annotations, raw)
            if args.raw_out:
                raw_results += results
            progress.update(len(results))

    if args.raw_out:
        write_json(raw_results, args.raw_out)
    write_json(replace_annotations(coco, proxies), args.out)
    print(f'{args.out}: {summarize_proxies(proxies)}')


def load_inputs(args: argparse.Namespace) -> dict:
    """Check everything that the user gave; return the content of the COCO file."""
    if not Path(args.checkpoint).is_file():
        raise InputError(f'checkpoint {args.checkpoint} does not exist')
    check_device(args.device)
    check_count('--batch-size', args.batch_size)
    coco = load_coco(args.ann)
    check_bboxes(coco, args.ann)
    inputs = [args.config, args.checkpoint, args.ann]
    inputs += [args.img_root / image['file_name'] for image in coco['images']]
    check_output(args.out, inputs)
    if args.raw_out:
        if args.raw_out.resolve() == args.out.resolve():
            raise InputError(f'--out and --raw-out are both {args.out}: give different files')
        check_output(args.raw_out, inputs)
    check_images(coco, args.img_root)
    return coco


def predict_masks(
    coco: dict, img_root: Path, predictor: BoxCasegPredictor
) -> Iterator[tuple[dict, list[dict], list[dict]]]:
    """Predict image by image; boxes of several images share a batch.

    Args:
        coco: Content of a COCO file.
        img_root: Folder of the images.
        predictor: The network.

    Yields:
        An image, its annotations and COCO results with the raw masks of those that want one.
    """
    groups = annotations_by_image(coco)
    objects = {id_: list(filter(wants_mask, group)) for id_, group in groups.items()}
    maps = predict_stream(crop_stream(coco['images'], objects, img_root, predictor), predictor)
    for image in coco['images']:
        shape = (image['height'], image['width'])
        group = objects[image['id']]
        results = [
            mask_result(annotation, paste_probability(prob, bbox, shape, predictor.threshold))
            for annotation, bbox, prob in zip(
                group, annotation_bboxes(group), islice(maps, len(group)), strict=True
            )
        ]
        yield image, groups[image['id']], results


def crop_stream(
    images: list[dict], objects: dict, img_root: Path, predictor: BoxCasegPredictor
) -> Iterator[np.ndarray]:
    """Yield the (h, w, 3) patch of every object, image after image."""
    load = LoadPatchImage()
    for image in images:
        if group := objects[image['id']]:
            size = dict(height=image['height'], width=image['width'])
            pixels = load(dict(img_path=str(img_root / image['file_name'])) | size)['img']
            yield from predictor.crop_patches(pixels, annotation_bboxes(group))


def predict_stream(
    patches: Iterator[np.ndarray], predictor: BoxCasegPredictor
) -> Iterator[np.ndarray]:
    """Yield the (h, w) probability map of every patch, predicted in full batches."""
    while batch := list(islice(patches, predictor.batch_size)):
        yield from predictor.predict_patches(np.stack(batch))


if __name__ == '__main__':
    run_tool(main)
