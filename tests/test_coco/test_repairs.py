import json

import numpy as np
import pytest

from mmboxcaseg.coco.annotations import Annotation, tell_left_out
from mmboxcaseg.coco.proxies import refine_annotations
from mmboxcaseg.coco.repairs import find_faults, mended
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import decode_rle, encode_rle

SQUARE = [[0, 0, 3, 0, 3, 3, 0, 3]]


def thing(id_=1, **fields):
    return (
        dict(
            id=id_,
            image_id=1,
            category_id=1,
            bbox=[0, 0, 3, 3],
            area=9,
            iscrowd=0,
            segmentation=SQUARE,
        )
        | fields
    )


def content(*annotations):
    return dict(
        info=dict(year=2026),
        images=[dict(id=1, file_name='a.png', width=6, height=4, extra=1)],
        categories=[dict(id=1, name='cat')],
        annotations=list(annotations),
    )


@pytest.mark.parametrize(
    ('flags', 'reason'),
    [
        *((dict(iscrowd=flag), None) for flag in (0, False, None, '0', 'false', 0.0)),
        *((dict(iscrowd=flag), 'crowd') for flag in (1, True, '1', 'true', 1.0)),
        (dict(ignore=1), 'ignored'),
        (dict(ignore='1', iscrowd='0'), 'ignored'),
        (dict(ignore=None), None),
        (dict(bbox=[3, 3, -3, 3]), 'negative'),
        (dict(bbox=[3, 3, 3, -3]), 'negative'),
        (dict(bbox=[3, 3, 0, 3]), 'no area'),
    ],
)
def test_which_annotations_are_objects(as_coco, flags, reason):
    """In every way in which programs write a flag; it may be missing too."""
    coco = as_coco(content(thing(**flags), {k: v for k, v in thing(2).items() if k != 'iscrowd'}))
    first, second = coco.annotations
    assert first.left_out == reason and second.left_out is None
    assert [a.id for a in coco.objects] == ([1, 2] if reason is None else [2])
    assert bool(tell_left_out(coco.annotations)) == (reason is not None)


@pytest.mark.parametrize('flag', [2, -1, 0.5, 'x', '', [1]])
def test_flags_that_are_none(as_coco, flag):
    with pytest.raises(InputError, match=r'annotation 1 of boxes.json has iscrowd .*, not 0 or 1'):
        as_coco(content(thing(iscrowd=flag)))


def test_what_is_left_out_is_counted_by_reason():
    flags = [dict(), dict(iscrowd=1), dict(ignore=1), dict(bbox=[3, 3, -3, 3]), dict(iscrowd=1)]
    rows = [
        dict(id=n, image_id=1, category_id=1, bbox=(0, 0, 3, 3)) | f for n, f in enumerate(flags)
    ]
    assert tell_left_out([Annotation(**row) for row in rows]) == (
        '4 of 5 annotations are left out: 2 with iscrowd 1 (if it is one object, write 0), 1 with '
        'ignore 1, 1 whose box has a negative width or height (drawn from its last corner on?)'
    )
    assert tell_left_out([Annotation(**rows[0])]) == ''


@pytest.mark.parametrize('flag', [dict(ignore=1), dict(iscrowd='1'), dict(iscrowd=True)])
def test_what_is_no_object_takes_no_pixels(as_coco, flag):
    large, small = np.zeros((2, 4, 6), bool)
    large[:, :4], small[1:3, 1:3] = True, True
    boxes = [thing(1, bbox=[0, 0, 4, 4]), thing(2, bbox=[1, 1, 2, 2], **flag)]
    coco = as_coco(content(*boxes))
    raw = {1: encode_rle(large), 2: encode_rle(small)}
    one, two = refine_annotations(coco.images[0], coco.annotations, raw)
    assert (decode_rle(one['segmentation'], (4, 6)) == large).all() and one['area'] == 16
    assert not decode_rle(two['segmentation'], (4, 6)).any()
    assert {key: two[key] for key in flag} == dict.fromkeys(flag, 1)


def test_nothing_said_of_an_old_mask_stands_beside_a_new_one(as_coco):
    old = dict(quality=0.97, box_agreement=0.9, mask_bbox=[1, 1, 1, 1], area=77, iscrowd='0')
    coco = as_coco(content(*(thing(n, **old) for n in (1, 2, 3)), thing(4, **old | dict(ignore=1))))
    mask = np.zeros((4, 6), bool)
    mask[0, :2] = True
    raw = {1: encode_rle(mask), 2: encode_rle(mask)}
    rows = refine_annotations(coco.images[0], coco.annotations, raw, scores={2: 0.5}, merge=False)
    assert [row.get('quality') for row in rows] == [None, 0.5, None, None]
    # The masks' pixels; an empty one has its box's area, or mmdet would drop the box.
    assert [row['area'] for row in rows] == [2, 2, 9, 77]
    assert [row['box_agreement'] for row in rows] == [2 / 9, 2 / 9, 0, 0]
    assert not any('mask_bbox' in row for row in rows)
    assert [row['iscrowd'] for row in rows] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ('fields', 'said', 'expected'),
    [
        (dict(), None, {}),
        (dict(area=0), 'has area 0', dict(area=9)),
        (dict(area=None), 'has no area', dict(area=9)),
        (dict(area=-4), 'has area -4', dict(area=9)),
        (dict(iscrowd='0'), "has iscrowd '0': it is 0", dict(iscrowd=0)),
        (dict(iscrowd=1, segmentation=[]), 'and has no mask', dict(iscrowd=1, segmentation=SQUARE)),
        (dict(iscrowd=True), None, dict(iscrowd=1)),
    ],
)
def test_training(as_coco, fields, said, expected):
    coco = as_coco(content(thing(**fields)))
    faults = find_faults(coco)
    assert list(faults.values()) == ([] if said is None else [next(iter(faults.values()))])
    assert said is None or (said in next(iter(faults.values())) and 'annotation 1 ' in str(faults))
    own = mended(coco)
    assert own['annotations'] == [thing() | expected | dict(bbox=[0, 0, 3, 3])]
    assert own | dict(annotations=[]) == content()


def test_scoring(as_coco):
    rows = [
        thing('a'),
        {key: value for key, value in thing(7).items() if key not in ('iscrowd', 'area')},
        thing(0, ignore=1, segmentation=None),
        thing(9, bbox=[3, 3, -3, -3]),
    ]
    coco = as_coco(content(*rows))
    own = mended(coco, scoring=True)['annotations']
    assert [a['id'] for a in own] == [1, 2, 3, 4]
    assert [a['iscrowd'] for a in own] == [0, 0, 1, 1]
    assert [a['area'] for a in own] == [9, 9, 9, 9]
    assert own[2]['segmentation'] == SQUARE and own[3]['bbox'] == [0, 0, 3, 3]
    assert set(find_faults(coco, scoring=True)) == {'id', 'area', 'iscrowd', 'ignore', 'mask'}
    # Numbers from 1 on stay: others may know them.
    own = mended(as_coco(content(thing(7), thing(3))), scoring=True)['annotations']
    assert [a['id'] for a in own] == [7, 3]


@pytest.mark.parametrize(
    'bitmap',
    [
        np.eye(4, 6).astype(int),
        np.eye(4, 6).astype(bool),
        np.eye(4, 6),
        255 * np.eye(4, 6).astype(int),
        np.zeros((4, 6), int),
        np.eye(9, 7).astype(int),  # of another size, and no pairs
    ],
)
def test_bitmaps_as_lists_are_no_polygons(bitmap):
    with pytest.raises(ValueError, match='it is a bitmap as lists of rows: write it as an RLE'):
        decode_rle(json.loads(json.dumps(bitmap.tolist())), (4, 6))


def test_polygons_in_parts_of_the_image(as_coco):
    with pytest.raises(ValueError, match='its polygons lie between 0 and 1, so they are parts of'):
        decode_rle([[0.1, 0.2, 0.5, 0.2, 0.5, 0.7]], (4, 6))


def test_a_polygon_of_the_first_pixel_is_one():
    assert decode_rle([[0, 0, 1, 0, 1, 1, 0, 1]], (4, 6)).sum() <= 1


@pytest.mark.parametrize(('flag', 'meant'), [('0', 0), ('false', 0), ('1', 1)])
def test_mmdet_takes_any_text_for_ignored(as_coco, flag, meant):
    coco = as_coco(content(thing(ignore=flag), thing(2)))
    assert find_faults(coco)['ignore'] == f"annotation 1 has ignore '{flag}': it is {meant}"
    assert [a.get('ignore') for a in mended(coco)['annotations']] == [meant, None]
