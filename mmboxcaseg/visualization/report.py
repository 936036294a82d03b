"""A page that shows what masks are like: figures, plots, pictures and a table, in one HTML file.

The page needs no network and no library. Everything that comes from data is escaped.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mmboxcaseg.coco.annotations import Id
from mmboxcaseg.proxy import FLAWS

#: COCO's sizes: the name of each and the area of a box, in pixels, below which it is one.
SIZES = {'small': 32**2, 'medium': 96**2, 'large': float('inf')}

_TEMPLATE = Path(__file__).with_name('report.html')
_THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_BLUE, _ORANGE, _GREY = '#2458b8', '#c2570c', '#8a94a3'
_STYLE = {
    'svg.fonttype': 'none',  # the page's own letters
    'svg.hashsalt': 'report',  # equal data, equal pages
    'font.family': 'sans-serif',
    'font.size': 10,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.edgecolor': _GREY,
}


@dataclass(frozen=True)
class Instance:
    """A box and what is known of its mask.

    Attributes:
        id: Of its annotation.
        image: The file's name.
        category: The class's name.
        area: Of the box, in pixels.
        quality: In [0, 1]; NaN where nobody has told, as ``iou`` is where there is no true mask.
        agreement: The box agreement, in [0, 1].
        iou: With the true mask.
        kept: Whether the thresholds keep it.
        flaws: Names in :data:`mmboxcaseg.proxy.FLAWS`.
    """

    id: Id
    image: str
    category: str
    area: float
    quality: float
    agreement: float
    iou: float
    kept: bool
    flaws: Sequence[str]

    @property
    def size(self) -> str:
        """A name in :data:`SIZES`."""
        return next(name for name, bound in SIZES.items() if self.area < bound)


@dataclass(frozen=True)
class Gallery:
    """Pictures under one title: of each the number of its instance and the JPEG file's content."""

    title: str
    text: str
    pictures: Sequence[tuple[int, bytes]]


def render_report(
    name: str,
    instances: Sequence[Instance],
    galleries: Iterable[Gallery],
    *,
    min_quality: float,
    min_agreement: float,
    truth: str = '',
) -> str:
    """Make the page.

    Args:
        name: What the masks are called, such as their file's name.
        instances: At least one.
        galleries: In their order on the page.
        min_quality: What a mask's quality must be above, ...
        min_agreement: ... and its agreement, for it to be kept.
        truth: What true masks tell of the quality; empty where there are none.

    Returns:
        The HTML text.
    """
    columns = {
        key: np.array([getattr(instance, key) for instance in instances], dtype=np.float64)
        for key in ('quality', 'agreement', 'iou')
    }
    known = {key: values for key, values in columns.items() if not np.isnan(values).all()}
    thresholds = {'quality': min_quality, 'agreement': min_agreement}
    thresholds = {key: value for key, value in thresholds.items() if key in known}
    galleries = list(galleries)
    pictured = {index for gallery in galleries for index, _ in gallery.pictures}
    seen: set[int] = set()
    data = dict(
        rows=[_row(instance, n in pictured) for n, instance in enumerate(instances)],
        columns=['id', 'class', *known, 'kept', 'suspicious', 'size', 'image'],
    )
    return Template(_TEMPLATE.read_text(encoding='utf-8')).substitute(
        name=escape(name),
        lede=escape(_lede(instances, thresholds)),
        cards=''.join(_card(label, value) for label, value in _cards(instances, known)),
        truth=truth and f'<dt>True masks</dt><dd>{escape(truth)}</dd>',
        truth_key=truth and '<li><i class="key true"></i>true mask</li>',
        plots=''.join(_plots(known, thresholds)),
        thresholds=_threshold_table(known),
        flaws=_flaw_table(instances, known),
        sizes=_group_table('size', instances, known, lambda one: one.size, [*SIZES]),
        classes=_group_table('class', instances, known, lambda one: one.category),
        galleries=''.join(_gallery(gallery, instances, seen) for gallery in galleries),
        # In a script only "<" can end it or open a comment.
        data=json.dumps(data, separators=(',', ':'), allow_nan=False).replace('<', '\\u003c'),
    )


def _lede(instances: Sequence[Instance], thresholds: Mapping[str, float]) -> str:
    above = [f'{key} above {value:g}' for key, value in thresholds.items() if value]
    rule = ' and '.join(above) or 'all that are not empty'
    kept = sum(instance.kept for instance in instances)
    images = len({instance.image for instance in instances})
    return (
        f'{len(instances):,} boxes on {images:,} images have a mask. '
        f'{kept:,} of them ({kept / len(instances):.0%}) are kept: {rule}.'
    )


def _cards(
    instances: Sequence[Instance], known: Mapping[str, np.ndarray]
) -> Iterable[tuple[str, str]]:
    yield 'boxes', f'{len(instances):,}'
    yield 'images', f'{len({instance.image for instance in instances}):,}'
    yield 'classes', f'{len({instance.category for instance in instances}):,}'
    yield 'kept', f'{np.mean([instance.kept for instance in instances]):.0%}'
    for key, values in known.items():
        yield _mean_of(key), _number(np.nanmean(values))
    yield 'suspicious', f'{sum(bool(instance.flaws) for instance in instances):,}'


def _card(label: str, value: str) -> str:
    return f'<div class="card"><b>{value}</b><span>{label}</span></div>'


def _mean_of(key: str) -> str:
    return 'mean true IoU' if key == 'iou' else f'mean {key}'


def _row(instance: Instance, is_pictured: bool) -> list:
    values = (instance.quality, instance.agreement, instance.iou)
    numbers = [None if np.isnan(value) else round(float(value), 4) for value in values]
    return [
        *(instance.id, instance.category, *numbers, instance.kept, instance.flaws),
        *(instance.size, instance.image, is_pictured),
    ]


def _plots(known: Mapping[str, np.ndarray], thresholds: Mapping[str, float]) -> Iterable[str]:
    for key, threshold in thresholds.items():

        def histogram(axis, key=key, threshold=threshold):
            axis.hist(known[key], bins=np.linspace(0, 1, 21), color=_BLUE, rwidth=0.9)
            if threshold:
                axis.axvline(threshold, color=_ORANGE, linestyle='--')
            axis.set(xlabel=key, ylabel='masks', xlim=(-0.02, 1.02))

        yield _plot(
            histogram,
            f'How many masks have which {key}.' + bool(threshold) * ' Dashed: the threshold.',
        )

    def shares(axis):
        for key, colour in zip(thresholds, (_BLUE, _ORANGE), strict=False):
            ordered = np.sort(known[key][~np.isnan(known[key])])
            cuts = np.linspace(0, 1, 201)
            above = len(ordered) - np.searchsorted(ordered, cuts, side='right')
            axis.plot(cuts, 100 * above / len(ordered), color=colour, label=key)
        axis.set(xlabel='threshold', ylabel='kept, %', ylim=(0, 105))
        axis.legend(frameon=False, loc='lower left')

    yield _plot(shares, 'Share of the masks that lie above a threshold.')
    if {'quality', 'iou'} <= known.keys():
        yield _plot(
            lambda axis: _draw_calibration(axis, known['quality'], known['iou']),
            'Mean true IoU of masks of like quality, a tenth of them a point. On the dashed line '
            'quality is what it promises.',
        )


def _draw_calibration(axis, quality: np.ndarray, ious: np.ndarray) -> None:
    both = ~np.isnan(quality) & ~np.isnan(ious)
    order = np.argsort(quality[both], kind='stable')
    parts = np.array_split(order, min(10, len(order)))
    points = [(quality[both][part].mean(), ious[both][part].mean()) for part in parts if len(part)]
    axis.plot([0, 1], [0, 1], color=_GREY, linestyle='--')
    axis.plot(*np.reshape(points, (-1, 2)).T, marker='o', color=_BLUE)
    axis.set(xlabel='quality', ylabel='true IoU', xlim=(0, 1), ylim=(0, 1))


def _plot(draw: Callable, caption: str) -> str:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(3.7, 2.5), layout='constrained')
        draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format='svg', transparent=True, metadata=dict(Date=None))
    svg = text.getvalue()
    # What stands before it is for files.
    svg = svg[svg.index('<svg') :].replace('<svg', f'<svg role="img" aria-label="{caption}"', 1)
    return f'<figure class="plot">{svg}<figcaption>{caption}</figcaption></figure>'


def _threshold_table(known: Mapping[str, np.ndarray]) -> str:
    measures = [key for key in known if key != 'iou']
    heads = ['above']
    for key in measures:
        heads += [f'kept by {key}', *['their true IoU'] * ('iou' in known)]
    rows = []
    for threshold in _THRESHOLDS:
        cells = [f'{threshold:.2f}']
        for key in measures:
            kept = known[key] > threshold
            cells.append(_bar(kept.mean()))
            if 'iou' in known:
                cells.append(_number(_mean(known['iou'][kept])))
        rows.append(cells)
    return _table(heads, rows)


def _flaw_table(instances: Sequence[Instance], known: Mapping[str, np.ndarray]) -> str:
    rows = []
    for flaw, text in FLAWS.items():
        own = [index for index, instance in enumerate(instances) if flaw in instance.flaws]
        kept = sum(instances[index].kept for index in own)
        means = [_number(_mean(values[own])) for values in known.values()]
        rows.append([flaw, f'{len(own):,}', f'{kept:,}', *means, text])
    return _table(['kind', 'masks', 'kept', *map(_mean_of, known), 'what it is'], rows)


def _group_table(
    head: str,
    instances: Sequence[Instance],
    known: Mapping[str, np.ndarray],
    group: Callable[[Instance], str],
    order: Sequence[str] | None = None,
) -> str:
    members: dict[str, list[int]] = {}
    for index, instance in enumerate(instances):
        members.setdefault(group(instance), []).append(index)
    order = order or sorted(members, key=lambda name: (-len(members[name]), name))
    rows = []
    for name in order:
        own = members.get(name, [])
        rows.append(
            [
                escape(name),
                f'{len(own):,}',
                _bar(_mean(np.array([instances[index].kept for index in own]))),
                *(_number(_mean(values[own])) for values in known.values()),
                f'{sum(bool(instances[index].flaws) for index in own):,}',
            ]
        )
    return _table([head, 'boxes', 'kept', *map(_mean_of, known), 'suspicious'], rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = ''.join(f'<th scope="col">{head}</th>' for head in heads)
    body = ''.join('<tr>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>' for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f'<tbody>{body}</tbody></table></div>'
    )


def _gallery(gallery: Gallery, instances: Sequence[Instance], seen: set[int]) -> str:
    figures = []
    for index, jpeg in gallery.pictures:
        one = instances[index]
        # The table points at the first picture of an instance.
        anchor = '' if index in seen else f' id="m{index}"'
        seen.add(index)
        numbers = {'quality': one.quality, 'agreement': one.agreement, 'true IoU': one.iou}
        lines = ''.join(
            f'<span>{key} <b>{_number(value)}</b></span>'
            for key, value in numbers.items()
            if not np.isnan(value)
        )
        badge = 'kept' if one.kept else 'dropped'
        where = escape(f'{one.category}, annotation {one.id} of {one.image}')
        source = base64.b64encode(jpeg).decode('ascii')
        flaws = f'<span>{", ".join(one.flaws)}</span>' if one.flaws else ''
        figures.append(
            f'<figure{anchor} class="mask" title="{where}">'
            f'<img src="data:image/jpeg;base64,{source}" alt="{where}">'
            f'<figcaption><b>{escape(one.category)}</b> <em class="{badge}">{badge}</em>'
            f'{lines}{flaws}</figcaption></figure>'
        )
    return (
        f'<h3>{escape(gallery.title)}</h3><p>{escape(gallery.text)}</p>'
        f'<div class="masks">{"".join(figures)}</div>'
    )


def _bar(share: float) -> str:
    if np.isnan(share):
        return '–'
    return f'<span class="bar" style="--share:{share:.1%}">{share:.1%}</span>'


def _number(value: float) -> str:
    return '–' if np.isnan(value) else f'{value:.2f}'


def _mean(values: np.ndarray) -> float:
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float('nan')
