import copy
import json
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from mmboxcaseg.coco.annotations import parse_coco
from mmboxcaseg.coco.checks import check_bboxes, check_images, check_true_masks, image_paths
from mmboxcaseg.coco.wrong_entries import WrongEntries
from mmboxcaseg.errors import InputError
from mmboxcaseg.images import DEFAULT_READER, ImageReader

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


@pytest.mark.parametrize('bbox', [[8, 0, 2, 2], [0, 6, 2, 2], [-2, 0, 2, 2], [0, -5, 2, 2]])
def test_check_bboxes_refuses_a_box_outside(as_coco, bbox):
    with pytest.raises(InputError, match=r'annotation 10 of boxes\.json .*outside .*a\.jpg'):
        check_bboxes(as_coco(coco_with(bbox=bbox)))
    check_bboxes(as_coco(coco_with(bbox=bbox, iscrowd=1)))


def test_check_bboxes_takes_a_box_over_the_border(as_coco):
    check_bboxes(as_coco(coco_with(bbox=[-1, -1, 20, 20])))


def test_check_bboxes_refuses_parts_of_the_image(as_coco):
    coco = coco_with(bbox=[0.25, 0, 0.75, 1])
    check_bboxes(as_coco(coco))
    coco['annotations'] = coco['annotations'][:1]
    with pytest.raises(
        InputError, match='all boxes of boxes.json lie between 0 and 1, so they are'
    ):
        check_bboxes(as_coco(coco))
    coco['images'][0]['height'] = 1  # where a pixel is all there is
    check_bboxes(as_coco(coco))


def test_check_bboxes_refuses_a_file_without_an_object(as_coco):
    crowd = dict(COCO['annotations'][0], iscrowd=1)
    with pytest.raises(InputError, match=r'boxes\.json holds no box'):
        check_bboxes(as_coco(dict(COCO, annotations=[crowd])))


def test_check_images(as_coco, tmp_path):
    boxes = as_coco(dict(COCO, annotations=COCO['annotations'][:1]))
    with pytest.raises(InputError, match='image folder .*none does not exist'):
        check_images(boxes, tmp_path / 'none', DEFAULT_READER)
    with pytest.raises(InputError, match='image .*a.jpg of boxes.json does not exist'):
        check_images(boxes, tmp_path, DEFAULT_READER)
    (tmp_path / 'a.jpg').write_text('no image')
    with pytest.raises(InputError, match='a.jpg cannot be decoded'):
        check_images(boxes, tmp_path, DEFAULT_READER)
    # The other image has no box.
    cv2.imwrite(str(tmp_path / 'a.jpg'), np.zeros((6, 8, 3), np.uint8))
    check_images(boxes, tmp_path, DEFAULT_READER)


@pytest.mark.parametrize(
    ('name', 'present'),
    [
        ('sub\\a photo.jpg', 'a photo.jpg'),
        ('a%20photo.jpg', 'a photo.jpg'),
        ('cafe\u0301.jpg', 'caf\u00e9.jpg'),
        ('a.png', 'a.jpg'),
        ('A.JPG', 'a.jpg'),
        ('IMG_0001.jpeg', 'IMG_0001.jpg'),
    ],
)
def test_the_nearest_name_is_suggested(as_coco, tmp_path, name, present):
    (tmp_path / present).touch()
    (tmp_path / 'other.txt').touch()
    coco = as_coco(dict(COCO, images=[COCO['images'][0] | dict(file_name=name), COCO['images'][1]]))
    with pytest.raises(InputError, match=f'does not exist: {present} lies in {tmp_path}; correct'):
        check_images(coco, tmp_path, DEFAULT_READER)


@pytest.mark.parametrize('name', ['sub\\a.jpg', 'a.jpg', 'SUB/A.JPG', 'old/a.jpg', '../sub/a.png'])
def test_the_folder_below_is_suggested(as_coco, tmp_path, name):
    (tmp_path / 'images' / 'sub').mkdir(parents=True)
    (tmp_path / 'images' / 'sub' / 'a.jpg').touch()
    coco = as_coco(dict(COCO, images=[COCO['images'][0] | dict(file_name=name), COCO['images'][1]]))
    message = f'does not exist: sub/a.jpg lies in {tmp_path}/images; correct'
    if '..' in name:  # what lies outside is not looked at
        message = 'leads out of'
    with pytest.raises(InputError, match=message):
        check_images(coco, tmp_path / 'images', DEFAULT_READER)


@pytest.mark.parametrize('target', ['a.jpg', 'nothing'])
def test_a_link_that_leads_nowhere_is_named(as_coco, tmp_path, target):
    (tmp_path / 'a.jpg').symlink_to(tmp_path / target)
    images = [COCO['images'][0] | dict(file_name='a.jpg'), COCO['images'][1]]
    with pytest.raises(InputError, match='does not exist: it is a link that leads nowhere'):
        check_images(as_coco(dict(COCO, images=images)), tmp_path, DEFAULT_READER)


@pytest.fixture
def warnings(monkeypatch):
    said = []
    monkeypatch.setattr('mmboxcaseg.coco.checks.warn_once', said.append)
    return said


def save(path, pixels, orientation=1):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


def test_frames_are_compared_before_a_run(as_coco, tmp_path, warnings):
    boxes = as_coco(dict(COCO, annotations=COCO['annotations'][:1]))
    save(tmp_path / 'a.jpg', np.zeros((8, 6, 3), np.uint8), orientation=6)
    check_images(boxes, tmp_path, ImageReader(exif=True))
    with pytest.raises(InputError, match=r'a\.jpg is stored as 6x8 and turned to 8x6 .* --exif'):
        check_images(boxes, tmp_path, DEFAULT_READER)
    # By half a turn the size says nothing.
    save(tmp_path / 'a.jpg', np.zeros((6, 8, 3), np.uint8), orientation=3)
    check_images(boxes, tmp_path, DEFAULT_READER)
    assert len(warnings) == 1 and 'EXIF turns 1 images of boxes.json, such as' in warnings[0]


def test_deep_images_are_told(as_coco, tmp_path, warnings):
    boxes = as_coco(dict(COCO, annotations=COCO['annotations'][:1]))
    (tmp_path / 'a.jpg').write_bytes(cv2.imencode('.png', np.zeros((6, 8), np.uint16))[1].tobytes())
    check_images(boxes, tmp_path, DEFAULT_READER)
    assert len(warnings) == 1 and 'have more than 8 bits: their lowest and highest' in warnings[0]


@pytest.mark.parametrize(
    ('boxes', 'words'),
    [
        ([[4, 3, 8, 6], [1, 1, 7, 5]], 'probably x1, y1, x2, y2, where x, y, width, height are'),
        ([[1, 4, 4, 4], [0, 0, 4, 4]], 'probably of photographs as EXIF turns them'),
        ([[0, 0, 4, 4], [7, 0, 4, 4]], '1 boxes of boxes.json lie outside their images for more'),
        ([[0, 0, 4, 4], [0, 0, 4, 4]], 'annotations 0 and 1 of boxes.json are the same box twice'),
    ],
)
def test_boxes_that_are_probably_not_meant_so(as_coco, warnings, boxes, words):
    rows = [dict(id=n, image_id=7, category_id=1, bbox=box) for n, box in enumerate(boxes)]
    coco = as_coco(dict(COCO, annotations=rows))
    check_bboxes(coco)
    assert words in warnings[0]
    with pytest.raises(InputError, match=re.escape(words)):
        check_bboxes(coco, strict=True)


def test_a_box_outside_is_told_with_the_cause(as_coco):
    rows = [dict(id=n, image_id=7, category_id=1, bbox=b) for n, b in enumerate([[2, 6, 3, 2]])]
    with pytest.raises(InputError, match=r'box \[2, 6, 3, 2\] outside its .* as EXIF turns them'):
        check_bboxes(as_coco(dict(COCO, annotations=rows)))


def test_a_file_of_crowds_alone_is_told_so(as_coco):
    crowd = dict(COCO['annotations'][0], iscrowd='1')
    with pytest.raises(InputError, match='holds no box .*: 1 of 1 annotations is left out: 1 with'):
        check_bboxes(as_coco(dict(COCO, annotations=[crowd])))


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('../out.png', 'leads out of'),
        ('{root}/out.png', 'leads out of'),
        ('link.png', 'is or lies behind a link from'),
        ('folder/out.png', 'is or lies behind a link from'),
        ('loop.png', 'does not exist'),
        ('loop.png/a.png', 'does not exist'),
        ('x' * 5000, 'does not exist'),
        ('d/' * 3000 + 'a.png', 'does not exist'),
        ('a.png\0', r'a\.png\\x00 of .* does not exist'),
        ('\x1b[2J\nerror: forged', r'\\x1b\[2J\\nerror: forged of .* does not exist'),
        ('', 'does not exist'),
    ],
)
def test_hostile_names_of_images(as_coco, tmp_path, name, message):
    folder = tmp_path / 'img'
    folder.mkdir()
    for path in (folder / 'a.png', tmp_path / 'out.png'):
        path.touch()
    (folder / 'link.png').symlink_to('../out.png')
    (folder / 'folder').symlink_to('..')
    (folder / 'loop.png').symlink_to('loop.png')
    names = ['a.png', f'{folder}/a.png', '../img/a.png', name.format(root=tmp_path)]
    images = [dict(id=i, file_name=n, width=4, height=4) for i, n in enumerate(names)]
    coco = as_coco(dict(images=images, annotations=[], categories=[]))
    with pytest.raises(InputError, match=message):
        image_paths(coco.images, folder, 'boxes.json')
    assert len(image_paths(coco.images[:3], folder, 'boxes.json')) == 3


def test_names_of_many_folders_are_looked_up_once_a_folder(as_coco, tmp_path, monkeypatch):
    names = [f'{folder}/{number}.png' for folder in 'ab' for number in range(9)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    images = [dict(id=i, file_name=n, width=4, height=4) for i, n in enumerate(names)]
    coco = as_coco(dict(images=images, annotations=[], categories=[]))
    monkeypatch.setattr('os.path.isfile', None)
    assert list(image_paths(coco.images, tmp_path, 'x').values()) == [
        str(tmp_path / name) for name in names
    ]


def test_few_boxes_that_are_wrong_are_left_out_many_are_refused(as_coco):
    def boxes(*changed):
        own = [*changed, *([n % 5, 0, 2, 3 + n / 20] for n in range(len(changed), 40))]
        rows = [dict(id=n, image_id=7, category_id=1, bbox=box) for n, box in enumerate(own)]
        return as_coco(dict(COCO, annotations=rows))

    outside, beside = [9, 0, 2, 2], [7, 0, 4, 2]
    # The same box twice: the first one stays.
    wrong_ones = [outside, [0, -4, 2, 2], beside, [1, 0, 2, 2], [1, 0, 2, 2]]
    for strict, gone in ((False, {0, 1}), (True, {0, 1, 2, 4})):
        coco, wrong = boxes(*wrong_ones), WrongEntries(skip=True)
        check_bboxes(coco, strict=strict, wrong=wrong)
        assert {a.id for a in coco.annotations} == {*range(40)} - gone
        assert [entry['annotation'] for entry in wrong.found] == sorted(gone)
    for wrong_one in (outside, beside):
        with pytest.raises(InputError, match='outside'):
            check_bboxes(boxes(*[wrong_one] * 5), strict=True, wrong=WrongEntries(skip=True))


def test_annotations_with_a_broken_mask_are_left_out(as_coco):
    coco = as_coco(coco_with(segmentation=dict(size=[6, 8], counts=[1, 2])))
    with pytest.raises(InputError, match='mask of annotation 10 in boxes.json is broken'):
        check_true_masks(coco)
    wrong = WrongEntries(skip=True)
    check_true_masks(coco, wrong)
    assert [a.id for a in coco.annotations] == [12, 11]
    assert [entry['reason'] for entry in wrong.found] == ['broken masks']


def test_what_has_one_id_is_left_out():
    content = copy.deepcopy(COCO)
    content['images'].append(dict(id=7, file_name='c.jpg', width=8, height=6))
    content['annotations'].append(dict(content['annotations'][1], bbox=[0, 0, 3, 3]))
    data = json.dumps(content).encode()
    with pytest.raises(InputError, match="the id 7 twice in 'images'"):
        parse_coco(data, 'a.json')
    wrong = WrongEntries(skip=True)
    coco = parse_coco(data, 'a.json', wrong=wrong)
    assert [image.id for image in coco.images] == [3]
    assert json.loads(bytes(coco.top['images'])) == COCO['images'][1:]
    # Whose the boxes of image 7 are is not known; of the others the first one stays.
    assert [(a.id, list(a.bbox)) for a in coco.annotations] == [(12, [1, 1, 2, 2])]
    assert len(wrong.found) == 5
    content['annotations'] = content['annotations'][::2]
    with pytest.raises(InputError, match='a.json holds no box that is right: 2 ids that are ther'):
        parse_coco(json.dumps(content).encode(), 'a.json', wrong=WrongEntries(skip=True))
