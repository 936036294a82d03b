"""Predict a mask for every box of a COCO file, merge them and measure their box agreement.

An interrupted run goes on where it was when it is started again. Several processes or machines:
tools/dist_generate_proxy_masks.sh.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, get_world_size
from tqdm import tqdm

import mmboxcaseg
from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.apis.proxy_generation import ProxyGenerator
from mmboxcaseg.coco.annotations import Coco, load_coco
from mmboxcaseg.coco.checks import check_bboxes, check_images
from mmboxcaseg.coco.groups import ImageGroups
from mmboxcaseg.coco.shards import SHARD_IMAGES, ShardFolder, file_hash, text_hash
from mmboxcaseg.engine.config import ConfigOptions, box_pipeline, load_config
from mmboxcaseg.engine.device import add_amp_options, check_device, choose_amp
from mmboxcaseg.engine.distributed import is_first_process, join_processes
from mmboxcaseg.errors import InputError, check_count, run_tool
from mmboxcaseg.fileio import check_output


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
        help='COCO file to write: the boxes with segmentation, box_agreement and quality',
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
        '--tta',
        action='store_true',
        help="test-time augmentation: average over all views of the config's tta_pipeline",
    )
    add_amp_options(parser)
    parser.add_argument(
        '--workers',
        type=int,
        default=2,
        help='threads that crop boxes for the network and make masks of its predictions, beside '
        'those that run it; more if the network waits',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='override settings of the config',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch'], default='none')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    args.amp = choose_amp(args, args.device)
    config = load_config(args.config, args.cfg_options)
    if is_first_process():
        groups = ImageGroups(load_inputs(args, config))
        folder = ShardFolder(args.out, groups)
        folder.open(manifest(args, config, groups))
    join_processes(args.launcher)
    if not is_first_process():
        groups = ImageGroups(load_coco(args.ann))
        folder = ShardFolder(args.out, groups)

    model = init_model(config, args.checkpoint, args.device)
    predictor = BoxCasegPredictor(model, batch_size=args.batch_size, tta=args.tta, amp=args.amp)
    threads = torch.get_num_threads() if torch.device(args.device).type == 'cpu' else 0
    generator = ProxyGenerator(groups, args.img_root, predictor, args.workers, threads)
    generate(generator, folder)
    if is_first_process():
        summary = folder.summarize()
        if args.raw_out:
            folder.join_raw(args.raw_out)
        folder.join_proxies(args.out)
        folder.remove()
        print(f'{args.out}: {summary}')


def load_inputs(args: argparse.Namespace, config: Config) -> Coco:
    """Check everything that the user gave; return the COCO file."""
    box_pipeline(config, args.tta)
    if not Path(args.checkpoint).is_file():
        raise InputError(f'checkpoint {args.checkpoint} does not exist')
    check_device(args.device)
    check_count('--batch-size', args.batch_size)
    if args.workers < 0:
        raise InputError(f'--workers must be 0 or more, not {args.workers}')
    coco = load_coco(args.ann)
    check_bboxes(coco)
    inputs = [args.config, args.checkpoint, args.ann]
    inputs += [args.img_root / image.file_name for image in coco.images]
    check_output(args.out, inputs)
    if args.raw_out:
        if args.raw_out.resolve() == args.out.resolve():
            raise InputError(f'--out and --raw-out are both {args.out}: give different files')
        check_output(args.raw_out, inputs)
    check_images(coco, args.img_root)
    return coco


def manifest(args: argparse.Namespace, config: Config, groups: ImageGroups) -> dict[str, str]:
    """All that the masks depend on; not how many processes make them, which changes nothing."""
    paths = (args.img_root / groups.image(i).file_name for i in groups.num_boxes.nonzero()[0])
    return {
        'annotation file': file_hash(args.ann),
        # To read the whole set would take minutes.
        'state of the images': text_hash(
            f'{stat.st_size} {stat.st_mtime_ns}' for stat in map(Path.stat, paths)
        ),
        'checkpoint': file_hash(args.checkpoint),
        'config': text_hash([json.dumps(config.to_dict(), default=repr)]),
        'batch size': str(args.batch_size),
        'choice of views (--tta)': str(args.tta),
        'precision (--amp)': str(args.amp),
        'kind of device': torch.device(args.device).type,
        'version of mmboxcaseg': mmboxcaseg.__version__,
        'version of torch': torch.__version__,
        'version of opencv': cv2.__version__,
    }


def generate(generator: ProxyGenerator, folder: ShardFolder) -> None:
    """Do this process's part of the shards; in the first one, wait for the others' too."""
    # Asked once, by one process: the first finished shard would change another's answer.
    shared = [[shard for shard in range(len(folder)) if not folder.is_done(shard)]]
    broadcast_object_list(shared)
    own = shared[0][get_rank() :: get_world_size()]
    others = set(shared[0]) - set(own)
    start = time.perf_counter()
    total = int(folder.groups.num_boxes.sum())
    done = total - sum(map(folder.num_boxes, shared[0]))
    with tqdm(
        total=total, initial=done, desc='predict', unit='box', disable=not is_first_process()
    ) as progress:

        def see_others() -> None:
            finished = set(filter(folder.is_done, others))
            others.difference_update(finished)
            progress.update(sum(map(folder.num_boxes, finished)))

        for number, boxes in enumerate(generator.run(folder, own)):
            progress.update(boxes)
            if number % SHARD_IMAGES == 0 and is_first_process():
                see_others()
        elapsed = time.perf_counter() - start
        while others and is_first_process():
            time.sleep(0.5)
            see_others()
    shares = [share for share in all_gather_object(generator.network_s / elapsed) if share]
    if shares and is_first_process():
        print(f'time in the network: {", ".join(f"{share:.1%}" for share in shares)}')


if __name__ == '__main__':
    run_tool(main)
