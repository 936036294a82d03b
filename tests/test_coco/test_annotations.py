import copy
import json
import time

import pytest

from mmboxcaseg.coco.annotations import (
    Annotation,
    annotation_bboxes,
    annotations_by_image,
    check_mask,
    decode_annotation,
    load_coco,
    parse_coco,
    read_masks,
    write_coco,
)
from mmboxcaseg.coco.results import load_results
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import decode_rle

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


def image_with(**image):
    """The file with its first image changed."""
    return dict(COCO, images=[COCO['images'][0] | image, COCO['images'][1]])


def without(key):
    """The file with its first annotation short of a field."""
    coco = copy.deepcopy(COCO)
    del coco['annotations'][0][key]
    return coco


def write(tmp_path, content):
    path = tmp_path / 'file.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_load_coco(tmp_path):
    coco = load_coco(write(tmp_path, COCO))
    assert [a.content() for a in coco.annotations] == COCO['annotations']
    assert [(a.id, a.image_id, a.category_id) for a in coco.annotations] == [
        *((10, 7, 1), (12, 3, 2), (11, 7, 2))
    ]
    assert coco.annotations[2].bbox == (0.3, 0, 4, 4)
    assert [(i.id, i.file_name, i.width, i.height) for i in coco.images] == [
        *((7, 'a.jpg', 8, 6), (3, 'b.jpg', 8, 6))
    ]
    assert coco.images[0].shape == (6, 8)
    assert [(c.id, c.name) for c in coco.categories] == [(1, 'cat'), (2, 'dog')]
    assert list(coco.top) == ['info', 'images', 'categories', 'annotations']


def test_all_fields_of_an_entry_are_kept(tmp_path):
    fields = dict(
        segmentation=[[1, 2.5, 3]], note='\u00e9 \U0001f600', big=10**30, none=None, text=[1]
    )
    for ensure_ascii in (True, False):
        text = json.dumps(coco_with(**fields), ensure_ascii=ensure_ascii, indent=2)
        annotation = load_coco(write(tmp_path, text)).annotations[0]
        assert annotation.content() == COCO['annotations'][0] | fields
        assert list(annotation.content()) == list(COCO['annotations'][0] | fields)
        assert annotation.segmentation == [[1, 2.5, 3]]
    assert load_coco(write(tmp_path, COCO)).annotations[0].segmentation is None


def test_optional_fields(tmp_path):
    one, two, _ = load_coco(write(tmp_path, coco_with(area=7.5, iscrowd=1))).annotations
    assert (one.area, one.iscrowd) == (7.5, 1)
    assert (two.area, two.iscrowd) == (None, None)


def test_a_subclass_knows_more_fields(tmp_path):
    class Difficult(Annotation):
        difficult: int = 0

    rows = load_coco(write(tmp_path, coco_with(difficult=1)), Difficult).annotations
    assert [row.difficult for row in rows] == [1, 0, 0]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', r'is not JSON: give a COCO annotation file \('),
        ([], 'holds a list'),
        (dict(images=[]), "has no list 'annotations'"),
        (dict(COCO, categories={}), "has no list 'categories'"),
        (
            dict(COCO, images=[dict(id=7, file_name='a.jpg', width=8)]),
            r"image 7 of .* has no 'heig",
        ),
        (dict(COCO, images=COCO['images'] * 2), "id 7 twice in 'images'"),
        (dict(COCO, annotations=COCO['annotations'] * 2), "id 10 twice in 'annotations'"),
        (dict(COCO, annotations=[3]), r'annotations\[0\] of .* is not a dict'),
        (coco_with(id=True), r'annotations\[0\] .*has id True, not an int or a string'),
        (coco_with(id=[1]), r'annotations\[0\] .*has id \[1\], not an int or a string'),
        (coco_with(image_id=7.0), 'annotation 10 .*has image_id 7.0, not an int or a string'),
        (coco_with(image_id='7'), "annotation 10 .*belongs to image '7'"),
        (coco_with(category_id={}), 'annotation 10 .*has category_id {}, not an int'),
        (coco_with(area='4'), "annotation 10 .*has area '4', not a number"),
        (coco_with(area=float('nan')), "annotation 10 .* holds NaN in 'area', which"),
        (image_with(width=8.0), 'image 7 .*has width 8.0, not a positive int'),
        (image_with(height=0), 'image 7 .*has height 0, not a positive int'),
        (image_with(height='6'), "image 7 .*has height '6', not a positive int"),
        (image_with(file_name=3), 'image 7 .*has file_name 3, not a string'),
        (dict(COCO, categories=[dict(id=1, name=None)]), 'category 1 .*has name None, not a str'),
        (
            dict(COCO, categories=[*COCO['categories'], dict(COCO['categories'][0], id=77)]),
            "two categories named 'cat'",
        ),
        (coco_with(image_id=5), 'annotation 10 .*belongs to image 5'),
        (coco_with(category_id=5), 'annotation 10 .*has category 5'),
        (coco_with(bbox=[1, 2, 3]), 'annotation 10 .*not four numbers'),
        (coco_with(bbox=[1, 2, 3, None]), 'annotation 10 .*not four numbers'),
        (coco_with(bbox=[1, 2, 3, float('nan')]), "annotation 10 .*NaN in 'bbox'"),
        (coco_with(bbox=[1, 2, 3, 1e300]), 'annotation 10 .*not four numbers'),
        (coco_with(iscrowd='no'), "annotation 10 .*has iscrowd 'no', not 0 or 1"),
        (
            coco_with(note=float('nan')),
            "annotation 10 .*holds NaN in 'note', which JSON",
        ),
        (dict(COCO, info=-float('inf')), "'info' of .* holds Infinity or a number"),
        (without('bbox'), "annotation 10 of .* has no 'bbox'"),
        (without('id'), r"annotations\[0\] of .* has no 'id'"),
        *((text, 'is not JSON') for text in ('', '{"a": 1,}', '{7: 8}', '{"a" 1}')),
        *((text, 'is not JSON') for text in ('{} x', '{"images": [tru', '{"images": [1 2]}')),
        *((text, 'it holds a (int|str|list)') for text in ('7', '"images"', '[1]')),
        ('{"images": {}}', "has no list 'images'"),
    ],
)
def test_load_coco_refuses(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=message) as caught:
        load_coco(path)
    assert str(path) in str(caught.value)


def test_boxes_in_another_format_are_for_masks(tmp_path):
    for name in ('boxes.csv', 'boxes.txt', 'boxes.JSON'):
        (tmp_path / name).write_text('filename,class,xmin,ymin,xmax,ymax')
        with pytest.raises(InputError, match=f'{name} is not JSON: give a COCO anno') as caught:
            load_coco(tmp_path / name)
        hint = ', such as `mmboxcaseg masks` makes of other formats ('
        assert (hint in str(caught.value)) == (name != 'boxes.JSON')


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / 'file.json'
    for content in (COCO | dict(info='HERE'), coco_with(note='HERE'), dict(info='HERE')):
        path.write_bytes(json.dumps(content).encode().replace(b'HERE', b'\xff'))
        with pytest.raises(InputError, match='file.json is not UTF-8 text but probably Latin-1'):
            load_coco(path)


def with_root(**root):
    """The file with the root that Roboflow adds, which has the name of a class."""
    root = dict(id=0, name='dog', supercategory='none') | root
    categories = [root, *(dict(c, supercategory='dog') for c in COCO['categories'])]
    return dict(COCO, categories=categories)


def test_roboflows_root_is_no_category(tmp_path):
    path = write(tmp_path, with_root())
    coco = load_coco(path)
    assert [category.id for category in coco.categories] == [1, 2] and coco.root.id == 0
    write_coco(coco.top, (), tmp_path / 'out.json')
    assert json.loads((tmp_path / 'out.json').read_text())['categories'][0]['name'] == 'dog'


@pytest.mark.parametrize('root', [dict(supercategory='animal'), dict(name='cow')])
def test_others_are_categories(tmp_path, root):
    content = with_root(**root)
    if 'name' not in root:
        for category in content['categories'][1:]:
            category['supercategory'] = 'cow'
        content['categories'][0]['name'] = 'cow'
    coco = load_coco(write(tmp_path, content))
    assert len(coco.categories) == 3 and coco.root is None


def test_a_root_with_a_box_is_a_category(tmp_path):
    content = with_root()
    content['annotations'] = [dict(COCO['annotations'][0], category_id=0)]
    with pytest.raises(InputError, match="two categories named 'dog'"):
        load_coco(write(tmp_path, content))


@pytest.mark.parametrize('column', ['id', 'name'])
def test_time_grows_with_the_number_of_categories_not_with_its_square(tmp_path, column):
    categories = [dict(id=i, name=f'c{i}') for i in range(30_000)]
    categories.append(categories[-1] | {column: categories[7][column], 'x': 1})
    categories[-1] |= dict(name='other') if column == 'id' else dict(id=-1)
    path = write(tmp_path, COCO | dict(categories=categories, annotations=[]))
    start = time.process_time()
    with pytest.raises(InputError, match='7'):
        load_coco(path)
    assert time.process_time() - start < 2


def test_load_coco_missing_file(tmp_path):
    with pytest.raises(InputError, match=r'cannot read .*none\.json: No such file'):
        load_coco(tmp_path / 'none.json')


@pytest.mark.parametrize(
    ('annotation', 'expected'),
    [
        (dict(bbox=[0, 0, 1, 1]), True),
        (dict(bbox=[0, 0, 1, 1], iscrowd=1), False),
        (dict(bbox=[0, 0, 0, 1]), False),
        (dict(bbox=[0, 0, 1, -1]), False),
    ],
)
def test_is_object(as_coco, annotation, expected):
    assert as_coco(coco_with(**annotation)).annotations[0].is_object is expected


def test_annotation_bboxes(as_coco):
    assert annotation_bboxes(as_coco(COCO).annotations[1:]).tolist() == [
        [1, 1, 3, 3],
        [0.3, 0, 4.3, 4],
    ]
    assert annotation_bboxes([]).shape == (0, 4)


def test_annotations_by_image(as_coco):
    groups = annotations_by_image(as_coco(COCO))
    assert {id_: [a.id for a in group] for id_, group in groups.items()} == {
        7: [10, 11],
        3: [12],
    }


def test_masks(as_coco):
    coco = as_coco(coco_with(segmentation=dict(size=[6, 8], counts=[47, 1])))
    annotation, none, _ = coco.annotations
    assert decode_annotation(annotation, (6, 8), 'a.json').sum() == 1
    check_mask(annotation, coco.images[0], 'a.json', ': make one')
    with pytest.raises(InputError, match=r'mask of annotation 10 in a\.json is broken: its size'):
        decode_annotation(annotation, (8, 6), 'a.json')
    with pytest.raises(InputError, match=r'mask of annotation 12 in a\.json is broken: there are'):
        decode_annotation(none, (6, 8), 'a.json')
    with pytest.raises(InputError, match=r'annotation 12 of a\.json has no segmentation: make one'):
        check_mask(none, coco.images[0], 'a.json', ': make one')
    other = as_coco(image_with(width=9)).images[0]
    with pytest.raises(InputError, match=r'10 in a\.json .* size is \[6, 8\], but .* \[6, 9\]'):
        check_mask(annotation, other, 'a.json', ': make one')


def test_read_masks_names_the_broken_one():
    right, broken = dict(size=[1, 3], counts=[1, 2]), dict(size=[1, 3], counts='0')
    (rle,) = read_masks({5: right}, (1, 3), 'a.json').values()
    assert decode_rle(rle, (1, 3)).tolist() == [[False, True, True]]
    with pytest.raises(InputError, match=r'mask of annotation 6 in a\.json is broken: its runs'):
        read_masks({5: right, 6: broken}, (1, 3), 'a.json')
    for missing in (None, []):
        with pytest.raises(InputError, match='^annotation 6 of a.json has no mask: give a file'):
            read_masks({5: right, 6: missing}, (1, 3), 'a.json')


@pytest.mark.parametrize('ensure_ascii', [True, False])
def test_write_coco_is_what_json_writes(tmp_path, ensure_ascii):
    content = COCO | dict(licence=dict(name='\u00e9', n=[1.0, None]), empty=[], number=7)
    coco = load_coco(write(tmp_path, json.dumps(content, ensure_ascii=ensure_ascii, indent=1)))
    texts = [json.dumps(dict(a.content(), new=1)).encode() for a in coco.annotations]
    write_coco(coco.top, texts, tmp_path / 'out.json')
    expected = content | dict(annotations=[dict(a, new=1) for a in COCO['annotations']])
    assert (tmp_path / 'out.json').read_text() == json.dumps(expected)
    write_coco(coco.top, [], tmp_path / 'out.json')
    assert json.loads((tmp_path / 'out.json').read_text())['annotations'] == []


@pytest.mark.parametrize('text', ['[' * 100_000, '{"images": ' * 100_000, '{"x": ' + '[' * 100_000])
def test_json_of_many_levels_is_refused(tmp_path, text):
    path = tmp_path / 'deep.json'
    path.write_text(text)
    for read in (load_coco, load_results):
        with pytest.raises(InputError, match=r'deep\.json is nested far deeper than a COCO'):
            read(path)


@pytest.mark.parametrize('side', [70_000, 10**30])
def test_images_that_no_mask_can_be_written_of_are_refused(as_coco, side):
    images = [dict(id=7, file_name='a.png', width=side, height=side)]
    with pytest.raises(
        InputError, match=f'image 7 of boxes.json is said to be {str(side)[:10]}.*: masks can be'
    ):
        as_coco(dict(images=images, annotations=[], categories=[]))


def test_too_many_boxes_of_one_image_are_refused(as_coco, monkeypatch):
    monkeypatch.setattr('mmboxcaseg.coco.annotations._MOST_BOXES', 10)
    images = [dict(id=7, file_name='a.png', width=9, height=9)]
    boxes = [dict(id=i, image_id=7, category_id=1, bbox=[0, 0, 1, 1]) for i in range(11)]
    categories = [dict(id=1, name='x')]
    with pytest.raises(InputError, match='image 7 of boxes.json has 11 annotations, and more'):
        as_coco(dict(images=images, annotations=boxes, categories=categories))


DIGITS = '1234567890' * 431  # one more ten than Python reads


@pytest.mark.parametrize(
    ('more', 'is_number'),
    [
        (f'"a": {DIGITS}', True),
        (f'"a": [1, -{DIGITS}]', True),
        (f'"a": "{DIGITS}"', False),
        # As of the mask of a rectangle 3,000 pixels wide.
        (f'"a": "Yg:1{"0" * 6000}:"', False),
    ],
)
@pytest.mark.parametrize('place', ['top', 'annotation'])
def test_numbers_of_thousands_of_digits_are_refused_at_once(more, is_number, place):
    box = dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 2, 2])
    image = dict(id=1, file_name='a.jpg', width=6, height=4)
    coco = dict(images=[image], annotations=[box], categories=[dict(id=1, name='cat')])
    mark = '{"images": ' if place == 'top' else '{"id": 1, "image_id": '
    text = json.dumps(coco)
    assert mark in text
    data = text.replace(mark, f'{{{more}, {mark[1:]}').encode()
    if is_number:
        with pytest.raises(InputError, match='a.json has a number of more than 4300 digits: corr'):
            parse_coco(data, 'a.json')
    else:
        assert parse_coco(data, 'a.json').images[0].id == 1


@pytest.mark.parametrize(
    ('more', 'is_finite'),
    [
        ('1e999', False),
        ('[0, -1.5E+400]', False),
        ('{"b": 2000.0e306}', False),
        ('[1e300, 1e-999, 1E+0]', True),
        ('"a 1e999"', True),
        ('"1e999, "', True),
        ('1' * 320 + '.0', False),
        ('1' * 300 + '.0', True),
    ],
)
@pytest.mark.parametrize('place', ['annotation 7 of a.json', 'info.* of a.json'])
def test_numbers_that_cannot_be_written_again_are_refused_when_read(more, is_finite, place):
    box = dict(id=7, image_id=1, category_id=1, bbox=[0, 0, 2, 2])
    image = dict(id=1, file_name='a.jpg', width=6, height=4)
    content = dict(images=[image], annotations=[box], categories=[dict(id=1, name='cat')])
    (content if 'info' in place else box)['info'] = 'HERE'
    data = json.dumps(content).replace('"HERE"', more).encode()
    if is_finite:
        assert json.loads(bytes(parse_coco(data, 'a.json').top['annotations'])) is not None
        return
    field = '.*' if 'info' in place else " in 'info'"
    message = f'{place} holds Infinity or a number above 1e308{field}, which JSON has no word for'
    with pytest.raises(InputError, match=message):
        parse_coco(data, 'a.json')


def test_what_breaks_off_says_where():
    with pytest.raises(InputError, match=r'COCO annotation file \(.* in line 2, column 13\)'):
        parse_coco(b'{\n "images": [', 'a.json')
