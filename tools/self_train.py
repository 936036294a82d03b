"""Train in rounds: proxy masks of each round teach the next one.

Configs are given in the order of the rounds. Each but the first reads proxy masks of the one before
it: where its BoxInstanceDataset has a proxy_file, the round's own takes its place; and where it has
a load_from, the network of the round before it is trained on. At the end the last round's network
is scored, and draws the masks that end up in proxy.json of the work dir, rated by all rounds. What
is done is kept: called again, this goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device

from mmboxcaseg.engine.checks import check_data
from mmboxcaseg.engine.config import load_config
from mmboxcaseg.engine.device import add_amp_options, check_gpus, choose_amp
from mmboxcaseg.engine.steps import Step, Training, launch
from mmboxcaseg.errors import InputError, run_tool

TOOLS = Path(__file__).resolve().parent


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('configs', nargs='+', help='configs of the rounds')
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/self_train'),
        help='where everything goes (work_dirs/self_train)',
    )
    parser.add_argument(
        '--gpus',
        type=int,
        default=max(torch.cuda.device_count(), 1),
        help='processes to train and test with (default: one for each GPU)',
    )
    parser.add_argument('--seed', type=int, help="in place of the configs' randomness.seed")
    add_amp_options(parser)
    parser.add_argument('--dry-run', action='store_true', help='print the commands that are left')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    check_gpus(args.gpus)
    rounds = plan(args)
    if not args.dry_run:
        for training in rounds:
            training.write_config()
    for step in steps(rounds, args):
        if step.done:
            continue
        if args.dry_run:
            print(shlex.join(step.command))
        else:
            print(f'== {step.output.parent}: {step.title}')
            step.run()


def plan(args: argparse.Namespace) -> list[Training]:
    """The trainings, with each other's proxy masks in their configs; what is wrong is told."""
    rounds = []
    for number, path in enumerate(args.configs, start=1):
        training = Training(load_config(path), args.work_dir / f'round{number}')
        if not training.config.get('tta_pipeline'):
            raise InputError(f'{path} has no tta_pipeline, through which proxy masks are predicted')
        taught = list(taught_datasets(training.config.train_dataloader))
        if rounds and not taught:
            raise InputError(
                f'{path} is no later round: none of its training sets has a proxy_file'
            )
        if taught and not rounds:
            raise InputError(f'{path} needs proxy masks: give the config of the round before it')
        for dataset in taught:
            dataset.pop('proxy_file')
        check_data(training.config, ('train', 'val', 'test'))
        for dataset in taught:
            dataset.proxy_file = str(proxy_file(rounds[-1]))
        if rounds and training.config.get('load_from'):
            if training.config.model != rounds[-1].config.model:
                raise InputError(
                    f'{path} trains the network of the round before it on, but has another model: '
                    'give a config of the same, or one without load_from'
                )
            training.config.load_from = str(rounds[-1].checkpoint)
        if args.seed is not None:
            training.config.setdefault('randomness', {})['seed'] = args.seed
        rounds.append(training)
    return rounds


def steps(rounds: list[Training], args: argparse.Namespace) -> Iterator[Step]:
    """What has to run, in order; each is made when those before it have run."""
    amp = ['--force-amp'] * choose_amp(args, get_device())
    for training, following in zip(rounds, [*rounds[1:], None], strict=True):
        yield training.train(TOOLS / 'train.py', args.gpus, *amp)
        if following is None:
            yield training.test(TOOLS / 'test.py', args.gpus, '--tta', *amp)
        boxes = next(taught_datasets((following or training).config.train_dataloader), None)
        if boxes is None:
            return
        call = [training.config_file, training.checkpoint, '--tta', *amp]
        call += ['--ann', Path(boxes.data_root, boxes.ann_file)]
        call += ['--img-root', Path(boxes.data_root, boxes.data_prefix.img)]
        call += ['--out', proxy_file(training)]
        command = launch(TOOLS / 'generate_proxy_masks.py', call, args.gpus)
        yield Step('proxy masks', command, proxy_file(training))
    out = args.work_dir / 'proxy.json'
    command = launch(TOOLS / 'combine_quality.py', [*map(proxy_file, rounds), '--out', out])
    yield Step('their quality', command, out)


def proxy_file(training: Training) -> Path:
    return training.work_dir / 'proxy.json'


def taught_datasets(node: Any) -> Iterator[Config]:
    """The datasets in a config that have a proxy file."""
    if isinstance(node, dict):
        if node.get('proxy_file'):
            yield node
        node = node.values()
    for child in node if isinstance(node, list | tuple | type({}.values())) else ():
        yield from taught_datasets(child)


if __name__ == '__main__':
    run_tool(main)
