"""Draw a raw mask into every box of a COCO file without a network: box, ellipse or GrabCut."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mmboxcaseg.coco import (
    Coco,
    Image,
    annotation_bboxes,
    annotations_by_image,
    load_coco,
    mask_result,
)
from mmboxcaseg.coco.checks import check_bboxes, check_images
from mmboxcaseg.datasets.transforms import LoadPatchImage
from mmboxcaseg.errors import InputError, run_tool
from mmboxcaseg.fileio import check_output, write_json
from mmboxcaseg.proxy import box_mask, ellipse_mask, encode_rle, grabcut_mask

SHAPES = dict(box=box_mask, ellipse=ellipse_mask)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('boxes', type=Path, help='COCO file with boxes; its masks are not read')
    parser.add_argument(
        'out',
        type=Path,
        help='raw masks to write, a COCO results list for tools/refine_proxy_masks.py',
    )
    parser.add_argument(
        '--source', choices=(*SHAPES, 'grabcut'), required=True, help='what draws the masks'
    )
    parser.add_argument('--img-root', type=Path, help='folder of the images; grabcut needs it')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    coco = load_inputs(args)
    groups = annotations_by_image(coco)

    results = []
    with tqdm(total=len(coco.objects), desc=args.source, unit='box') as progress:
        for image in coco.images:
            if objects := [annotation for annotation in groups[image.id] if annotation.is_object]:
                draw = choose_source(args, image)
                for annotation, bbox in zip(objects, annotation_bboxes(objects), strict=True):
                    results.append(mask_result(annotation, encode_rle(draw(bbox))))
                    progress.update()
    write_json(results, args.out)
    print(f'{args.out}: {len(results)} masks')


def load_inputs(args: argparse.Namespace) -> Coco:
    """Check everything that the user gave; return the COCO file."""
    coco = load_coco(args.boxes)
    check_bboxes(coco)
    inputs = [args.boxes]
    if args.source == 'grabcut':
        if args.img_root is None:
            raise InputError('--source grabcut looks at the images: give their folder, --img-root')
        inputs += [args.img_root / image.file_name for image in coco.images]
    check_output(args.out, inputs)
    if args.source == 'grabcut':
        check_images(coco, args.img_root)
    return coco


def choose_source(args: argparse.Namespace, image: Image) -> Callable[[np.ndarray], np.ndarray]:
    """Return what turns boxes (4,) of the image into masks (H, W); it decodes the image once."""
    if args.source != 'grabcut':
        return partial(SHAPES[args.source], img_shape=image.shape)
    path = str(args.img_root / image.file_name)
    size = dict(height=image.height, width=image.width)
    return partial(grabcut_mask, LoadPatchImage()(dict(img_path=path, **size))['img'])


if __name__ == '__main__':
    run_tool(main)
