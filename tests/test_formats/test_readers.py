"""Every reader on the same three boxes, and what each refuses."""

import base64
import csv
import json
import re
import unicodedata

import cv2
import numpy as np
import pytest

from mmboxcaseg.coco.wrong_entries import WrongEntries
from mmboxcaseg.errors import InputError
from mmboxcaseg.formats import read_boxes
from mmboxcaseg.proxy import decode_rle

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
    return dict(id=f'r{x}', type='rectanglelabels', value=value | more, **sides)


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


def write_cvat(root):
    path = root / 'annotations.xml'
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta/>'
        '<image id="0" name="task/b.png" width="10" height="30">'
        '<box label="cat" source="manual" occluded="0" xtl="1.00" ytl="3.00" xbr="6.00" ybr="27.00"'
        ' z_order="0"></box></image>'
        '<image id="1" name="a.png" width="40" height="20"><tag label="good" source="manual"></tag>'
        '<box label="dog" occluded="1" xtl="4" ytl="5" xbr="24" ybr="15" z_order="0">'
        '<attribute name="sex">f</attribute></box>'
        '<box label="cat" occluded="0" xtl="0" ytl="0" xbr="40" ybr="20" rotation="0"></box>'
        '</image>'
        '<image id="2" name="c.png" width="8" height="8"></image></annotations>'
    )
    return path


def labelme(name, *shapes):
    """A file of LabelMe with shapes of label, type, points and further fields."""
    width, height = SIZES[name]
    listed = [
        dict(dict(label=label, shape_type=kind, points=points, group_id=None, flags={}), **more)
        for label, kind, points, more in shapes
    ]
    paths = dict(imagePath=f'..\\images\\{name}.png', imageData=None)
    return dict(version='5.5', shapes=listed, imageHeight=height, imageWidth=width, **paths)


def write_labelme(root):
    path = root / 'labelme'
    path.mkdir()
    dog = ('dog', 'rectangle', [[24.0, 5.0], [4.0, 15.0]], {})  # drawn from the upper right
    four = [[0.0, 0.0], [40.0, 0.0], [40.0, 20.0], [0.0, 20.0]]  # as X-AnyLabeling has them
    files = dict(
        a=labelme('a', dog, ('cat', 'rectangle', four, {})),
        b=labelme('b', ('cat', 'rectangle', [[1, 3], [6, 27]], {})),
        c=labelme('c'),
    )
    for name, content in files.items():
        (path / f'{name}.json').write_text(json.dumps(content))
    (path / 'settings.json').write_text('{}')
    return path


def via(more=()):
    def region(x, y, width, height, label):
        shape = dict(name='rect', x=x, y=y, width=width, height=height)
        return dict(shape_attributes=shape, region_attributes=dict(label=label, note=''))

    regions = dict(
        b=[region(1, 3, 5, 24, 'cat')],
        a=[region(4, 5, 20, 10, 'dog'), region(0, 0, 40, 20, 'cat'), *more],
        c=[],
    )
    return {
        f'{name}.png123': dict(filename=f'{name}.png', size=123, regions=own, file_attributes={})
        for name, own in regions.items()
    }


def write_via(root):
    path = root / 'via.json'
    path.write_text(json.dumps(via()))
    return path


def write_via_project(root):
    path = root / 'project.json'
    entries = via()
    # VIA 1 numbers regions; a check box has all its values.
    numbered = dict(enumerate(entries['b.png123']['regions']))
    numbered[0]['region_attributes'] = dict(label=dict(dog=False, cat=True))
    entries['b.png123']['regions'] = numbered
    path.write_text(json.dumps(dict(_via_settings={}, _via_img_metadata=entries)))
    return path


def write_via_csv(root):
    path = root / 'via.csv'
    with path.open('w', newline='') as file:
        rows = csv.writer(file)
        columns = 'file_size,file_attributes,region_count,region_id'.split(',')
        rows.writerow(['filename', *columns, 'region_shape_attributes', 'region_attributes'])
        for entry in via().values():
            head = [entry['filename'], 123, '{}', len(entry['regions'])]
            for number, region in enumerate(entry['regions']):
                rows.writerow([*head, number, *map(json.dumps, region.values())])
            if not entry['regions']:
                rows.writerow([*head, 0, '{}', '{}'])
    return path


def write_open_images(root):
    (root / 'class-descriptions-boxable.csv').write_text('/m/01,dog\n/m/02,cat\n')
    path = root / 'train-annotations-bbox.csv'
    path.write_text(
        'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,'
        'IsDepiction,IsInside\n'
        'b,xclick,/m/02,1,0.1,0.6,0.1,0.9,0,1,0,0,-1\n'
        'elsewhere,xclick,/m/02,1,0,1,0,1,0,0,0,0,0\n'
        'a,xclick,/m/01,1,0.1,0.6,0.25,0.75,1,0,0,0,0\n'
        'a,xclick,/m/02,1,0,1,0,1,0,0,0,0,0\n'
    )
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
    'cvat': (write_cvat, 'cvat'),
    'labelme': (write_labelme, 'labelme'),
    'via': (write_via, 'via'),
    'via project': (write_via_project, 'via'),
    'via csv': (write_via_csv, 'via'),
    'open images': (write_open_images, 'open-images'),
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
        (number, f'{stem}.png', size)
        for number, (stem, size) in enumerate(SIZES.items(), 1)
        if stem != 'c' or format != 'open-images'  # which names no image without a box
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


TRIANGLE = [1, 2, 6, 2, 6, 10]


def draw_polygon(format, root, images):
    """A file of each format with a polygon on b.png, and what else it leaves out."""
    points = list(zip(TRIANGLE[::2], TRIANGLE[1::2], strict=True))
    if format == 'cvat':
        path = write_cvat(root)
        shapes = '<polygon label="cat" occluded="0" points="1,2;6,2;6,10"/><points label="cat"/>'
        path.write_text(path.read_text().replace('<image id="1"', f'{shapes}<image id="1"'))
        path.write_text(path.read_text().replace(f'</image>{shapes}', f'{shapes}</image>'))
        return path, {"shapes of kind 'points'": 1}
    if format == 'labelme':
        path = write_labelme(root) / 'b.json'
        circle = ('cat', 'circle', [[2, 2], [3, 3]], {})
        path.write_text(json.dumps(labelme('b', ('cat', 'polygon', points, {}), circle)))
        return path, {"shapes of kind 'circle'": 1}
    if format == 'via':
        path = write_via(root)
        content = via()
        regions = content['b.png123']['regions']
        shape = dict(name='polygon', all_points_x=TRIANGLE[::2], all_points_y=TRIANGLE[1::2])
        regions.append(dict(shape_attributes=shape, region_attributes=dict(label='cat')))
        regions.append(dict(shape_attributes=dict(name='circle'), region_attributes={}))
        regions.append(regions[-1] | dict(region_attributes=dict(label='cat')))
        path.write_text(json.dumps(content))
        return path, {'boxes without a label': 1, "shapes of kind 'circle'": 1}
    path = write_label_studio(root)
    content = tasks()
    parts = [[x * 10, y / 0.3] for x, y in points]
    result = content[1]['annotations'][0]['result']
    result.append(dict(id='p', value=dict(points=parts, polygonlabels=['cat'])))
    result.append(dict(id='k', value=dict(x=3, keypointlabels=['cat'])))
    result.append(dict(id='u', type='rectangle', value=dict(x=1, y=1, width=5, height=5)))
    content[1]['annotations'].append(dict(result=[]))
    path.write_text(json.dumps(content))
    return path, {
        'boxes without a label': 1,
        'second annotations of a task': 1,
        'shapes of other kinds': 1,
    }


@pytest.mark.parametrize('format', ['cvat', 'labelme', 'via', 'label-studio'])
def test_polygons_are_masks_and_other_shapes_are_counted(tmp_path, images, format):
    path, left_out = draw_polygon(format, tmp_path, images)
    reading = read_boxes(path, images)
    assert reading.format == format and reading.left_out == left_out
    annotation = reading.coco.annotations[-1]
    assert list(annotation.bbox) == pytest.approx([1, 2, 5, 8])
    assert annotation.segmentation == [pytest.approx(TRIANGLE)]
    assert annotation.true_mask


def test_parts_of_a_group_are_one_object(tmp_path, images):
    path = tmp_path / 'b.json'
    parts = [[1, 2], [3, 2], [3, 5]], [[5, 6], [9, 6], [9, 20]]
    shapes = [('cat', 'polygon', part, dict(group_id=7)) for part in parts]
    shapes.append(('dog', 'polygon', parts[0], dict(group_id=7)))
    shapes += [('cat', 'rectangle', part[::2], dict(group_id=7)) for part in parts]
    path.write_text(json.dumps(labelme('b', *shapes)))
    cat, dog, *boxes = read_boxes(path, images).coco.annotations
    assert cat.segmentation == [[1, 2, 3, 2, 3, 5], [5, 6, 9, 6, 9, 20]]
    assert list(cat.bbox) == [1, 2, 8, 18] and list(dog.bbox) == [1, 2, 2, 3]
    assert [list(box.bbox) for box in boxes] == [[1, 2, 2, 3], [5, 6, 4, 14]]


MASK = np.array([[0, 1, 1], [1, 1, 0]], bool)  # at x 2, y 3


def write_mask(format, root):
    if format == 'labelme':
        png = base64.b64encode(cv2.imencode('.png', MASK.astype(np.uint8))[1].tobytes()).decode()
        path = root / 'b.json'
        shape = ('cat', 'mask', [[2, 3], [4, 4]], dict(mask=png))
        path.write_text(json.dumps(labelme('b', shape)))
        return path
    path = root / 'a.xml'
    path.write_text(
        '<annotations><image name="b.png" width="10" height="30"><mask label="cat" '
        'rle="1, 4, 1" left="2" top="3" width="3" height="2"/></image></annotations>'
    )
    return path


@pytest.mark.parametrize('format', ['labelme', 'cvat'])
def test_masks_of_pixels_are_read(tmp_path, images, format):
    (annotation,) = read_boxes(write_mask(format, tmp_path), images).coco.annotations
    expected = np.zeros((30, 10), bool)
    expected[3:5, 2:5] = MASK
    assert (decode_rle(annotation.segmentation, (30, 10)) == expected).all()
    assert list(annotation.bbox) == [2, 3, 3, 2]


def test_groups_of_open_images_are_crowds(tmp_path, images):
    path = write_open_images(tmp_path)
    path.write_text(path.read_text().replace('0,1,0,0,-1', '0,1,1,0,-1'))
    (tmp_path / 'class-descriptions-boxable.csv').unlink()
    reading = read_boxes(path, images)
    *_, crowd = reading.coco.annotations
    assert [a.iscrowd for a in reading.coco.annotations] == [0, 0, 1]
    assert crowd.content()['IsTruncated'] == 1 and 'IsInside' not in crowd.content()
    assert [c.name for c in reading.coco.categories] == ['/m/01', '/m/02']
    assert reading.left_out == {'images that are not in the folder': 1}


def test_what_cvat_says_of_a_box_is_kept(tmp_path, images):
    dog, cat, _ = (a.content() for a in read_boxes(write_cvat(tmp_path), images).coco.annotations)
    assert dog['occluded'] == 1 and dog['attributes'] == dict(sex='f')
    assert cat['occluded'] == 0 and 'attributes' not in cat


@pytest.mark.parametrize(
    ('there', 'said'),
    [
        ('a b.png', 'data\\a%20b.png'),
        ('a b.png', 'https://x.org/data/a%20b.png'),
        ('50%20.png', '50%20.png'),
        (unicodedata.normalize('NFD', 'é.png'), unicodedata.normalize('NFC', 'é.png')),
        (unicodedata.normalize('NFC', 'é.png'), unicodedata.normalize('NFD', 'x/é.png')),
        ('猫 1.png', '猫 1.png'),
        ('a.b.png', 'a.b'),
    ],
)
def test_images_are_found(tmp_path, images, there, said):
    (images / 'a.png').rename(images / there)
    path = tmp_path / 'boxes.csv'
    path.write_text(f'filename,class,xmin,ymin,xmax,ymax\n{said},cat,1,2,3,4\n')
    assert [image.file_name for image in read_boxes(path, images).coco.images] == [there]


@pytest.mark.parametrize(
    ('there', 'said'),
    [
        ('a1.png', 'a1.jpg'),
        ('A1.png', 'a1.PNG'),
        ('x/a1.png', 'a1.png'),
        ('cat 7.png', 'cat_7.png'),
    ],
)
def test_the_nearest_image_is_named(tmp_path, images, there, said):
    (images / 'x').mkdir()
    (images / 'a.png').rename(images / there)
    path = tmp_path / 'boxes.csv'
    path.write_text(f'filename,class,xmin,ymin,xmax,ymax\n{said},cat,1,2,3,4\n')
    with pytest.raises(InputError, match=rf'image {said} of .* does not exist .*; is it {there}\?'):
        read_boxes(path, images)


def test_an_image_of_another_number_is_not_the_nearest(tmp_path, images):
    (images / 'a.png').rename(images / 'raccoon-51.png')
    path = tmp_path / 'boxes.csv'
    path.write_text('filename,class,xmin,ymin,xmax,ymax\nraccoon-1.png,cat,1,2,3,4\n')
    with pytest.raises(InputError, match=r'raccoon-1.png of .* does not exist in \S+$'):
        read_boxes(path, images)


def test_rows_of_nothing_at_the_end_of_a_table(tmp_path, images):
    path = write_csv(tmp_path)
    rows = read_boxes(path, images).coco.annotations
    path.write_text(path.read_text() + ',,,,,,\n\n , ,\n')
    assert read_boxes(path, images).coco.annotations == rows


def test_one_class_of_yolo_without_brackets(tmp_path, images):
    path = write_yolo(tmp_path)
    path.write_text('train: ../images\nnames: cat\n')
    (tmp_path / 'labels' / 'a.txt').write_text('0 0.35 0.5 0.5 0.5\n')
    assert [category.name for category in read_boxes(path, images).coco.categories] == ['cat']


def test_an_empty_filename_of_voc_is_the_files_own(tmp_path, images):
    path = write_voc(tmp_path)
    text = (path / 'a.xml').read_text().replace('a.png', '')
    (path / 'a.xml').write_text(text)
    assert len(read_boxes(path, images).coco.annotations) == 3


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
        (
            lambda root: write_csv(write_voc(root).rename(root / 'xml').parent).parent,
            r'is of no format that is known; it holds \S*boxes.csv, \S*xml: give the one that',
        ),
        (
            lambda root: write_text('label_config.xml', '<View/>')(write_csv(root).parent).parent,
            r'is of no format that is known; it holds \S*boxes.csv, \S*label_config.xml: give th',
        ),
        (write_text('a.csv', ''), 'a.csv is empty: its first line must name filename, class, xmin'),
        (write_text('a.csv', 'filename,xmin,ymin,xmax\n'), "a.csv has no column 'ymax' but filen"),
        (edit(write_csv, '', '4,5,24', '4,x,24'), "line 3 of .*boxes.csv has ymin 'x', not a num"),
        (edit(write_csv, '', '4,5,24', '4,,24'), "line 3 of .*boxes.csv has ymin '', not a num"),
        (edit(write_csv, '', '4,5,24', '4,5,inf'), "line 3 of .* has xmax 'inf', not a number"),
        (edit(write_csv, '', '4,5,24', '4,5,2'), 'a box of a.png in .*boxes.csv ends before it be'),
        (edit(write_csv, '', 'b.png', 'd.png'), 'image d.png of .*boxes.csv does not exist in'),
        (edit(write_csv, '', '10,30', '30,10'), 'b.png is 10x30, but .*boxes.csv says 30x10: the'),
        (edit(write_voc, 'Annotations/a.xml', '<ann', '<an'), 'a.xml cannot be read as XML: mism'),
        (write_text('a.xml', '<annotation/>'), 'a.xml is no Pascal VOC annotation: its root is <'),
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
        (write_text('a.json', '[{"image_id": 1}]'), 'a.json is a list of COCO results or annot'),
        (
            write_text('a.json', '[{"data": {"image": "a.png"}, "predictions": []}]'),
            'a.json holds predictions alone: import it into Label Studio, correct them',
        ),
        (edit(write_label_studio, '', '"rotation": 0', '"rotation": 9'), None),
        (
            edit(write_label_studio, '', '"y": 25, "width": 50, "height": 50, "rotation": 0',
                 '"y": 25, "width": 50, "height": 50, "rotation": 9'),
            'rectangle r10 of a.png in .*export.json is turned',
        ),
        (
            edit(write_label_studio, '', '"original_width": 10', '"original_width": 30'),
            'b.png is 10x30, but rectangle r10 of b.png in .* says 30x30: the boxes belong',
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


LABELME_A = 'labelme/a.json'


@pytest.mark.parametrize(
    ('write', 'message'),
    [
        (
            edit(write_yolo, 'data.yaml', '[cat, dog]', '[cat, dog'),
            'data.yaml cannot be read as YAML',
        ),
        (
            lambda root: [write_yolo(root).unlink(), root / 'labels'][1],
            'labels has no data.yaml or',
        ),
        (edit(write_cvat, '', '<image', '<track'), 'annotations.xml cannot be read as XML'),
        (write_text('a.xml', '<annotations><track/></annotations>'), 'CVAT for images but a video'),
        (edit(write_cvat, '', 'rotation="0"', 'rotation="9"'), 'box 3 of a.png in .* is turned'),
        (
            edit(write_cvat, '', 'xtl="4"', 'xtl=""'),
            "box 2 of a.png in .* has xtl '', not a number",
        ),
        (edit(write_cvat, '', 'label="dog"', ''), 'box 2 of a.png in .*xml has no label'),
        (edit(write_labelme, LABELME_A, '"dog"', '" "'), 'shape 1 of .*a.json has no label'),
        (
            edit(write_labelme, LABELME_A, '"points"', '"point"'),
            'a.json is no JSON file of LabelMe: ',
        ),
        (
            edit(write_labelme, LABELME_A, '[[24.0, 5.0], ', '['),
            'shape 1 .* is a rectangle of 1 points',
        ),
        (
            edit(write_labelme, LABELME_A, '"rectangle"', '"polygon"'),
            'shape 1 .* has 2 corners: an',
        ),
        (
            edit(write_labelme, LABELME_A, '"rectangle"', '"mask"'),
            'shape 1 .* is a mask that cannot',
        ),
        (
            edit(write_via, '', '"filename"', '"name"'),
            'via.json is no annotation file of VIA 2, JSON',
        ),
        (
            edit(write_via, '', '"x": 1', '"x": ""'),
            "region 1 of b.png in .* has x '', not a number",
        ),
        (
            lambda root: write_text('v.json', json.dumps(via()).replace('label', 'l'))(root),
            'v.json has the region attributes l, note: name the one that is the class "class"',
        ),
        (
            write_text('v.json', '{"project": {}, "metadata": {}}'),
            'v.json is of VIA 3: draw or exp',
        ),
        (
            edit(write_open_images, '', 'LabelName', 'Label'),
            "has no column 'LabelName', which boxes",
        ),
        (
            edit(write_open_images, '', '0.1,0.6,0.1', '1,6,3'),
            'line 2 of .* has numbers outside 0 t',
        ),
        (
            write_text('o.csv', 'ImageID,LabelName,XMin,YMin,XMax,YMax\nx,c,0,0,1,1'),
            'no image of .*o',
        ),
    ],
)
def test_what_is_wrong_with_others_is_said(tmp_path, images, write, message):
    path = write(tmp_path)
    with pytest.raises(InputError, match=message):
        read_boxes(path, images)


def test_a_format_may_be_said(tmp_path, images):
    path = write_csv(tmp_path)
    assert read_boxes(path.rename(tmp_path / 'boxes.txt'), images, 'csv').format == 'csv'
    with pytest.raises(InputError, match="there is no format 'xls': take one of coco, voc, csv"):
        read_boxes(tmp_path / 'boxes.txt', images, 'xls')
    with pytest.raises(InputError, match='image folder .*none does not exist'):
        read_boxes(tmp_path / 'boxes.txt', tmp_path / 'none', 'csv')


def boxes_of(coco):
    files = {image.id: image.file_name for image in coco.images}
    names = {category.id: category.name for category in coco.categories}
    return [(files[a.image_id], names[a.category_id], list(a.bbox)) for a in coco.annotations]


@pytest.mark.parametrize('name', WRITERS)
def test_an_image_that_is_wrong_can_be_left_out(tmp_path, images, name):
    path = WRITERS[name][0](tmp_path)
    picture = images / 'b.png'
    if WRITERS[name][1] == 'coco':  # whose images are not read
        picture.unlink()
    else:
        picture.write_bytes(picture.read_bytes()[:50])
    with pytest.raises(InputError, match='b.png'):
        read_boxes(path, images)
    wrong = WrongEntries(skip=True)
    coco = read_boxes(path, images, wrong=wrong).coco
    assert boxes_of(coco) == EXPECTED[:2]
    assert 'b.png' not in [image.file_name for image in coco.images]
    first, *others = [entry['reason'] for entry in wrong.found]
    assert first == 'images that are missing or cannot be read'
    assert 'b.png' in wrong.found[0]['sentence']
    # Only of COCO boxes are known whose image is not.
    assert others == ['annotations of images that are left out'] * (WRITERS[name][1] == 'coco')


@pytest.mark.parametrize(
    ('write', 'message'),
    [
        (edit(write_csv, '', '4,5,24', '4,x,24'), "line 3 of .*boxes.csv has ymin 'x'"),
        (edit(write_csv, '', '4,5,24', '4,5,2'), 'a box of a.png in .*boxes.csv ends before'),
        (edit(write_voc, 'Annotations/a.xml', 'dog', ''), 'object 1 of .*a.xml has no <name>'),
        (edit(write_yolo, 'labels/a.txt', '0.35', '14'), 'line 1 of .*a.txt has numbers outside'),
        (edit(write_cvat, '', 'label="dog"', ''), 'box 2 of a.png in .*xml has no label'),
        (edit(write_labelme, 'labelme/a.json', '"dog"', '" "'), 'shape 1 of .*a.json has no label'),
        (edit(write_via, '', '"x": 4', '"x": "y"'), "region 1 of a.png in .* has x 'y', not a"),
        (edit(write_via, '', '"x": 4', '"z": 4'), 'via.json is no annotation file of VIA 2|has x'),
        (edit(write_open_images, '', '0.1,', '1.1,'), 'line . of .* has numbers outside 0 to 1'),
        (
            edit(write_label_studio, '', '"y": 25, "width": 50, "height": 50, "rotation": 0',
                 '"y": 25, "width": 50, "height": 50, "rotation": 9'),
            'rectangle r10 of a.png in .*export.json is turned',
        ),
        (coco_writer(lambda c: c['annotations'][0].pop('bbox')), "annotation 1 .* has no 'bbox'"),
        (
            coco_writer(lambda c: c['annotations'][0].update(bbox=[1, 2, 3, float('nan')])),
            "annotation 1 .* holds NaN in 'bbox'",
        ),
        (coco_writer(lambda c: c['annotations'].insert(0, 7)), 'tations.0. of .* is not a d'),
    ],
)  # fmt: skip
def test_a_box_that_is_wrong_can_be_left_out(tmp_path, images, write, message):
    path = write(tmp_path)
    with pytest.raises(InputError, match=message):
        read_boxes(path, images)
    wrong = WrongEntries(skip=True)
    coco = read_boxes(path, images, wrong=wrong).coco
    assert [box for box in EXPECTED if box in boxes_of(coco)] == boxes_of(coco)
    assert len(coco.annotations) == (3 if 'not a d' in message else 2)
    (found,) = wrong.found
    assert re.search(message, found['sentence'])
