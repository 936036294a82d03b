import json

import cv2
import numpy as np
import pytest

from mmboxcaseg.apis import merge_corrected, review_masks
from mmboxcaseg.apis.reviewing import REVIEW_FORMATS
from mmboxcaseg.cli import main
from mmboxcaseg.cli.review import _FORMATS
from mmboxcaseg.coco import load_proxies
from mmboxcaseg.coco.annotations import load_coco
from mmboxcaseg.datasets import BoxInstanceDataset
from mmboxcaseg.errors import InputError
from mmboxcaseg.formats.brush import encode_brush
from mmboxcaseg.proxy import decode_rle, empty_rle, encode_rle


def filled(x1, y1, x2, y2):
    mask = np.zeros((10, 12), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def annotation(id_, image_id, category_id, bbox, mask, quality, agreement, **fields):
    x1, y1, x2, y2 = bbox
    numbers = dict(box_agreement=agreement, quality=quality)
    bbox = [x1, y1, x2 - x1, y2 - y1]
    area = bbox[2] * bbox[3]
    own = dict(id=id_, image_id=image_id, category_id=category_id, bbox=bbox, area=area, iscrowd=0)
    return own | dict(segmentation=encode_rle(mask)) | numbers | fields


ANNOTATIONS = [
    annotation(11, 1, 3, (0, 0, 6, 6), filled(0, 0, 6, 3), 0.9, 0.5, note='kept'),
    annotation(12, 1, 3, (5, 5, 10, 10), filled(6, 6, 9, 9), 0.4, 0.36, mask_bbox=[6, 6, 3, 3]),
    annotation(13, 1, 7, (4, 2, 12, 8), filled(7, 2, 12, 5), 0.6, 0.3, mask_bbox=[7, 2, 5, 3]),
    annotation(21, 2, 7, (0, 0, 4, 4), filled(0, 0, 4, 4), 0.7, 1.0),
    # The merge took all of it; a true mask; a crowd.
    annotation(22, 2, 3, (1, 1, 9, 9), filled(0, 0, 0, 0), 0.95, 0.0),
    annotation(23, 2, 3, (6, 6, 12, 10), filled(6, 6, 12, 9), 1.0, 1.0),
    annotation(24, 2, 3, (0, 0, 9, 9), filled(0, 0, 9, 9), 0.0, 0.0) | dict(iscrowd=1),
    annotation(31, 3, 3, (0, 0, 5, 5), filled(0, 0, 5, 5), 0.2, 1.0),
]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The current folder, with img/ and masks.json."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'img').mkdir()
    images = [
        dict(id=id_, file_name=f'{id_}.png', width=12, height=10, licence='mine')
        for id_ in (1, 2, 3)
    ]
    for image in images:
        cv2.imwrite(f'img/{image["file_name"]}', np.zeros((10, 12, 3), np.uint8))
    categories = [dict(id=3, name='cat'), dict(id=7, name='dog')]
    write('masks.json', dict(images=images, categories=categories, annotations=ANNOTATIONS))
    return tmp_path


def write(path, content):
    with open(path, 'w') as file:
        json.dump(content, file)


def read(path):
    with open(path) as file:
        return json.load(file)


def by_id(path):
    return {a['id']: a for a in read(path)['annotations']}


def decoded(annotation):
    return decode_rle(annotation['segmentation'], (10, 12))


@pytest.mark.parametrize(
    ('choice', 'ids'),
    [
        ({}, [22, 31, 12, 13, 21, 11]),
        (dict(count=3), [22, 31, 12]),
        (dict(share=0.5), [22, 31, 12]),
        (dict(below=0.6), [22, 31, 12]),
        (dict(below=0.61), [22, 31, 12, 13]),
    ],
)
def test_the_poorest_are_handed_out_first(data, choice, ids):
    lines = review_masks('masks.json', 'img', 'review', **choice)
    content, given = read('review/review.json'), by_id('masks.json')
    assert [a['id'] for a in content['annotations']] == ids
    assert content['annotations'] == [given[id_] for id_ in ids]
    # Images in the order of their poorest mask.
    expected = list(dict.fromkeys(given[id_]['image_id'] for id_ in ids))
    assert [image['id'] for image in content['images']] == expected
    assert content['images'][0]['licence'] == 'mine'
    assert content['categories'] == read('masks.json')['categories']
    assert lines[0].startswith(
        f'review/review.json: {len(ids)} of 7 masks, on 3 images, quality 0.00 to '
    )
    assert 'merge-back masks.json CORRECTED --images img' in lines[1]


def test_without_a_quality_the_agreement_ranks(data):
    content = read('masks.json')
    for one in content['annotations']:
        del one['quality']
    write('masks.json', content)
    (line, _) = review_masks('masks.json', 'img', 'review', count=3)
    assert [a['id'] for a in read('review/review.json')['annotations']] == [22, 13, 12]
    assert line.endswith(', agreement 0.00 to 0.36')


def correct_coco(larger):
    """The program numbers annotations and classes anew."""
    content = read('review/review.json')
    for number, one in enumerate(content['annotations'], 1):
        if one['id'] == 12:
            one['segmentation'] = encode_rle(larger)
        one.update(id=number, category_id=one['category_id'] * 10)
    for category in content['categories']:
        category['id'] *= 10
    # A person deletes the one that has no pixel, and draws one that nobody asked for.
    content['annotations'] = content['annotations'][1:]
    stray = dict(content['annotations'][0], id=9, segmentation=[[8, 8, 12, 8, 12, 10, 8, 10]])
    write('corrected.json', dict(content, annotations=[*content['annotations'], stray]))
    return 'corrected.json'


def correct_label_studio(larger):
    """Predictions of Label Studio become annotations where somebody submits them."""
    tasks = read('review/label-studio/tasks.json')
    # The first one has no mask at all, and is skipped.
    assert [task['predictions'][0]['score'] for task in tasks] == [0, 0.2, 0.4]
    for task in tasks[1:]:
        (prediction,) = task.pop('predictions')
        for result in prediction['result']:
            if result['id'] == '12':
                result['value']['rle'] = encode_brush(larger)
            result['id'] = f'a{result["id"]}'
        task['annotations'] = [dict(result=prediction['result'])]
    stray = json.loads(json.dumps(tasks[1]['annotations'][0]['result'][0]))
    stray['id'] = 'stray'
    stray['value']['rle'] = encode_brush(filled(8, 8, 12, 10))
    tasks[1]['annotations'][0]['result'].append(stray)
    write('export.json', [dict(tasks[0], annotations=[]), *tasks[1:]])
    return 'export.json'


def correct_labelme(larger):
    """Shapes are moved and added in the files themselves."""
    file = read('review/labelme/1.json')
    (shape,) = file['shapes']
    assert (shape['label'], shape['quality']) == ('cat', 0.4)
    shape['points'] = [[5, 4], [10, 4], [10, 10], [5, 10]]
    write('review/labelme/1.json', file)
    file = read('review/labelme/3.json')
    stray = [[8, 8], [12, 8], [12, 10], [8, 10]]
    file['shapes'].append(dict(label='cat', points=stray, shape_type='polygon', group_id=None))
    write('review/labelme/3.json', file)
    return 'review/labelme'


@pytest.mark.parametrize(
    ('to', 'correct'),
    [
        ('coco', correct_coco),
        ('label-studio', correct_label_studio),
        ('labelme', correct_labelme),
    ],
)
def test_file_to_file(data, capsys, to, correct):
    """One is made larger, into another; one that nobody asked for comes back too."""
    main(['review', 'masks.json', '--images', 'img', '--out', 'review', '--count', '3', '--to', to])
    larger = filled(5, 4, 10, 10)
    corrected = correct(larger)
    before_lines = len(capsys.readouterr().out.splitlines())
    assert before_lines == (2 if to == 'coco' else 3)
    main(['merge-back', 'masks.json', corrected, '--images', 'img', '--out', 'new.json'])
    assert capsys.readouterr().out.splitlines() == [
        'new.json: 2 of 7 masks are corrected ones; 1 others lost pixels to them',
        'left out, for they fit no object of their class: 1 in 3.png',
    ]
    before, after = by_id('masks.json'), by_id('new.json')
    assert list(after) == list(before)
    for id_ in (11, 21, 22, 23, 24):
        assert after[id_] == before[id_]
    # The bytes of what did not change, and the rest of the file.
    old = {a.id: bytes(a.text) for a in load_coco('masks.json').annotations}
    new = {a.id: bytes(a.text) for a in load_coco('new.json').annotations}
    assert all(new[id_] == old[id_] for id_ in (11, 21, 22, 23, 24))
    assert read('new.json')['images'] == read('masks.json')['images']
    assert np.array_equal(decoded(after[12]), larger)
    assert after[12]['mask_bbox'] == [5, 4, 5, 6] and after[12]['bbox'] == [5, 5, 5, 5]
    assert (after[12]['area'], after[13]['area']) == (30, 12)
    assert np.array_equal(decoded(after[31]), filled(0, 0, 5, 5))
    for id_ in (12, 31):
        assert (after[id_]['quality'], after[id_]['box_agreement']) == (1, 1)
    # Of the other's rows 2 to 4 the last one, as far as column 9, is the cat's now.
    expected = filled(7, 2, 12, 4) | filled(10, 4, 12, 5)
    assert np.array_equal(decoded(after[13]), expected)
    assert after[13]['quality'] == 0.6 and after[13]['mask_bbox'] == [7, 2, 5, 3]
    assert after[13]['box_agreement'] == pytest.approx(15 / 48)

    # True masks now: not handed out again, kept, and taught by.
    review_masks('new.json', 'img', 'again')
    assert [a['id'] for a in read('again/review.json')['annotations']] == [22, 13, 21, 11]
    true = {a.id for a in load_coco('new.json').objects if a.true_mask is not None}
    assert true == {12, 23, 31}
    assert load_proxies('new.json')[12].quality == 1
    samples = [
        dataset.get_data_info(index)
        for settings in (dict(proxy_file='new.json', min_quality=0.99), dict(use_masks=True))
        for dataset in [BoxInstanceDataset('new.json', dict(img='img'), **settings)]
        for index in range(len(dataset))
    ]
    supervised = [s['ann_id'] for s in samples if s['supervision'] == 'mask']
    assert supervised == [12, 23, 31, 12, 23, 31]


def test_masks_go_to_the_objects_that_they_fit_best(data):
    """Two objects of one class in nearly one box, their masks handed back in the other order."""
    content = read('masks.json')
    content['annotations'] = [
        annotation(1, 1, 3, (0, 0, 10, 10), filled(0, 0, 10, 5), 0.5, 0.5),
        annotation(2, 1, 3, (0, 0, 10, 10), filled(0, 5, 10, 10), 0.5, 0.5),
    ]
    write('masks.json', content)
    content['annotations'] = [
        dict(content['annotations'][1], id=1, segmentation=encode_rle(filled(0, 6, 10, 10))),
        dict(content['annotations'][0], id=2, segmentation=encode_rle(filled(0, 0, 10, 6))),
    ]
    write('corrected.json', content)
    merge_corrected('masks.json', 'corrected.json', 'img', 'new.json')
    after = by_id('new.json')
    assert np.array_equal(decoded(after[1]), filled(0, 0, 10, 6))
    assert np.array_equal(decoded(after[2]), filled(0, 6, 10, 10))


def test_what_cannot_be_handed_out(data):
    with pytest.raises(InputError, match='has no mask to hand out'):
        review_masks('masks.json', 'img', 'review', below=0.0)
    with pytest.raises(InputError, match='give one of --count, --share and --below'):
        review_masks('masks.json', 'img', 'review', count=3, below=0.3)
    for choice in (dict(count=0), dict(share=2), dict(below=-1)):
        with pytest.raises(InputError, match=f'--{next(iter(choice))} must be'):
            review_masks('masks.json', 'img', 'review', **choice)
    with pytest.raises(InputError, match="no format 'png'"):
        review_masks('masks.json', 'img', 'review', to='png')
    (data / 'img' / '3.png').unlink()
    with pytest.raises(InputError, match=r'3\.png of masks\.json does not exist'):
        review_masks('masks.json', 'img', 'review')
    assert not (data / 'review').exists()


def test_what_cannot_be_merged(data):
    def merge(changes=None, **fields):
        content = read('masks.json') | (changes or {})
        for one in content['annotations']:
            one.update(fields)
        write('corrected.json', content)
        merge_corrected('masks.json', 'corrected.json', 'img', 'new.json')

    with pytest.raises(InputError, match='fits an object of masks.json'):
        merge(category_id=7, segmentation=empty_rle((10, 12)))
    other = dict(read('masks.json')['images'][0], file_name='4.png')
    cv2.imwrite('img/4.png', np.zeros((10, 12, 3), np.uint8))
    with pytest.raises(InputError, match=r'has images that masks\.json has not: 4\.png'):
        merge(dict(images=[*read('masks.json')['images'], other | dict(id=4)]))
    with pytest.raises(InputError, match='mask of annotation 11 in .*corrected.json is broken'):
        merge(segmentation=[[1, 2, 3]])
    with pytest.raises(InputError, match='is the file of all masks'):
        merge_corrected('masks.json', 'masks.json', 'img', 'new.json')
    with pytest.raises(InputError, match='is an input file'):
        merge_corrected('masks.json', 'corrected.json', 'img', 'masks.json')
    content = read('masks.json')
    for one in content['annotations']:
        del one['box_agreement']
    write('raw.json', content)
    with pytest.raises(InputError, match='has raw masks, .* mmboxcaseg refine first'):
        merge_corrected('raw.json', 'corrected.json', 'img', 'new.json')
    assert not (data / 'new.json').exists()


def test_formats_of_the_option_are_those_that_there_are():
    assert _FORMATS == REVIEW_FORMATS
