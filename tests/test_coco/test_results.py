import copy
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mmboxcaseg.coco.results import Result, load_results, mask_result, match_results
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
        (dict(masks=[]), 'is neither a COCO results file, a list with one entry per mask, nor a'),
        ('[', 'is not JSON: give a COCO results file'),
        ([3], 'entry 0 .* is not a dict'),
        ([ENTRY, without(ENTRY, 'segmentation')], "entry 1 .* has no 'segmentation': give"),
        ([without(ENTRY, 'image_id')], "entry 0 .* has no 'image_id'"),
        ([without(ENTRY, 'ann_id', 'bbox')], 'entry 0 .* has neither ann_id nor bbox: give'),
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


SQUARE = [[0, 0, 3, 0, 3, 3, 0, 3]]


@pytest.mark.parametrize(
    ('entries', 'expected'),
    [
        # Ids of annotations, as MAL's dumps have them, tell equal boxes apart ...
        ([dict(id=11, bbox=[0.3, 0, 4, 4]), dict(id=10, bbox=[0.3, 0, 4, 4])], [11, 10]),
        # ... and take the place of boxes that are not there, or are the masks' own.
        ([dict(id=11), dict(id=10)], [11, 10]),
        ([dict(id=10, bbox=[0.3, 1, 3, 3]), dict(id=11)], [10, 11]),
        # Numbers of the entries' own do not: the boxes tell.
        ([dict(id=0, bbox=[0.3, 0, 4, 4], category_id=2)], [11]),
        ([dict(id=11, bbox=[5, 0, 2, 2])], [13]),
        # As text, and as numbers of ids that are text.
        ([dict(ann_id='11'), dict(ann_id='10')], [11, 10]),
        ([dict(id='11'), dict(id='13', image_id='7')], [11, 13]),
        ([dict(ann_id=10, id=11)], [10]),
    ],
)
def test_whose_masks_entries_with_ids_are(match, entries, expected):
    coco = coco_with(bbox=[0.3, 0, 4, 4])
    coco['annotations'].append(dict(id=13, image_id=7, category_id=1, bbox=[5, 0, 2, 2]))
    matched = match(*(dict(image_id=7) | entry for entry in entries), coco=coco)
    assert matched == {id_: f'mask {n}' for n, id_ in enumerate(expected)}


def test_ids_that_are_text(match):
    coco = copy.deepcopy(COCO)
    for row in coco['annotations']:
        row.update(id=str(row['id']), image_id=str(row['image_id']))
    coco['images'] = [image | dict(id=str(image['id'])) for image in coco['images']]
    assert match(dict(image_id=7, ann_id=11), coco=coco) == {'11': 'mask 0'}


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        (
            dict(id=99),
            'has no ann_id, its id 99 is no id of an annotation and it has no bbox',
        ),
        (
            dict(id=99, bbox=[5, 3, 2, 2]),
            r'has no ann_id, its id 99 is not the id of the annotation with its box, and image 7 '
            r'.* '
            r'\[5, 3, 2, 2\]: give ann_id',
        ),
        (dict(image_id=8, ann_id=10), 'belongs to image 8, which the file of boxes does not list'),
    ],
)
def test_the_two_ids_are_told_apart(match, entry, message):
    with pytest.raises(InputError, match=f'entry 0 of raw.json {message}'):
        match(dict(image_id=7) | entry)


def test_raw_masks_of_a_coco_file(tmp_path, as_coco):
    """Its images go by their names: other tools number them anew."""
    raw = dict(
        images=[dict(id=1, file_name='b.jpg'), dict(id=2, file_name='a.jpg')],
        annotations=[
            dict(
                id=1, image_id=1, category_id=1, bbox=[1, 1, 2, 2], segmentation=SQUARE, score=0.5
            ),
            dict(id=2, image_id=2, category_id=1, bbox=[0, 0, 4, 4], segmentation=SQUARE),
            dict(id=3, image_id=2, category_id=1, bbox=[5, 0, 2, 2], segmentation=[]),
        ],
        categories=[],
    )
    results = load_results(write(tmp_path, raw))
    matched = match_results(as_coco(COCO), results, 'raw.json')
    assert {id_: result.score for id_, result in matched.items()} == {12: 0.5, 10: None}
    # One of proxy masks: their quality is the score.
    proxies = COCO | dict(
        annotations=[a | dict(segmentation=SQUARE, quality=0.25) for a in COCO['annotations']]
    )
    matched = match_results(as_coco(COCO), load_results(write(tmp_path, proxies)), 'raw.json')
    assert {id_: result.score for id_, result in matched.items()} == {10: 0.25, 11: 0.25, 12: 0.25}


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (
            dict(image=dict(image_id=1), annotations=[dict(id=1, segmentation=SQUARE)]),
            'is one image of Segment Anything, whose masks are of no annotation: make a COCO',
        ),
        (
            [dict(segmentation=SQUARE, area=9, bbox=[0, 0, 3, 3], predicted_iou=0.9)],
            'is what Segment Anything gives of one image, .*: add image_id, and ann_id or bbox',
        ),
        (
            [ENTRY | dict(score=93.5)],
            r'has score 93.5, not a number in \[0, 1\] \(93.5% is 0.935\)',
        ),
        ([ENTRY | dict(score=-0.1)], r'has score -0.1, not a number in \[0, 1\]'),
        (dict(images=[], annotations=[ENTRY | dict(quality=97)]), 'has quality 97, not a number'),
    ],
)
def test_files_of_other_tools(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        load_results(write(tmp_path, content))


@pytest.mark.parametrize('id_', ['\u00b2', '9' * 4000, '9' * 101, '', '-5', '5.0'])
def test_ids_that_are_no_numbers_are_no_annotations(as_coco, id_):
    image = dict(id=1, file_name='a.jpg', width=4, height=4)
    box = dict(id=5, image_id=1, category_id=7, bbox=[0, 0, 2, 2])
    coco = as_coco(dict(images=[image], annotations=[box], categories=[dict(id=7, name='cat')]))
    with pytest.raises(InputError, match='has ann_id .*, which image 1 does not have'):
        match_results(coco, [Result(image_id=1, ann_id=id_)], 'raw.json')
