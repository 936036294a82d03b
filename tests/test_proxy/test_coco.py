import copy
import json
import re

import cv2
import numpy as np
import pytest

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import encode_rle
from mmboxcaseg.proxy.coco import (
    annotation_bboxes,
    annotations_by_image,
    check_bboxes,
    check_images,
    check_output,
    decode_annotation,
    load_coco,
    load_results,
    mask_result,
    match_results,
    replace_annotations,
    wants_mask,
    write_json,
)

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


def write(tmp_path, content):
    path = tmp_path / 'file.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_load_coco(tmp_path):
    assert load_coco(write(tmp_path, COCO)) == COCO


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'is not JSON: give a COCO annotation file'),
        ([], 'holds a list'),
        (dict(images=[]), "has no list 'annotations'"),
        (dict(COCO, categories={}), "has no list 'categories'"),
        (dict(COCO, images=[dict(id=7, file_name='a.jpg', width=8)]), r"images\[0\] has no 'heig"),
        (dict(COCO, images=COCO['images'] * 2), "id 7 twice in 'images'"),
        (dict(COCO, annotations=COCO['annotations'] * 2), "id 10 twice in 'annotations'"),
        (dict(COCO, annotations=[3]), r"annotations\[0\] has no 'id'"),
        (coco_with(id=True), r'annotations\[0\] .*has id True, not an int or a string'),
        (coco_with(id=[1]), r'annotations\[0\] .*has id \[1\], not an int or a string'),
        (coco_with(image_id=7.0), 'annotation 10 .*has image_id 7.0, not an int or a string'),
        (coco_with(image_id='7'), "annotation 10 .*belongs to image '7'"),
        (coco_with(category_id={}), 'annotation 10 .*has category_id {}, not an int'),
        (coco_with(area='4'), "annotation 10 .*has area '4', not a number"),
        (coco_with(area=float('nan')), 'annotation 10 .*has area nan, not a number'),
        (image_with(width=8.0), 'image 7 .*has width 8.0, not a positive int'),
        (image_with(height=0), 'image 7 .*has height 0, not a positive int'),
        (image_with(height='6'), "image 7 .*has height '6', not a positive int"),
        (image_with(file_name=3), 'image 7 .*has file_name 3, not a string'),
        (dict(COCO, categories=[dict(id=1, name=None)]), 'category 1 .*has name None, not a str'),
        (
            dict(COCO, categories=[dict(id=1, name='cat'), dict(id=2, name='cat')]),
            "two categories named 'cat'",
        ),
        (coco_with(image_id=5), 'annotation 10 .*belongs to image 5'),
        (coco_with(category_id=5), 'annotation 10 .*has category 5'),
        (coco_with(bbox=[1, 2, 3]), 'annotation 10 .*not four numbers'),
        (coco_with(bbox=[1, 2, 3, None]), 'annotation 10 .*not four numbers'),
        (coco_with(bbox=[1, 2, 3, float('nan')]), 'annotation 10 .*not four numbers'),
        (coco_with(bbox=[1, 2, 3, 1e300]), 'annotation 10 .*not four numbers'),
    ],
)
def test_load_coco_refuses(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=message) as caught:
        load_coco(path)
    assert str(path) in str(caught.value)


def test_load_coco_missing_file(tmp_path):
    with pytest.raises(InputError, match=r'cannot read .*none\.json: No such file'):
        load_coco(tmp_path / 'none.json')


ENTRY = dict(image_id=7, category_id=1, bbox=[0, 0, 4, 4], segmentation=[], ann_id=10)


def without(entry, *keys):
    return {key: value for key, value in entry.items() if key not in keys}


def test_load_results(tmp_path):
    entries = [ENTRY, without(ENTRY, 'ann_id')]
    assert load_results(write(tmp_path, entries)) == entries


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
    ],
)
def test_load_results_refuses(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        load_results(write(tmp_path, content))


@pytest.mark.parametrize(
    ('annotation', 'expected'),
    [
        (dict(bbox=[0, 0, 1, 1]), True),
        (dict(bbox=[0, 0, 1, 1], iscrowd=1), False),
        (dict(bbox=[0, 0, 0, 1]), False),
        (dict(bbox=[0, 0, 1, -1]), False),
    ],
)
def test_wants_mask(annotation, expected):
    assert wants_mask(annotation) is expected


def test_annotation_bboxes():
    assert annotation_bboxes(COCO['annotations'][1:]).tolist() == [[1, 1, 3, 3], [0.3, 0, 4.3, 4]]
    assert annotation_bboxes([]).shape == (0, 4)


def test_annotations_by_image():
    groups = annotations_by_image(COCO)
    assert {id_: [a['id'] for a in group] for id_, group in groups.items()} == {
        7: [10, 11],
        3: [12],
    }


@pytest.mark.parametrize('bbox', [[8, 0, 2, 2], [0, 6, 2, 2], [-2, 0, 2, 2], [0, -5, 2, 2]])
def test_check_bboxes_refuses_a_box_outside(bbox):
    with pytest.raises(InputError, match=r'annotation 10 of boxes\.json .*outside .*a\.jpg'):
        check_bboxes(coco_with(bbox=bbox), 'boxes.json')
    check_bboxes(coco_with(bbox=bbox, iscrowd=1), 'boxes.json')


def test_check_bboxes_takes_a_box_over_the_border():
    check_bboxes(coco_with(bbox=[-1, -1, 20, 20]), 'boxes.json')


def test_check_bboxes_refuses_a_file_without_a_box_that_wants_a_mask():
    crowd = dict(COCO['annotations'][0], iscrowd=1)
    with pytest.raises(InputError, match=r'boxes\.json holds no box'):
        check_bboxes(dict(COCO, annotations=[crowd]), 'boxes.json')


def match(*entries):
    entries = [dict(segmentation=f'mask {n}') | entry for n, entry in enumerate(entries)]
    matched = match_results(COCO, entries, 'raw.json')
    return {id_: entry['segmentation'] for id_, entry in matched.items()}


def test_check_images(tmp_path):
    boxes = dict(COCO, annotations=COCO['annotations'][:1])
    with pytest.raises(InputError, match='image folder .*none does not exist'):
        check_images(boxes, tmp_path / 'none')
    with pytest.raises(InputError, match='image .*a.jpg does not exist'):
        check_images(boxes, tmp_path)
    (tmp_path / 'a.jpg').write_text('no image')
    with pytest.raises(InputError, match='a.jpg cannot be decoded'):
        check_images(boxes, tmp_path)
    # The other image has no box.
    cv2.imwrite(str(tmp_path / 'a.jpg'), np.zeros((6, 8, 3), np.uint8))
    check_images(boxes, tmp_path)


def test_mask_result_finds_its_annotation():
    mask = np.array([[0, 1], [1, 1]], bool)
    result = json.loads(json.dumps(mask_result(COCO['annotations'][2], encode_rle(mask), 0.75)))
    assert result.pop('segmentation') == encode_rle(mask)
    assert result == dict(image_id=7, category_id=2, bbox=[0.3, 0, 4, 4], score=0.75, ann_id=11)
    assert list(match_results(COCO, [dict(result, segmentation='x')], 'raw.json')) == [11]


def test_match_results_by_id():
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
def test_match_results_by_box(entry, expected):
    assert match(dict(image_id=7) | entry) == {expected: 'mask 0'}


def test_match_results_same_box():
    coco = coco_with(bbox=[0.3, 0, 4, 4])
    entry = dict(image_id=7, bbox=[0.3, 0, 4, 4], segmentation='mask')
    own = dict(entry, category_id=2)
    assert match_results(coco, [own], 'raw.json') == {11: own}
    with pytest.raises(InputError, match=r'entry 0 of raw\.json .*fits annotations 10, 11 alike'):
        match_results(coco, [entry], 'raw.json')


@pytest.mark.parametrize(
    ('entries', 'message'),
    [
        ([dict(image_id=7, ann_id=99)], 'entry 0 .*ann_id 99, which image 7 does not have'),
        ([dict(image_id=7, ann_id=12)], 'entry 0 .*ann_id 12, which image 7 does not have'),
        ([dict(image_id=7, bbox=[5, 0, 2, 2])], 'entry 0 .*image 7 has no annotation with its box'),
        ([dict(image_id=3, bbox=[0, 0, 4, 4])], 'entry 0 .*image 3 has no annotation with its box'),
        ([dict(image_id=9, bbox=[0, 0, 4, 4])], 'entry 0 .*image 9 has no annotation with its box'),
        (
            [dict(image_id=7, ann_id=10), dict(image_id=7, bbox=[0, 0, 4, 4])],
            'entry 1 .*annotation 10, which entry 0 gave a mask already',
        ),
    ],
)
def test_match_results_refuses(entries, message):
    with pytest.raises(InputError, match=message):
        match(*entries)


def test_replace_annotations():
    changed = [dict(a, new=True) for a in COCO['annotations'][::-1]]
    replaced = replace_annotations(COCO, changed)
    assert replaced == dict(COCO, annotations=[dict(a, new=True) for a in COCO['annotations']])


def test_check_output(tmp_path):
    check_output(tmp_path / 'new' / 'folder' / 'out.json')
    assert (tmp_path / 'new' / 'folder').is_dir()
    with pytest.raises(InputError, match='it is a folder'):
        check_output(tmp_path)
    file = tmp_path / 'file'
    file.touch()
    with pytest.raises(InputError, match=re.escape(f'cannot make folder {file}')):
        check_output(file / 'out.json')


def test_check_output_leaves_what_is_there(tmp_path):
    path = tmp_path / 'out.json'
    check_output(path)
    assert list(tmp_path.iterdir()) == []
    path.write_text('old')
    check_output(path)
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_check_output_refuses_inputs_and_other_suffixes(tmp_path):
    path, link = tmp_path / 'in.json', tmp_path / 'link.json'
    path.touch()
    link.symlink_to(path)
    for out in (path, link, tmp_path / '..' / tmp_path.name / 'in.json'):
        with pytest.raises(InputError, match='is an input file'):
            check_output(out, inputs=['other.json', str(path)])
    with pytest.raises(InputError, match=r'model\.pth: its name must end in \.json'):
        check_output(tmp_path / 'model.pth')
    with pytest.raises(InputError, match=r'must end in \.jpg or \.png'):
        check_output(path, suffixes=('.jpg', '.png'))
    check_output(tmp_path / 'A.PNG', suffixes=('.jpg', '.png'))


def test_check_output_tries_to_write():
    # os.access calls it writable to root.
    with pytest.raises(InputError, match=r'cannot write /proc/out\.json: '):
        check_output('/proc/out.json')


def test_write_json_refuses_in_one_sentence_and_leaves_nothing(tmp_path):
    folder = tmp_path / 'folder.json'
    (folder / 'full').mkdir(parents=True)
    for path in (folder, tmp_path / 'none' / 'out.json', tmp_path / ('x' * 300)):
        with pytest.raises(InputError, match=f'cannot write {path}: '):
            write_json(COCO, path)
    assert list(tmp_path.iterdir()) == [folder]


def test_decode_annotation():
    annotation = dict(id=4, segmentation=dict(size=[1, 3], counts=[1, 2]))
    assert decode_annotation(annotation, (1, 3), 'a.json').tolist() == [[False, True, True]]
    with pytest.raises(InputError, match=r'mask of annotation 4 in a\.json is broken: its size'):
        decode_annotation(annotation, (2, 3), 'a.json')
    with pytest.raises(InputError, match=r'mask of annotation 4 in a\.json is broken: it is neit'):
        decode_annotation(dict(id=4), (2, 3), 'a.json')


def test_write_json_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / 'out.json'
    write_json(COCO, path)
    assert json.loads(path.read_text()) == COCO
    with pytest.raises(TypeError):
        write_json(dict(a=object()), path)
    assert json.loads(path.read_text()) == COCO
    assert [p.name for p in tmp_path.iterdir()] == ['out.json']
