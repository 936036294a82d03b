"""Small sets: what is drawn, and images, boxes and masks of half the size by hand."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from mmboxcaseg.coco import Annotation
from mmboxcaseg.converters.mini import (
    convert_coco_mini,
    convert_duts_mini,
    shrink_annotation,
    shrunk_shape,
)
from mmboxcaseg.errors import InputError

# Of 4x8 pixels; halves to 2x4. The two ones of the last column are less than half of their pixel.
MASK = [
    [1, 1, 1, 1, 0, 0, 0, 0],
    [1, 1, 1, 1, 0, 0, 0, 0],
    [0, 0, 1, 1, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 0, 0, 0],
]
HALF = [[1, 1, 0, 0], [0, 1, 0, 0]]
SPECK = [[1, 0, 0, 0, 0, 0, 0, 0], *[[0] * 8] * 3]


def runs(mask):
    """An uncompressed RLE, column by column, ground first."""
    counts, value = [0], 0
    for pixel in np.array(mask).T.ravel():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return dict(size=[4, 8], counts=counts)


@pytest.fixture
def coco(tmp_path):
    """Six images of 4x8, left half black and right half white; number 3 is small already."""
    (tmp_path / 'full').mkdir()
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 4:] = 255
    images = []
    for number in range(1, 7):
        image = pixels[:2, 2:6] if number == 3 else pixels
        cv2.imwrite(str(tmp_path / 'full' / f'{number}.png'), image)
        images.append(
            dict(
                id=number,
                file_name=f'{number}.png',
                height=image.shape[0],
                width=image.shape[1],
                license=1,
            )
        )
    annotation = dict(category_id=7, iscrowd=0, area=99, keypoints=[8, 4, 2])
    annotations = [
        dict(annotation, id=10, image_id=1, bbox=[0, 0, 5, 3], segmentation=runs(MASK)),
        dict(annotation, id=11, image_id=1, bbox=[3, 1, 4, 2]),
        dict(annotation, id=12, image_id=2, bbox=[0, 0, 1, 1], segmentation=runs(SPECK)),
        dict(annotation, id=13, image_id=3, bbox=[1, 0, 2, 2]),
        dict(annotation, id=14, image_id=4, bbox=[0, 0, 5, 3], segmentation=runs(MASK), iscrowd=1),
    ]
    content = dict(
        images=images,
        annotations=annotations,
        categories=[dict(id=7, name='cat', supercategory='animal')],
        licenses=[dict(id=1)],
    )
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    return tmp_path


def draw(folder, **changes):
    options = dict(split='val', count=6, longest=4, seed=0) | changes
    out = folder / options.pop('out', 'mini')
    lines = convert_coco_mini(folder / 'boxes.json', folder / 'full', out, **options)
    path = out / 'annotations' / f'instances_{options["split"]}.json'
    return lines, json.loads(path.read_text()), out / options['split']


def decoded(segmentation):
    from pycocotools import mask

    return mask.decode(segmentation).tolist()


def test_boxes_and_masks_of_half_the_size(coco):
    lines, content, folder = draw(coco)
    assert content.keys() == {'images', 'annotations', 'categories'}
    assert content['images'] == [
        dict(id=number, file_name=f'{number}.png', height=2, width=4) for number in range(1, 7)
    ]
    assert content['categories'] == [dict(id=7, name='cat', supercategory='animal')]
    masked, boxed, same, crowd = content['annotations']
    assert decoded(masked.pop('segmentation')) == decoded(crowd.pop('segmentation')) == HALF
    common = dict(category_id=7, iscrowd=0)
    assert masked == dict(common, id=10, image_id=1, bbox=[0, 0, 2.5, 1.5], area=3)
    assert boxed == dict(common, id=11, image_id=1, bbox=[1.5, 0.5, 2, 1], area=2)
    assert same == dict(common, id=13, image_id=3, bbox=[1, 0, 2, 2], area=4)
    assert crowd == dict(masked, id=14, image_id=4, iscrowd=1)
    assert lines[0].endswith('instances_val.json: 6 of 6 images, 4 annotations')
    assert lines[1:] == ['  left out: 1 whose mask has no pixel at this size']
    assert cv2.imread(str(folder / '1.png'))[:, :, 0].tolist() == [[0, 0, 255, 255]] * 2
    # One that is small enough is not written anew.
    assert (folder / '3.png').read_bytes() == (coco / 'full' / '3.png').read_bytes()


def test_each_side_has_its_scale():
    annotation = Annotation(id='a', image_id=1, category_id=2, bbox=(2, 1.5, 4, 1.5), iscrowd=None)
    assert shrunk_shape((3, 8), 4) == (2, 4)
    row = shrink_annotation(annotation, (3, 8), (2, 4), None)
    assert row == dict(id='a', image_id=1, category_id=2, bbox=[1, 1, 2, 1], area=2, iscrowd=0)


def test_the_seed_chooses(coco):
    def chosen(**changes):
        return [image['id'] for image in draw(coco, count=3, **changes)[1]['images']]

    first = chosen()
    assert first == sorted(first) and len(set(first)) == 3
    assert chosen() == first
    others = {tuple(chosen(seed=seed, out=f'mini{seed}')) for seed in range(1, 9)}
    assert len(others) > 1


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(count=7), r'boxes.json has 6 images: give a --count up to that'),
        (dict(count=0), '^--count must be a whole number of at least 1, not 0'),
        (dict(longest=0), '^--longest must be a whole number of at least 1, not 0'),
        (dict(seed=-1), '^--seed must be 0 or more, not -1'),
        (dict(out='full'), r'full/val is or lies in .*full, which holds the data to read'),
    ],
)
def test_what_cannot_be_drawn(coco, changes, message):
    with pytest.raises(InputError, match=message):
        draw(coco, **changes)


def test_an_image_of_another_size_is_named(coco):
    cv2.imwrite(str(coco / 'full' / '2.png'), np.zeros((3, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r'full/2\.png has another size than .*boxes\.json says'):
        draw(coco)


def test_another_file_is_not_overwritten(coco):
    own = coco / 'mini' / 'val' / '1.png'
    own.parent.mkdir(parents=True)
    own.write_text('mine')
    with pytest.raises(InputError, match=r'val/1\.png is there and differs: remove it or'):
        draw(coco)
    assert own.read_text() == 'mine'


def test_two_names_that_become_one_are_refused(coco):
    (coco / 'full' / 'deep').mkdir()
    (coco / 'full' / '2.png').rename(coco / 'full' / 'deep' / '1.png')
    text = (coco / 'boxes.json').read_text().replace('"2.png"', '"deep/1.png"')
    (coco / 'boxes.json').write_text(text)
    with pytest.raises(InputError, match='has images of the same name in several folders'):
        draw(coco)


@pytest.fixture
def duts(tmp_path):
    for folder in ('DUTS-TR-Image', 'DUTS-TR-Mask'):
        (tmp_path / 'duts' / folder).mkdir(parents=True)
    for name in 'abc':
        image, mask = np.zeros((4, 8, 3), np.uint8), np.array(MASK, np.uint8) * 255
        cv2.imwrite(str(tmp_path / 'duts' / 'DUTS-TR-Image' / f'{name}.jpg'), image)
        cv2.imwrite(str(tmp_path / 'duts' / 'DUTS-TR-Mask' / f'{name}.png'), mask)
    return tmp_path / 'duts'


def test_pairs_of_half_the_size(duts, tmp_path):
    out = tmp_path / 'mini'
    options = dict(count=2, longest=4, seed=0)
    assert convert_duts_mini(duts, out, **options) == [f'{out}: 2 of 3 pairs']
    images = sorted(path.stem for path in (out / 'images').glob('*.jpg'))
    assert len(images) == 2 and images == sorted(path.stem for path in (out / 'masks').iterdir())
    with Image.open(out / 'masks' / f'{images[0]}.png') as mask:
        assert mask.mode == '1' and np.array(mask).astype(int).tolist() == HALF
    with Image.open(out / 'images' / f'{images[0]}.jpg') as image:
        assert image.size == (4, 2)
    # Again, the same; other pairs beside them would be trained on too.
    convert_duts_mini(duts, out, **options)
    (out / 'images' / 'z.jpg').touch()
    with pytest.raises(InputError, match='images holds 1 files that are not kept now, such as z'):
        convert_duts_mini(duts, out, **options)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(count=4), 'duts has 3 pairs: give a --count up to that'),
        (dict(longest=1), r'mask .*\.png has no pixel at this size: give a larger --longest'),
    ],
)
def test_pairs_that_cannot_be_drawn(duts, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        convert_duts_mini(duts, tmp_path / 'mini', **dict(count=2, longest=4, seed=0) | changes)
