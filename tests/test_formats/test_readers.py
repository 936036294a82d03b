"""Every reader on the same three boxes, and what each refuses."""

import json

import cv2
import numpy as np
import pytest

from mmboxcaseg.errors import InputError
from mmboxcaseg.formats import read_boxes

# a.png has 40x20 pixels, b.png 10x30; c.png, 8x8, has no box.
SIZES = dict(a=(40, 20), b=(10, 30), c=(8, 8))
CATEGORIES = [dict(id=1, name='cat'), dict(id=2, name='dog')]
EXPECTED = [
    # image, category, x, y, width, height
    ('a.png', 'dog', [4, 5, 20, 10]),
    ('a.png', 'cat', [0, 0, 40, 20]),
    ('b.png', 'cat', [1, 3, 5, 24]),
]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for name, (width, height) in SIZES.items():
        cv2.imwrite(str(folder / f'{name}.png'), np.zeros((height, width, 3), np.uint8))
    return folder


def write_csv(root):
    path = root / 'boxes.csv'
    path.write_text(
        'filename,width,height,class,xmin,ymin,xmax,ymax\n'
        'b.png,10,30,cat,1,3,6,27\n'
        'a.png,40,20,dog,4,5,24,15\n'
        'c.png,8,8,,,,,\n'
        'a.png,40,20,cat,0,0,40,20\n'
    )
    return path


def write_csv_of_other_names(root):
    path = root / 'boxes.csv'
    path.write_text(
        '\ufeffimage;label;x1;y1;x2;y2\n'
        'C:\\data\\b.png;cat;1;3;6;27\n../images/c.png;;;;;\n/mnt/x/a.png;dog;4;5;24;15\n'
        'a.png;cat;0;0;40.0;20\n'
    )
    return path


def voc(name, *boxes, more=''):
    width, height = SIZES[name]
    objects = ''.join(
        f'<object><name>{label}</name><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>'
        f'<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax>'
        f'<ymax>{box[3]}</ymax></bndbox>{more}</object>'
        for label, box in boxes
    )
    size = f'<size><width>{width}</width><height>{height}</height><depth>3</depth></size>'
    return f'<annotation><filename>{name}.png</filename>{size}{objects}</annotation>'


def write_voc(root):
    path = root / 'Annotations'
    path.mkdir(exist_ok=True)
    (path / 'a.xml').write_text(voc('a', ('dog', (4, 5, 24, 15)), ('cat', (0, 0, 40, 20))))
    (path / 'b.xml').write_text(voc('b', ('cat', (1, 3, 6, 27))))
    (path / 'c.xml').write_text(voc('c'))
    return path


def write_yolo(root):
    path = root / 'labels'
    path.mkdir(exist_ok=True)
    (path / 'a.txt').write_text('1 0.35 0.5 0.5 0.5\n0 0.5 0.5 1 1 0.9\n')
    (path / 'b.txt').write_text('0 0.35 0.5 0.500000 0.8\n\n')
    (root / 'data.yaml').write_text('train: ../images\nnc: 2\nnames: [cat, dog]\n')
    return root / 'data.yaml'


def write_yolo_folder(root):
    (root / 'classes.txt').write_text('cat\ndog\n')
    write_yolo(root).unlink()
    return root / 'labels'


def rectangle(label, x, y, width, height, size, **more):
    value = dict(x=x, y=y, width=width, height=height, rotation=0, rectanglelabels=[label])
    sides = dict(original_width=size[0], original_height=size[1])
    return dict(id='r', type='rectanglelabels', value=value | more, **sides)


def tasks():
    cancelled = dict(was_cancelled=True, result=[rectangle('dog', 0, 0, 100, 100, (40, 20))])
    return [
        dict(
            data=dict(image='/data/upload/1/0a1b2c3d-a.png'),
            annotations=[
                cancelled,
                dict(
                    result=[
                        rectangle('dog', 10, 25, 50, 50, (40, 20)),
                        dict(type='choices', value=dict(choices=['good'])),
                        rectangle('cat', 0, 0, 100, 100, (40, 20)),
                    ]
                ),
            ],
        ),
        dict(
            data=dict(image='/data/local-files/?d=x/b.png'),
            annotations=[dict(result=[rectangle('cat', 10, 10, 50, 80, (10, 30))])],
        ),
        dict(data=dict(image='s3://bucket/c.png'), annotations=[]),
    ]


def write_label_studio(root):
    path = root / 'export.json'
    path.write_text(json.dumps(tasks()))
    return path


def coco(**changes):
    sizes = {name: dict(width=w, height=h) for name, (w, h) in SIZES.items()}
    content = dict(
        info=dict(note='kept'),
        images=[
            dict(id=id_, file_name=f'{name}.png', license=3, **sizes[name])
            for id_, name in enumerate('abc', 1)
        ],
        categories=CATEGORIES,
        annotations=[
            dict(id=1, image_id=1, category_id=2, bbox=[4, 5, 20, 10], extra='x'),
            dict(id=2, image_id=1, category_id=1, bbox=[0, 0, 40, 20]),
            dict(id=3, image_id=2, category_id=1, bbox=[1, 3, 5, 24]),
        ],
    )
    return content | changes


def coco_writer(change=lambda content: content):
    def write(root):
        path = root / 'coco.json'
        content = coco()
        change(content)
        path.write_text(json.dumps(content))
        return path

    return write


def like_lvis(content):
    for image in content['images']:
        image['coco_url'] = f'http://images.cocodataset.org/train2017/{image.pop("file_name")}'


def like_objects365(content):
    for image in content['images']:
        image['file_name'] = f'images/v1/patch8/{image["file_name"]}'


def like_roboflow(content):
    # Its root often has the name of a class.
    root = dict(id=0, name='dog', supercategory='none')
    content['categories'] = [root, *(dict(c, supercategory='dog') for c in CATEGORIES)]


def without_sizes(content):
    for image in content['images']:
        del image['width'], image['height']


WRITERS = {
    'csv': (write_csv, 'csv'),
    'csv of other names': (write_csv_of_other_names, 'csv'),
    'voc': (write_voc, 'voc'),
    'folder above voc': (lambda root: write_voc(root).parent, 'voc'),
    'yolo': (write_yolo, 'yolo'),
    'yolo folder': (write_yolo_folder, 'yolo'),
    'label studio': (write_label_studio, 'label-studio'),
    'coco': (coco_writer(), 'coco'),
    'lvis': (coco_writer(like_lvis), 'coco'),
    'objects365': (coco_writer(like_objects365), 'coco'),
    'roboflow': (coco_writer(like_roboflow), 'coco'),
    'coco without sizes': (coco_writer(without_sizes), 'coco'),
}


@pytest.mark.parametrize('name', WRITERS)
def test_the_same_boxes_in_every_format(tmp_path, images, name):
    write, format = WRITERS[name]
    reading = read_boxes(write(tmp_path), images)
    assert reading.format == format
    coco = reading.coco
    assert [(image.id, image.file_name, (image.width, image.height)) for image in coco.images] == [
        (number, f'{name}.png', size) for number, (name, size) in enumerate(SIZES.items(), 1)
    ]
    assert [(c.id, c.name) for c in coco.categories] == [(1, 'cat'), (2, 'dog')]
    files = {image.id: image.file_name for image in coco.images}
    names = {category.id: category.name for category in coco.categories}
    found = [(files[a.image_id], names[a.category_id], list(a.bbox)) for a in coco.annotations]
    assert found == EXPECTED
    assert [a.id for a in coco.annotations] == [1, 2, 3]


def test_other_fields_of_coco_stay(tmp_path, images):
    read = read_boxes(coco_writer(like_lvis)(tmp_path), images).coco
    assert json.loads(bytes(read.top['info'])) == dict(note='kept')
    assert json.loads(bytes(read.top['images']))[0]['license'] == 3
    assert read.annotations[0].content()['extra'] == 'x'


def test_a_root_that_has_boxes_stays(tmp_path, images):
    def change(content):
        content['categories'] = [dict(id=2, name='dog'), dict(CATEGORIES[0], supercategory='dog')]

    coco = read_boxes(coco_writer(change)(tmp_path), images).coco
    assert [category.name for category in coco.categories] == ['dog', 'cat']


@pytest.mark.parametrize('write', [write_csv, write_voc])
def test_origin_of_one(tmp_path, images, write):
    path = write(tmp_path)
    if write is write_voc:
        (path / 'a.xml').write_text(voc('a', ('dog', (5, 6, 24, 15)), ('cat', (1, 1, 40, 20))))
        (path / 'b.xml').write_text(voc('b', ('cat', (2, 4, 6, 27))))
    else:
        path.write_text(
            'filename,class,xmin,ymin,xmax,ymax\n'
            'a.png,dog,5,6,24,15\na.png,cat,1,1,40,20\nb.png,cat,2,4,6,27\n'
        )
    coco = read_boxes(path, images, origin=1).coco
    assert [list(a.bbox) for a in coco.annotations] == [box for *_, box in EXPECTED]


def test_flags_of_voc(tmp_path, images):
    path = tmp_path / 'a.xml'
    more = '<truncated>0</truncated><difficult>1</difficult>'
    path.write_text(voc('a', ('dog', (4, 5, 24, 15)), more=more))
    (annotation,) = read_boxes(path, images).coco.annotations
    content = annotation.content()
    assert (content['difficult'], content['truncated'], content['area']) == (1, 0, 200)


def test_outlines_of_yolo_are_masks(tmp_path, images):
    path = write_yolo(tmp_path)
    (tmp_path / 'labels' / 'b.txt').write_text('1 0.1 0.1 0.6 0.1 0.6 0.9\n')
    annotation = read_boxes(path, images).coco.annotations[2]
    assert list(annotation.bbox) == [1, 3, 5, 24]
    assert annotation.segmentation == [pytest.approx([1, 3, 6, 3, 6, 27])]


def test_images_in_folders(tmp_path, images):
    (images / 'train').mkdir()
    (images / 'a.png').rename(images / 'train' / 'a.png')
    path = write_yolo(tmp_path)
    (tmp_path / 'labels' / 'train').mkdir()
    (tmp_path / 'labels' / 'a.txt').rename(tmp_path / 'labels' / 'train' / 'a.txt')
    coco = read_boxes(path, images).coco
    assert {image.file_name for image in coco.images} == {'b.png', 'c.png', 'train/a.png'}
    assert len(coco.annotations) == 3


def edit(write, name, old, new):
    """A writer whose file has another text."""

    def edited(root):
        path = write(root)
        file = root / name if name else path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))
        return path

    return edited


def write_text(name, text):
    def write(root):
        (root / name).write_text(text)
        return root / name

    return write


@pytest.mark.parametrize(
    ('write', 'message'),
    [
        (lambda root: root / 'no.csv', 'no.csv does not exist: give a file or'),
        (write_text('a.doc', ''), 'a.doc is of no format that is known; .* coco, voc, csv, yolo'),
        (lambda root: root, 'is of no format that is known'),
        (write_text('a.csv', ''), "a.csv has no column 'filename'"),
        (write_text('a.csv', 'filename,xmin,ymin,xmax\n'), "a.csv has no column 'ymax' but filen"),
        (edit(write_csv, '', '4,5,24', '4,x,24'), "line 3 of .*boxes.csv has ymin 'x', not a num"),
        (edit(write_csv, '', '4,5,24', '4,,24'), "line 3 of .*boxes.csv has ymin '', not a num"),
        (edit(write_csv, '', '4,5,24', '4,5,inf'), "line 3 of .* has xmax 'inf', not a number"),
        (edit(write_csv, '', '4,5,24', '4,5,2'), 'a box of a.png in .*boxes.csv ends before it be'),
        (edit(write_csv, '', 'b.png', 'd.png'), 'image d.png of .*boxes.csv does not exist in'),
        (edit(write_csv, '', '10,30', '30,10'), 'b.png is 10x30, but .*boxes.csv says 30x10: the'),
        (edit(write_voc, 'Annotations/a.xml', '<ann', '<an'), 'a.xml cannot be read as XML: mism'),
        (write_text('a.xml', '<annotations/>'), 'a.xml is no Pascal VOC annotation: its root is <'),
        (
            edit(write_voc, 'Annotations/a.xml', '<ymin>5', '<ymin>'),
            'object 1 of .*a.xml has ymin None, not a number',
        ),
        (edit(write_voc, 'Annotations/a.xml', 'dog', ''), 'object 1 of .*a.xml has no <name>'),
        (edit(write_yolo, 'data.yaml', 'names', 'name'), "data.yaml has no 'names' of the classes"),
        (edit(write_yolo, 'labels/a.txt', '1 0.35', '2 0.35'), 'a.txt has class 2, but there are'),
        (edit(write_yolo, 'labels/a.txt', '0.35', '14'), 'line 1 of .*a.txt has numbers outside 0'),
        (edit(write_yolo, 'labels/a.txt', '0.35 0.5', '0.35'), "a.txt is '1 0.35 0.5 0.5', not a"),
        (write_text('data.yaml', 'names: [cat]'), 'no image of .*images has a label file'),
        (write_text('a.json', '[{"id": 1}]'), 'a.json is no JSON export of Label Studio'),
        (edit(write_label_studio, '', '"rotation": 0', '"rotation": 9'), None),
        (
            edit(write_label_studio, '', '"y": 25, "width": 50, "height": 50, "rotation": 0',
                 '"y": 25, "width": 50, "height": 50, "rotation": 9'),
            'rectangle r of a.png in .*export.json is turned',
        ),
        (
            edit(write_label_studio, '', '"original_width": 10', '"original_width": 30'),
            'rectangle r of b.png .* is of an image of 30x30, but the file is 10x30',
        ),
        (write_text('a.json', '{}'), "a.json is not a COCO file: it has no list 'images'"),
        (coco_writer(lambda content: content['images'][0].pop('file_name')), 'image 1 of .* has n'),
        (coco_writer(lambda c: c['annotations'][0].pop('bbox')), "annotation 1 .* has no 'bbox'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path, images, write, message):
    path = write(tmp_path)
    if message is None:  # of an annotation that was cancelled
        read_boxes(path, images)
        return
    with pytest.raises(InputError, match=message):
        read_boxes(path, images)


def test_a_format_may_be_said(tmp_path, images):
    path = write_csv(tmp_path)
    assert read_boxes(path.rename(tmp_path / 'boxes.txt'), images, 'csv').format == 'csv'
    with pytest.raises(InputError, match="there is no format 'xls': take one of coco, voc, csv"):
        read_boxes(tmp_path / 'boxes.txt', images, 'xls')
    with pytest.raises(InputError, match='image folder .*none does not exist'):
        read_boxes(tmp_path / 'boxes.txt', tmp_path / 'none', 'csv')
