"""Loss and validation curves from the scalars that mmengine logs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import replacing

_NOT_METRICS = ('step', 'time', 'data_time')


@dataclass(frozen=True)
class Curves:
    """What one training logged.

    Args:
        losses: Name to (N, 2) float64, epoch (or iteration, where training counts no epochs)
            and the term's mean over it.
        metrics: Name to (N, 2) float64, the epoch (or iteration) of the validation and its value.
        unit: ``'epoch'`` or ``'iteration'``.
    """

    losses: dict[str, np.ndarray]
    metrics: dict[str, np.ndarray]
    unit: str


def read_curves(work_dir: Path) -> Curves:
    """Read every ``vis_data/scalars.json`` of a work directory, resumed runs joined.

    Where a resumed run repeats steps of the one before, its own values count. A last line that a
    killed run left half written is skipped.

    Args:
        work_dir: A work directory of ``tools/train.py``.

    Raises:
        InputError: If there is no such file, it is broken or it has no training in it.
    """
    train, val = {}, {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for record in _read_records(path):
            (train if 'lr' in record else val)[record['step']] = record
    if not train:
        raise InputError(f'{work_dir} has no training log (*/vis_data/scalars.json): name another')
    unit = 'epoch' if 'epoch' in next(iter(train.values())) else 'iteration'
    losses = defaultdict(lambda: defaultdict(list))
    for step, record in train.items():
        for name, value in record.items():
            if 'loss' in name:
                losses[name][record.get('epoch', step)].append(value)
    metrics = defaultdict(dict)
    for step, record in val.items():
        for name, value in record.items():
            if name not in _NOT_METRICS:
                metrics[name][step] = value
    return Curves(
        {name: _points({x: np.mean(y) for x, y in of.items()}) for name, of in losses.items()},
        {name: _points(of) for name, of in metrics.items()},
        unit,
    )


def plot_curves(runs: Mapping[str, Curves], out: Path) -> None:
    """Draw one row a run: its loss terms on the left, its validation metrics on the right.

    Args:
        runs: Title to curves.
        out: Picture to write, its format by its extension.
    """
    figure = Figure(figsize=(12, 4 * len(runs)), layout='constrained')
    axes = figure.subplots(len(runs), 2, squeeze=False)
    for (title, curves), (left, right) in zip(runs.items(), axes, strict=True):
        _draw(left, curves.losses, f'{title}: loss', curves.unit)
        _draw(right, curves.metrics, f'{title}: validation', curves.unit)
    with replacing(out) as file:
        figure.savefig(file, dpi=100, format=out.suffix[1:])


def _read_records(path: Path) -> Iterator[dict]:
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError:
            if number < len(lines):
                raise InputError(f'line {number} of {path} is not JSON: remove it') from None


def _points(values: Mapping[float, float]) -> np.ndarray:
    return np.array(sorted(values.items()), dtype=np.float64)


def _draw(axis, curves, title, unit):
    for name, points in curves.items():
        axis.plot(*points.T, marker='.', label=name)
    axis.set(title=title, xlabel=unit)
    axis.locator_params(axis='x', integer=True)
    axis.grid(alpha=0.3)
    if curves:
        axis.legend(fontsize='small', loc='center left', bbox_to_anchor=(1, 0.5))
