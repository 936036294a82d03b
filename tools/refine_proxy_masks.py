"""Merge raw masks of boxes, from anywhere, and measure how well they agree with the boxes."""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from mmboxcaseg.errors import run_tool
from mmboxcaseg.proxy.coco import (
    annotations_by_image,
    check_bboxes,
    check_output,
    load_coco,
    load_results,
    match_results,
    replace_annotations,
    wants_mask,
    write_json,
)
from mmboxcaseg.proxy.refine import refine_annotations, summarize_proxies


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('boxes', type=Path, help='COCO file with boxes; its masks are not read')
    parser.add_argument(
        'raw',
        type=Path,
        help='raw masks, a COCO results list; entries without ann_id are matched by image and box',
    )
    parser.add_argument(
        'out', type=Path, help='COCO file to write: the boxes with segmentation and box_agreement'
    )
    parser.add_argument(
        '--no-merge',
        dest='merge',
        action='store_false',
        help='leave the masks as they are (Table 7 without merge) and measure their agreement; '
        'MergeProxyMasks would merge them in training: take it out of the pipeline',
    )
    parser.add_argument(
        '--inclusive-boxes',
        action='store_true',
        help="measure agreement as the authors' release does: a box holds its last pixels, which "
        'makes it one pixel wider and higher; DropProxyMasks has the same option',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_output(args.out, inputs=[args.boxes, args.raw])
    coco = load_coco(args.boxes)
    check_bboxes(coco, args.boxes)
    raw = match_results(coco, load_results(args.raw), args.raw)

    groups = annotations_by_image(coco)
    with tqdm(coco['images'], desc='refine', unit='image') as images:
        proxies = [
            refine_annotations(
                image,
                groups[image['id']],
                raw,
                args.raw,
                merge=args.merge,
                inclusive_boxes=args.inclusive_boxes,
            )
            for image in images
        ]
    coco = replace_annotations(coco, chain.from_iterable(proxies))
    write_json(coco, args.out)
    missing = sum(wants_mask(a) and a['id'] not in raw for a in coco['annotations'])
    print(f'{args.out}: {summarize_proxies(coco["annotations"])}')
    if missing:
        print(f'{missing} boxes have no raw mask: their masks are empty, their agreement is 0')


if __name__ == '__main__':
    run_tool(main)
