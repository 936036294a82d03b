import copy

import cv2
import numpy as np
import pytest

from mmboxcaseg.coco.checks import check_bboxes, check_images, image_paths
from mmboxcaseg.errors import InputError

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
        check_images(boxes, tmp_path / 'none')
    with pytest.raises(InputError, match='image .*a.jpg of boxes.json does not exist'):
        check_images(boxes, tmp_path)
    (tmp_path / 'a.jpg').write_text('no image')
    with pytest.raises(InputError, match='a.jpg cannot be decoded'):
        check_images(boxes, tmp_path)
    # The other image has no box.
    cv2.imwrite(str(tmp_path / 'a.jpg'), np.zeros((6, 8, 3), np.uint8))
    check_images(boxes, tmp_path)


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
