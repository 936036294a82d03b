import copy
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mmboxcaseg.coco.results import load_results, mask_result, match_results
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import encode_rle

COCO = dict(
    info=dict(year=2021),
    images=[
        dict(id=7, file_name='a.jpg', width=8, height=6),
        dict(id=3, file_name='b.jpg', width=8, height=6),
    ],
    categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
    annotations=[
        dict(id=10, image_id=7, category_id=1, bbox=[0, 0, 4, 4]),
        dict(id=12, image_id=3, category_id=2, bbox=[1, 1, 2, 2]),
        dict(id=11, image_id=7, category_id=2, bbox=[0.3, 0, 4, 4]),
    ],
)


def coco_with(**annotation):
    """The file with its first annotation changed."""
    coco = copy.deepcopy(COCO)
    coco['annotations'][0].update(annotation)
    return coco


def write(tmp_path, content):
    path = tmp_path / 'file.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


ENTRY = dict(image_id=7, category_id=1, bbox=[0, 0, 4, 4], segmentation=[], ann_id=10)


def without(entry, *keys):
    return {key: value for key, value in entry.items() if key not in keys}


def test_load_results(tmp_path):
    entries = [ENTRY, without(ENTRY, 'ann_id')]
    results = load_results(write(tmp_path, entries))
    assert [result.content() for result in results] == entries
    assert [(r.index, r.ann_id, r.bbox) for r in results] == [
        *((0, 10, (0, 0, 4, 4)), (1, None, (0, 0, 4, 4)))
    ]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (COCO, 'is not a list'),
        ('[', 'is not JSON: give a COCO results file'),
        ([3], 'entry 0 .* is not a dict'),
        ([ENTRY, without(ENTRY, 'segmentation')], "entry 1 .* has no 'segmentation'"),
        ([without(ENTRY, 'image_id')], "entry 0 .* has no 'image_id'"),
        ([without(ENTRY, 'ann_id', 'bbox')], "entry 0 .* has no 'bbox'"),
        ([without(ENTRY, 'ann_id') | dict(bbox='x')], 'entry 0 .* not four numbers'),
        ([ENTRY | dict(image_id=[7])], r'entry 0 .* has image_id \[7\], not an int'),
        ([ENTRY, ENTRY | dict(ann_id=1.0)], 'entry 1 .* has ann_id 1.0, not an int'),
        ([ENTRY | dict(score=7.5)], r'entry 0 .* has score 7.5, not a number in \[0, 1\]'),
    ],
)
def test_load_results_refuses(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        load_results(write(tmp_path, content))


def as_results(*entries):
    """The entries as they are read; their masks are numbered."""
    entries = [dict(segmentation=f'mask {n}') | entry for n, entry in enumerate(entries)]
    with tempfile.TemporaryDirectory() as folder:
        return load_results(write(Path(folder), list(entries)))


@pytest.fixture
def match(as_coco):
    """Match entries with the file, or another one: annotation id to mask."""

    def match(*entries, coco=COCO):
        matched = match_results(as_coco(coco), as_results(*entries), 'raw.json')
        return {id_: result.segmentation for id_, result in matched.items()}

    return match


def test_mask_result_finds_its_annotation(as_coco, match):
    mask = np.array([[0, 1], [1, 1]], bool)
    annotation = as_coco(COCO).annotations[2]
    result = json.loads(json.dumps(mask_result(annotation, encode_rle(mask), 0.75)))
    assert match(result) == {11: encode_rle(mask)}
    assert result.pop('segmentation') == encode_rle(mask)
    assert result == dict(image_id=7, category_id=2, bbox=[0.3, 0, 4, 4], score=0.75, ann_id=11)


def test_match_results_by_id(match):
    assert match(dict(image_id=7, ann_id=11), dict(image_id=3, ann_id=12)) == {
        11: 'mask 0',
        12: 'mask 1',
    }


@pytest.mark.parametrize(
    ('entry', 'expected'),
    [
        pytest.param(dict(bbox=[0, 0, 4, 4]), 10, id='exact'),
        pytest.param(dict(bbox=[0.3, 0, 4, 4]), 11, id='exact, other'),
        pytest.param(dict(bbox=[0.2, 0, 4, 4]), 11, id='nearest'),
        pytest.param(dict(bbox=[0.2, 0, 4, 4], category_id=1), 11, id='box before category'),
        pytest.param(dict(bbox=[-0.5, 0, 4, 4]), 10, id='half a pixel'),
    ],
)
def test_match_results_by_box(match, entry, expected):
    assert match(dict(image_id=7) | entry) == {expected: 'mask 0'}


def test_match_results_same_box(match):
    coco = coco_with(bbox=[0.3, 0, 4, 4])
    entry = dict(image_id=7, bbox=[0.3, 0, 4, 4])
    assert match(dict(entry, category_id=2), coco=coco) == {11: 'mask 0'}
    with pytest.raises(InputError, match=r'entry 0 of raw\.json .*fits annotations 10, 11 alike'):
        match(entry, coco=coco)


@pytest.mark.parametrize(
    ('entries', 'message'),
    [
        ([dict(image_id=7, ann_id=99)], 'entry 0 .*ann_id 99, which image 7 does not have'),
        ([dict(image_id=7, ann_id=12)], 'entry 0 .*ann_id 12, which image 7 does not have'),
        ([dict(image_id=7, bbox=[5, 0, 2, 2])], 'entry 0 .*image 7 has no annotation with its box'),
        ([dict(image_id=3, bbox=[0, 0, 4, 4])], 'entry 0 .*image 3 has no annotation with its box'),
        (
            [dict(image_id=9, bbox=[0, 0, 4, 4])],
            r'entry 0 of raw\.json belongs to image 9, which .* not list',
        ),
        (
            [dict(image_id=7, ann_id=10), dict(image_id=7, bbox=[0, 0, 4, 4])],
            'entry 1 .*annotation 10, which entry 0 gave a mask already',
        ),
    ],
)
def test_match_results_refuses(match, entries, message):
    with pytest.raises(InputError, match=message):
        match(*entries)
