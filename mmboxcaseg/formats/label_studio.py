"""Label Studio: its JSON export, a list of tasks."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from mmboxcaseg.coco.annotations import Coco
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import read_text, write_bytes, write_json
from mmboxcaseg.proxy import encode_rle, tight_bboxes

from .brush import decode_brush, encode_brush
from .mask_export import MaskExport
from .pictures import Drawn, Picture, Source, as_coco, in_pixels, outlined

# What an upload puts in front of a name.
_UPLOAD = re.compile(r'^[0-9a-f]{8}-')


def read_label_studio(source: Source) -> Coco:
    """Read the rectangles of a Label Studio export (JSON, not JSON-MIN).

    Polygons and what a brush has painted are kept as the masks of their boxes. Of several
    annotations of a task the first that was not cancelled counts; predictions never do.

    Args:
        source: Its path is the file. Images' names count without what an upload put in front.

    Returns:
        The boxes, to a hundredth of a pixel.

    Raises:
        InputError: If the file is no such export, an image is missing or of another size, or a
            rectangle is turned.
    """
    with _explaining(source.path):
        tasks = list(json.loads(read_text(source.path)))
    return as_coco(source.pictures(tasks, lambda task: _read_task(task, source)), source)


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        LookupError,
        TypeError,
        AttributeError,
        StopIteration,
        ValueError,
        RecursionError,
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is no JSON export of Label Studio, a list of tasks with 'data' and "
            f"'annotations' ({type(error).__name__}: {error})"
        ) from None


def _read_task(task: dict, source: Source) -> Picture:
    with _explaining(source.path):
        picture, shapes = _read_shapes(task, source)
    for key, shape in shapes.items():
        where = f'{key} of {picture.file_name} in {source.path}'
        with source.box(where), _explaining(source.path):
            drawn = _draw(shape, picture, where, source)
            picture.boxes += [drawn] if drawn else []
    return picture


def _read_shapes(task: dict, source: Source) -> tuple[Picture, dict[str, dict]]:
    if 'image_id' in task:
        raise InputError(
            f'{source.path} is a list of COCO results or annotations: give a COCO file, which has '
            "'images' and 'categories' beside them"
        )
    if 'predictions' in task and 'annotations' not in task:
        raise InputError(
            f'{source.path} holds predictions alone: import it into Label Studio, correct them, '
            'and give the JSON export'
        )
    address = next(value for value in task['data'].values() if isinstance(value, str))
    parts = urlsplit(address)
    # Files that were not uploaded: /data/local-files/?d=folder/a.jpg
    name = unquote(parse_qs(parts.query).get('d', [parts.path])[0])
    bare = _UPLOAD.sub('', Path(name).name)
    is_there = source.images.find_if_there(name) is not None
    picture = source.images.picture(name if is_there else bare, source.path)
    valid = [a for a in task['annotations'] if not a.get('was_cancelled')]
    source.left_out['second annotations of a task'] += len(valid[1:])
    # A shape and its label may be two results of one id.
    shapes: dict[str, dict] = defaultdict(dict)
    for number, result in enumerate(valid[0]['result'] if valid else ()):
        key = result.get('id', number)
        shapes[key] |= {k: v for k, v in result.items() if k.startswith('original_')}
        shapes[key] |= result.get('value', {})
    return picture, shapes


def _draw(shape: dict, picture: Picture, where: str, source: Source) -> Drawn | None:
    kinds = dict(width='rectangle', rle='brush', points='polygon')
    kind = next((name for key, name in kinds.items() if key in shape), None)
    labels = next((v for k, v in shape.items() if k.endswith('labels') and v), None)
    if kind is None:
        if labels:
            source.left_out['shapes of other kinds'] += 1
        return None
    where = f'{kind} {where}'
    label = str(labels[0]) if labels else ''
    said = shape.get('original_height'), shape.get('original_width')
    if not labels:
        source.left_out['boxes without a label'] += 1
        return None
    if shape.get('rotation'):
        raise InputError(f'{where} is turned: draw it upright, boxes have no angle')
    if None not in said and said != picture.shape:
        path = source.images.path / picture.file_name
        raise InputError(source.images.reader.explain_shape(path, said, where))
    if kind == 'rectangle':
        x, y, w, h = (shape[key] / 100 for key in ('x', 'y', 'width', 'height'))
        return Drawn(label, in_pixels((x, y, x + w, y + h), picture.shape))
    if kind == 'polygon':
        height, width = picture.shape
        points = [edge for x, y in shape['points'] for edge in (x * width / 100, y * height / 100)]
        return outlined(label, [points], where)
    try:
        mask = decode_brush(shape['rle'], picture.shape)
    except ValueError as error:
        raise InputError(f'{where} cannot be decoded: {error}') from None
    if not mask.any():
        source.left_out['empty brush masks'] += 1
        return None
    bbox = tuple(tight_bboxes(mask[None])[0].tolist())
    return Drawn(label, bbox, dict(segmentation=encode_rle(mask)))


def write_label_studio(export: MaskExport) -> None:
    """Write ``tasks.json``, brush predictions to import, and ``label_config.xml`` for the project.

    The score of each region is the quality of its mask, that of the prediction the lowest of them,
    so that sorting by it shows first what is to be mended first. The id of a region is that of the
    annotation. Images are found below ``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT``, the folder of the
    images.
    """
    tasks = []
    for image, instances in export.masks():
        results = []
        for instance in instances:
            rle = encode_brush(instance.mask)
            export.record(instance, decode_brush(rle, image.shape))
            quality = instance.annotation.quality
            label = export.categories[instance.label].name
            results.append(
                dict(
                    id=str(instance.annotation.id),
                    type='brushlabels',
                    from_name='label',
                    to_name='image',
                    original_width=image.width,
                    original_height=image.height,
                    image_rotation=0,
                    score=1.0 if quality is None else quality,
                    value=dict(format='rle', rle=rle, brushlabels=[label]),
                )
            )
        scores = [result['score'] for result in results]
        prediction = dict(model_version='mmboxcaseg', score=min(scores, default=0), result=results)
        address = f'/data/local-files/?d={quote(image.file_name)}'
        tasks.append(dict(data=dict(image=address), predictions=[prediction]))
    write_json(tasks, export.file('tasks.json'))
    labels = ''.join(f'<Label value={quoteattr(c.name)}/>' for c in export.categories)
    config = '<View><Image name="image" value="$image" zoom="true"/>'
    config += f'<BrushLabels name="label" toName="image">{labels}</BrushLabels></View>'
    write_bytes(config.encode(), export.file('label_config.xml'))
