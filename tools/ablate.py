"""Run the rows of one of the paper's tables and print them beside the paper's figures.

The other tools train and score a row, each in a process of its own. What is done is kept: called
again, this goes on where it was. Rows and the paper's figures are in configs/ablations/tables.json:
a row names the configs that it trains, and what it sets in them.
"""

# ruff: noqa: E402

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmboxcaseg import config_path
from mmboxcaseg.errors import InputError, run_tool

TABLES = json.loads(Path(config_path('ablations/tables.json')).read_text())


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('table', choices=TABLES, help="the paper's table, or one beyond it")
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='run these rows only, by key')
    parser.add_argument(
        '--set',
        default='paper',
        help="'paper' (default): its data and networks; 'mini': the small real data and networks "
        'for CPUs; or a folder of your own with the bases boxcaseg.py and mask_rcnn.py',
    )
    parser.add_argument(
        '--gpus',
        type=int,
        help='processes to train and test with (default: one for each GPU)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/ablations'),
        help='where everything goes (work_dirs/ablations)',
    )
    parser.add_argument(
        '--dry-run',
        action='store_true',
        help='print the commands that are left and the table as far as it is',
    )
    return parser.parse_args()


if __name__ == '__main__':
    parse_args()  # before what takes seconds to import: help comes at once

import numpy as np
import torch
from mmengine.config import Config

from mmboxcaseg.coco import annotation_bboxes, load_coco, load_proxies
from mmboxcaseg.engine.checks import check_data
from mmboxcaseg.engine.config import class_name, load_config, override
from mmboxcaseg.engine.device import check_gpus
from mmboxcaseg.engine.steps import Step, Training, launch
from mmboxcaseg.fileio import write_bytes
from mmboxcaseg.proxy import rle_bboxes, tight_bbox_agreement


@dataclass
class Row:
    """One row: what it trains, and the proxy file between its two trainings."""

    key: str
    cells: list[str]
    paper: list[float | None]
    boxcaseg: Training | None = None
    proxy_maker: Training | None = None
    source: str | None = None
    merge: bool = True
    proxy_file: Path | None = None
    mask_rcnn: Training | None = None

    def steps(self, num_gpus: int) -> Iterator[Step]:
        """What has to run, in order; each is made when those before it have run."""
        if self.boxcaseg:
            yield train(self.boxcaseg, num_gpus)
            yield self.boxcaseg.test(num_gpus)
        if self.proxy_file:
            yield from self._proxy_steps(num_gpus)
        if self.mask_rcnn:
            yield train(self.mask_rcnn, num_gpus)
            yield self.mask_rcnn.test(num_gpus)

    @property
    def boxes(self) -> dict[str, Any]:
        """The data set whose boxes get masks."""
        dataset = self.proxy_maker.config.train_dataloader.dataset
        return dataset.get('datasets', [dataset])[0]

    def _proxy_steps(self, num_gpus: int) -> Iterator[Step]:
        boxes = self.boxes
        boxes_file = Path(boxes.data_root, boxes.ann_file)
        images = Path(boxes.data_root, boxes.data_prefix.img)
        raw = self.proxy_file.with_name('raw.json')
        if self.source == 'bbam':
            yield train(self.proxy_maker, num_gpus)
            arguments = [self.proxy_maker.config_file, self.proxy_maker.checkpoint]
            arguments += ['--source', self.source, '--ann', boxes_file]
            arguments += ['--images', images, '--out', raw]
            yield Step('masks', launch('detector-masks', arguments), raw)
        elif self.source:
            arguments = [boxes_file, raw, '--source', self.source, '--images', images]
            yield Step('masks', launch('baseline-masks', arguments), raw)
        else:
            yield train(self.proxy_maker, num_gpus)
            generated = raw.with_name('proxy.json')
            yield self.proxy_maker.generate(boxes, generated, num_gpus, '--raw-out', raw)
        merge = [] if self.merge else ['--no-merge']
        arguments = [boxes_file, raw, self.proxy_file, *merge]
        # Does nothing where the network's masks are merged, which are refined already.
        yield Step('refine', launch('refine', arguments), self.proxy_file)

    def figure(self, metric: str | list[str]) -> float | None:
        """A metric, or the first of several that is there, in the paper's unit."""
        if metric == 'drop_rate':
            return self._drop_rate()
        for training in (self.boxcaseg, self.mask_rcnn):
            if training and training.metrics.is_file():
                metrics = read_metrics(training.metrics)
                for name in [metric] if isinstance(metric, str) else metric:
                    # The map that proxy masks are made from is the fused one, or else the weak one.
                    for key in (name, f'fused/{name}', f'weak/{name}'):
                        if key in metrics:
                            # COCO's AP is -1 where there is nothing to find.
                            return 100 * metrics[key] if metrics[key] >= 0 else None
        return None

    def _drop_rate(self) -> float | None:
        if not self.proxy_file.is_file():
            return None
        pipeline = self.mask_rcnn.config.train_dataloader.dataset.pipeline
        drop = next(t for t in pipeline if t['type'] == 'mmboxcaseg.DropProxyMasks')
        proxies = load_proxies(self.proxy_file).values()
        agreement = np.array([proxy.box_agreement for proxy in proxies])
        if drop.get('inclusive_boxes'):
            bboxes = annotation_bboxes(load_coco(self.proxy_file).objects)
            tight = rle_bboxes([proxy.rle for proxy in proxies])
            shapes = [proxy.rle['size'] for proxy in proxies]
            agreement = tight_bbox_agreement(tight, bboxes, shapes, inclusive_boxes=True)
        return (agreement <= drop['min_agreement']).mean()


def train(training: Training, num_gpus: int) -> Step:
    # The rate is for the paper's number of GPUs, and fit_schedule for this one.
    return training.train(num_gpus, '--auto-scale-lr')


def main() -> None:
    args = parse_args()
    if args.gpus is None:
        args.gpus = max(torch.cuda.device_count(), 1)
    check_gpus(args.gpus)
    table, bases = TABLES[args.table], base_folder(args.set)
    folder = args.work_dir / (bases.name if bases else args.set)
    rows = [plan_row(row, bases, folder, args.gpus) for row in chosen_rows(table, args)]
    if not args.dry_run:
        prepare(rows)
    commands = {}
    for number, row in enumerate(rows, start=1):
        for step in row.steps(args.gpus):
            if args.dry_run and not step.done:
                commands.setdefault(step.output, shlex.join(step.command))
            elif not step.done:
                print(f'== table {args.table}, {row.key} ({number}/{len(rows)}): {step.title}')
                step.run()
    print(*commands.values(), sep='\n')
    text = format_table(args, table, rows)
    print(text, end='')
    if not args.dry_run:
        write_bytes(text.encode(), folder / f'table{args.table}.md')


def base_folder(set_name: str) -> Path | None:
    """Where the bases lie that the rows change; None for the rows' own."""
    if set_name == 'paper':
        return None
    mini = Path(config_path('ablations/mini/boxcaseg.py')).parent.resolve()
    folder = (mini if set_name == 'mini' else Path(set_name)).resolve()
    if folder.name in ('paper', 'mini') and folder != mini:
        raise InputError(f'--set {set_name}: the names paper and mini are taken, rename the folder')
    for name in ('boxcaseg.py', 'mask_rcnn.py'):
        if not (folder / name).is_file():
            raise InputError(
                f"--set must be 'paper', 'mini' or a folder with the configs boxcaseg.py and "
                f'mask_rcnn.py, and there is no {folder / name}'
            )
    return folder


def chosen_rows(table: dict, args: argparse.Namespace) -> list[dict]:
    if args.set != 'paper' and not table.get('other_sets'):
        names = ', '.join(name for name, table in TABLES.items() if table.get('other_sets'))
        raise InputError(
            f"table {args.table} has the paper's set only, tables {names} have others too"
        )
    keys = [row['key'] for row in table['rows']]
    for key in args.rows or ():
        if key not in keys:
            raise InputError(f'table {args.table} has no row {key!r}, only {", ".join(keys)}')
    return [row for row in table['rows'] if row['key'] in (args.rows or keys)]


def plan_row(row: dict, bases: Path | None, folder: Path, num_gpus: int) -> Row:
    """Resolve the configs of a row; trainings that rows share lie in the same folder."""
    plan = Row(row['key'], row['cells'], row['paper'])
    changes = row.get('set', {})
    if 'boxcaseg' in row:
        plan.boxcaseg = plan_training(row['boxcaseg'], 'boxcaseg', changes, bases, folder)
        plan.proxy_maker = plan.boxcaseg if 'mask_rcnn' in row else None
        changes = {}
    if 'proxies' in row:
        plan.proxy_maker = plan_training(row['proxies'], 'boxcaseg', {}, bases, folder)
    if plan.proxy_maker:
        plan.source, plan.merge = row.get('source'), row.get('merge', True)
        maker_dir = folder / plan.source if plan.source else plan.proxy_maker.work_dir
        plan.proxy_file = maker_dir / ('proxy.json' if plan.merge else 'unmerged.json')
    if 'mask_rcnn' in row:
        plan.mask_rcnn = plan_training(row['mask_rcnn'], 'mask_rcnn', changes, bases, folder)
        if plan.proxy_file:
            plan.mask_rcnn.config.train_dataloader.dataset.ann_file = str(plan.proxy_file)
            plan.mask_rcnn.work_dir = plan.proxy_file.parent / plan.mask_rcnn.work_dir.name
    for training in filter(None, (plan.boxcaseg, plan.proxy_maker, plan.mask_rcnn)):
        fit_schedule(training.config, num_gpus)
    return plan


def plan_training(
    name: str, kind: str, changes: dict, bases: Path | None, folder: Path
) -> Training:
    """A config with a row's changes; the folder is named by those that do change something."""
    path = bases / f'{kind}.py' if bases else Path(config_path(name))
    config = load_config(path)
    work_dir = f'{path.parent.name}_{path.stem}'
    for key, value in changes.items():
        before = config.to_dict()
        override(config, {key: value})
        if config.to_dict() != before:
            work_dir += f'_{key.rsplit(".", 1)[-1]}-{word(value)}'
    return Training(config, folder / work_dir)


def word(value: Any) -> str:
    """A value in the name of a folder."""
    if isinstance(value, dict):
        value = class_name(value)
    return '-'.join(map(str, value)) if isinstance(value, list) else str(value)


def fit_schedule(config: Config, num_gpus: int) -> None:
    """Make a training that is counted in iterations see as many images as on the paper's GPUs."""
    batch_size = config.train_dataloader.batch_size * num_gpus
    factor = config.get('auto_scale_lr', {}).get('base_batch_size', batch_size) / batch_size
    if 'max_iters' not in config.train_cfg or factor == 1:
        return
    parts = [config.train_cfg, config.default_hooks.checkpoint, *config.param_scheduler]
    for part in parts:
        for key in ('max_iters', 'val_interval', 'interval', 'begin', 'end', 'T_max'):
            if key in part:
                part[key] = round(factor * part[key])
        if 'milestones' in part:
            part['milestones'] = [round(factor * milestone) for milestone in part['milestones']]


def prepare(rows: list[Row]) -> None:
    """Check the data of all rows, and lay down their configs, before the first one runs."""
    checked = set()
    for row in rows:
        for training in (row.boxcaseg, row.proxy_maker, row.mask_rcnn):
            if training is None or training.work_dir in checked:
                continue
            checked.add(training.work_dir)
            if training is row.proxy_maker and row.source not in (None, 'bbam'):
                # It lends its boxes alone.
                check_data(Config(dict(train_dataloader=dict(dataset=row.boxes))), ('train',))
                continue
            made_here = training is row.mask_rcnn and row.proxy_file
            check_data(training.config, ('test',) if made_here else ('train', 'val', 'test'))
            training.write_config()
        if row.proxy_file:
            row.proxy_file.parent.mkdir(parents=True, exist_ok=True)


def read_metrics(path: Path) -> dict[str, float]:
    try:
        return json.loads(path.read_text())
    except ValueError:
        raise InputError(f'{path} is not JSON: remove it and call again') from None


def format_table(args: argparse.Namespace, table: dict, rows: list[Row]) -> str:
    """Write a Markdown table; of each metric the paper's figure and this package's."""
    title = f'Table {args.table}: {table["title"]}'
    if args.set != 'paper':
        title += f'; here: --set {args.set}'
    heads = [f'{name}, {who}' for name in table['metrics'] for who in ('paper', 'here')]
    lines = [[*table['columns'], *heads], ['---'] * (len(table['columns']) + len(heads))]
    for row in rows:
        figures = []
        for metric, paper in zip(table['metrics'].values(), row.paper, strict=True):
            digits = 2 if metric == 'drop_rate' else 1
            for value in (paper, row.figure(metric)):
                figures.append('-' if value is None else f'{value:.{digits}f}')
        lines.append([*row.cells, *figures])
    body = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
    return f'{title}\n\n{body}\n'


if __name__ == '__main__':
    run_tool(main)
