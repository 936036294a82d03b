import json

import numpy as np
import pytest

from mmboxcaseg.coco.proxies import (
    Proxy,
    ProxyAnnotation,
    load_masks,
    load_proxies,
    refine_annotations,
    summarize_proxies,
)
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import decode_rle, empty_rle, encode_rle

# The large object's mask covers the small one's.
LARGE = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
SMALL = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
MERGED = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]], bool)


def annotation(id_, bbox, **fields):
    return dict(id=id_, image_id=1, category_id=1, bbox=bbox, **fields)


def content(*annotations):
    """Of a file with one image of 4x4 pixels."""
    return dict(
        images=[dict(id=1, file_name='a.png', width=4, height=4)],
        categories=[dict(id=1, name='cat')],
        annotations=list(annotations),
    )


@pytest.fixture
def refine(as_coco):
    """Refine annotations of the image."""

    def refine(annotations, raw, **options):
        coco = as_coco(content(*annotations))
        return refine_annotations(coco.images[0], coco.annotations, raw, **options)

    return refine


def test_refine_annotations(refine):
    annotations = [
        annotation(1, [0, 0, 4, 3], area=99, note='mine', segmentation='never read'),
        annotation(2, [0, 2, 4, 2], iscrowd=0),
        annotation(3, [0, 0, 2.5, 2]),
    ]
    one, two, three = refine(annotations, {1: encode_rle(LARGE), 2: encode_rle(SMALL)})

    assert (decode_rle(one['segmentation'], (4, 4)) == MERGED).all()
    assert one['box_agreement'] == 8 / 12
    # The area is the new mask's, of an empty one the box's, which mmdet wants to be above 0.
    assert one['area'] == 8 and one['note'] == 'mine' and one['iscrowd'] == 0
    assert (decode_rle(two['segmentation'], (4, 4)) == SMALL).all()
    assert two['box_agreement'] == 0.5 and two['area'] == 4
    assert not decode_rle(three['segmentation'], (4, 4)).any()
    assert three['box_agreement'] == 0 and three['area'] == 5
    for proxy, before in zip((one, two, three), annotations, strict=True):
        assert isinstance(proxy['segmentation']['counts'], str)
        assert {**proxy, **before} == {
            **proxy,
            'segmentation': before.get('segmentation', proxy['segmentation']),
            'area': before.get('area', proxy['area']),
        }


def test_scores_are_the_quality(refine):
    raw = {1: encode_rle(LARGE), 2: encode_rle(SMALL)}
    annotations = [annotation(n, [0, 0, 4, 3]) for n in (1, 2, 3)]
    # Of one whose mask is known, of one that has none; the other mask has no score.
    proxies = refine(annotations, raw, scores={1: 0.25, 3: 0.5})
    assert [proxy.get('quality') for proxy in proxies] == [0.25, None, None]


def test_a_mask_of_which_nothing_is_left_has_quality_0(refine):
    annotations = [annotation(1, [0, 0, 4, 4]), annotation(2, [0, 2, 4, 2])]
    raw, scores = {1: encode_rle(SMALL), 2: encode_rle(SMALL)}, {1: 0.8, 2: 0.7}
    assert [proxy['quality'] for proxy in refine(annotations, raw, scores=scores)] == [0, 0.7]
    kept = refine(annotations, raw, scores=scores, merge=False)
    assert [proxy['quality'] for proxy in kept] == [0.8, 0.7]


def test_refine_annotations_passes_its_options_on(refine):
    raw = {1: encode_rle(LARGE), 2: encode_rle(SMALL)}
    annotations = [annotation(1, [0, 0, 4, 3]), annotation(2, [0, 2, 4, 2])]
    one, _ = refine(annotations, raw, merge=False, inclusive_boxes=True)
    assert (decode_rle(one['segmentation'], (4, 4)) == LARGE).all()
    assert one['box_agreement'] == 12 / 20


@pytest.mark.parametrize('other', [dict(iscrowd=1, bbox=[0, 2, 4, 2]), dict(bbox=[0, 2, 4, 0])])
def test_crowds_and_degenerate_boxes_take_no_part(refine, other):
    raw = {1: encode_rle(LARGE), 2: encode_rle(SMALL)}
    annotations = [annotation(1, [0, 0, 4, 3]), dict(annotation(2, None), **other)]
    one, two = refine(annotations, raw)
    assert (decode_rle(one['segmentation'], (4, 4)) == LARGE).all()
    assert not decode_rle(two['segmentation'], (4, 4)).any()
    assert two['box_agreement'] == 0
    assert two['iscrowd'] == other.get('iscrowd', 0)


def test_tight_boxes_of_the_merged_masks(refine):
    raw = {1: encode_rle(LARGE), 2: encode_rle(SMALL), 4: encode_rle(LARGE & False)}
    annotations = [
        annotation(1, [0, 0, 4, 3], mask_bbox=[9, 9, 9, 9]),
        annotation(2, [1, 3, 1, 1]),
        annotation(3, [0, 0, 4, 4], mask_bbox=[9, 9, 9, 9]),
        annotation(4, [0, 0, 4, 4], mask_bbox=[9, 9, 9, 9]),
    ]
    proxies = refine(annotations, raw, mask_bbox=True)
    # A box may lie beside its mask; empty masks have none, and no other mask's.
    boxes = [proxy.get('mask_bbox') for proxy in proxies]
    assert boxes == [[0, 0, 4, 2], [0, 2, 4, 1], None, None]
    assert [proxy['bbox'] for proxy in proxies] == [a['bbox'] for a in annotations]
    assert all('mask_bbox' not in proxy for proxy in refine(annotations, raw))


def test_image_without_annotations(refine):
    assert refine([], {}) == []


EMPTY = empty_rle((4, 4))
FULL = encode_rle(np.ones((4, 4), bool))


def test_summarize_proxies(as_coco):
    proxies = [
        annotation(n, [0, 0, 2, 1], box_agreement=value, segmentation=rle)
        for n, (value, rle) in enumerate([(0, EMPTY), (0, FULL), (0.75, 0), (0.8, 0), (0.96, 0)])
    ]
    proxies.append(annotation(9, [0, 0, 1, 1], iscrowd=1, box_agreement=0))
    assert summarize_proxies(as_coco(content(*proxies), ProxyAnnotation).annotations) == (
        # One mask left its box altogether.
        '5 boxes, 1 empty masks; agreement: 40.0% above 0.75, 20.0% above 0.85, '
        '20.0% above 0.90, 20.0% above 0.95; 1 of 6 annotations is left out: 1 with iscrowd 1 (if '
        'it is one object, write 0)'
    )
    assert summarize_proxies([]) == 'no box to give a mask'


#: Two objects, of which the second one has lost its mask, and a crowd.
PROXIES = [
    annotation(1, [0, 0, 4, 3], segmentation=encode_rle(LARGE), box_agreement=0.9, quality=0.7),
    annotation(2, [0, 2, 4, 2], segmentation=EMPTY, box_agreement=0.0),
    annotation(3, [0, 0, 4, 4], segmentation=EMPTY, box_agreement=0.0, iscrowd=1),
]


@pytest.fixture
def load(tmp_path, as_coco):
    """Write a file of proxy masks, the first one with other fields, and read it."""

    def load(first=(), boxes=None, without=(), read=load_proxies):
        proxies = [PROXIES[0] | dict(first), *PROXIES[1:]]
        proxies = [{k: v for k, v in proxy.items() if k not in without} for proxy in proxies]
        path = tmp_path / 'proxy.json'
        path.write_text(json.dumps(content(*proxies)))
        return read(path, as_coco(content(*boxes))) if boxes else load_proxies(path)

    return load


def test_load_proxies(load):
    proxies = load()
    assert proxies == {1: Proxy(encode_rle(LARGE), 0.9, 0.7), 2: Proxy(EMPTY, 0.0, 0.0)}
    assert [proxy.is_empty for proxy in proxies.values()] == [False, True]
    # Of a file's boxes, in its order; they may be fewer.
    boxes = [annotation(2, [0, 2, 4, 2]), annotation(1, [0, 0, 4, 3])]
    assert list(load(boxes=boxes)) == [2, 1]
    assert list(load(boxes=boxes[1:])) == [1]
    assert load(boxes=boxes, read=load_masks) == proxies


def test_numbers_that_a_file_does_not_have(load):
    assert load(without=('quality',))[1] == Proxy(encode_rle(LARGE), 0.9, None)
    raw = load(without=('box_agreement', 'quality'))
    assert [(p.box_agreement, p.quality) for p in raw.values()] == [(None, None), (None, 0.0)]


@pytest.mark.parametrize(
    'segmentation', [[[0, 0, 4, 0, 4, 3, 0, 3]], dict(size=[4, 4], counts=[0, *3 * [3, 1], 3, 1])]
)
def test_masks_of_any_kind_are_compressed(load, segmentation):
    assert load(dict(segmentation=segmentation))[1].rle == encode_rle(LARGE)


@pytest.mark.parametrize(
    ('first', 'message'),
    [
        (dict(segmentation=None), 'annotation 1 of .*proxy.json has no segmentation: make proxy'),
        (dict(segmentation='x'), 'mask of annotation 1 in .*proxy.json is broken: it is neither'),
        (dict(segmentation=dict(EMPTY, size=[4, 5])), r'1 in .* size is \[4, 5\], but .* \[4, 4\]'),
        (dict(segmentation=[[0, 0, 1]]), 'mask of annotation 1 in .*proxy.json is broken: a poly'),
        (dict(box_agreement=None), 'annotation 1 of .*proxy.json has no box_agreement and others'),
        (dict(box_agreement=1.5), r'annotation 1 .* has box_agreement 1.5, not a number in \[0, 1'),
        (dict(quality='good'), r"annotation 1 of .* has quality 'good', not a number in \[0, 1\]"),
    ],
)
def test_bad_proxies_are_refused(load, first, message):
    with pytest.raises(InputError, match=message):
        load(first)


@pytest.mark.parametrize(
    'other', [dict(id=7), dict(bbox=[0, 0, 4, 2]), dict(id=3, bbox=[0, 0, 4, 4])]
)
def test_proxies_of_other_boxes_are_refused(load, other):
    """One that is not there, one elsewhere, and one that is a crowd there."""
    box = annotation(1, [0, 0, 4, 3]) | other
    message = f'annotation {box["id"]} of boxes.json is not in .*proxy.json, or has another image'
    with pytest.raises(InputError, match=message):
        load(boxes=[box])
    with pytest.raises(InputError, match=message):
        load(boxes=[box], read=load_masks)


def test_proxies_of_another_image_are_refused(tmp_path, as_coco):
    both = content(PROXIES[0])
    both['images'].append(dict(id=2, file_name='b.png', width=4, height=4))
    (tmp_path / 'proxy.json').write_text(json.dumps(both))
    both['annotations'] = [dict(PROXIES[0], image_id=2)]
    with pytest.raises(InputError, match='annotation 1 of boxes.json .* another image'):
        load_proxies(tmp_path / 'proxy.json', as_coco(both))


def test_no_file():
    with pytest.raises(
        InputError, match=r'no file of proxy masks none\.json: make it with mmboxcas'
    ):
        load_proxies('none.json')


def test_raw_masks_are_proxies_that_nobody_measured(tmp_path, as_coco):
    path = tmp_path / 'raw.json'
    polygon = [[0, 0, 4, 0, 4, 3]]
    path.write_text(json.dumps([dict(image_id=1, ann_id=1, segmentation=polygon, score=0.5)]))
    assert load_masks(path, as_coco(content(*PROXIES))) == {1: Proxy(polygon, None, 0.5)}


def test_true_masks_stay_and_win_their_pixels(refine):
    """The larger object's mask is true, so the smaller one loses what both claim."""
    true = dict(size=[4, 4], counts=[0, 3, 1, 3, 1, 3, 1, 3, 1])  # as the file has it: LARGE
    annotations = [
        annotation(1, [0, 0, 4, 4], segmentation=true, quality=1, note='mine'),
        annotation(2, [0, 2, 4, 2]),
        annotation(3, [0, 0, 4, 4], segmentation=encode_rle(LARGE), iscrowd=1),
    ]
    raw = {1: encode_rle(SMALL), 2: encode_rle(np.arange(16).reshape(4, 4) >= 8)}
    one, two, crowd = refine(annotations, raw, scores={1: 0.1, 2: 0.5}, keep_masks=True)
    assert one == annotations[0] | dict(box_agreement=1.0, quality=1.0, area=16, iscrowd=0)
    expected = np.zeros((4, 4), bool)
    expected[3] = True
    assert (decode_rle(two['segmentation'], (4, 4)) == expected).all()
    assert two['quality'] == 0.5 and two['box_agreement'] == 0.5
    assert crowd['segmentation'] == encode_rle(LARGE) and crowd['box_agreement'] == 0

    # Unless they are kept they are not read.
    one, two, crowd = refine(annotations, raw, scores={1: 0.1, 2: 0.5})
    assert one['segmentation'] != true and one['quality'] == 0  # nothing is left
    assert decode_rle(two['segmentation'], (4, 4))[2].all()
    assert crowd['segmentation'] == EMPTY


def test_two_true_masks_keep_what_they_share(refine):
    masks = [encode_rle(LARGE), encode_rle(SMALL)]
    boxes = [[0, 0, 4, 3], [0, 2, 4, 1]]
    annotations = [
        annotation(n, box, segmentation=mask)
        for n, (box, mask) in enumerate(zip(boxes, masks, strict=True))
    ]
    proxies = refine(annotations, {}, keep_masks=True)
    assert [proxy['segmentation'] for proxy in proxies] == masks


OUTLINE = [[1, 1, 4, 2, 2, 4]]


@pytest.mark.parametrize(
    ('fields', 'is_true'),
    [
        (dict(segmentation=OUTLINE), True),
        (dict(segmentation=encode_rle(SMALL)), True),
        (dict(segmentation=dict(size=[4, 4], counts=[3, 2, 11]), quality=1.0), True),
        (dict(), False),
        (dict(segmentation=None), False),
        (dict(segmentation=[]), False),
        (dict(segmentation=OUTLINE, quality=0.99), False),
        (dict(segmentation=OUTLINE, box_agreement=0.9), False),
        (dict(segmentation=EMPTY), False),
        (dict(segmentation=dict(size=[4, 4], counts=[16])), False),
        # The box itself, closed or with its last pixel, and a triangle in it.
        (dict(segmentation=[[1, 1, 4, 1, 4, 4, 1, 4]]), False),
        (dict(segmentation=[[1, 1, 1, 3, 3, 3, 3, 1, 1, 1]]), False),
        (dict(segmentation=[[1, 1, 4, 1, 4, 4]]), True),
        # Broken ones are told of by who reads them.
        (dict(segmentation=[['x'] * 8]), True),
        (dict(segmentation=dict(counts='x')), True),
    ],
)
def test_what_is_a_true_mask(as_coco, fields, is_true):
    (one,) = as_coco(content(annotation(1, [1, 1, 3, 3], **fields))).annotations
    assert one.true_mask == (fields['segmentation'] if is_true else None)


def test_raw_masks_in_a_coco_file_of_its_own_numbers(tmp_path, as_coco):
    """By the names of images and by boxes, as refine takes them."""
    path = tmp_path / 'raw.json'
    raw = dict(id=9, image_id=77, bbox=[0, 0, 4, 3], segmentation=[[0, 0, 4, 0, 4, 3]], score=0.5)
    path.write_text(json.dumps(dict(images=[dict(id=77, file_name='a.png')], annotations=[raw])))
    masks = load_masks(path, as_coco(content(*PROXIES)))
    assert masks == {1: Proxy(raw['segmentation'], None, 0.5)}
