"""Every writer on the same masks, read back by hand, by our readers and by the formats' own."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from mmdet.datasets import CocoDataset
from PIL import Image
from pycocotools.coco import COCO

from mmboxcaseg.cli import main
from mmboxcaseg.cli.options import MASK_FORMATS as OFFERED
from mmboxcaseg.coco import load_coco
from mmboxcaseg.coco.proxies import ProxyAnnotation
from mmboxcaseg.errors import InputError
from mmboxcaseg.formats import MASK_FORMATS, check_convertible, convert_masks, read_boxes
from mmboxcaseg.formats.brush import decode_brush, encode_brush
from mmboxcaseg.proxy import decode_rle, encode_rle


def pixels(text):
    return np.array([[character == '#' for character in line] for line in text.split()])


BLOCK = pixels('........ .####... .####... .####... ........')
RING = pixels('........ ........ ........ .....### .....#.#')
RING = np.concatenate([RING, pixels('.....###')])
BLOCK = np.concatenate([BLOCK, pixels('........')])
POOR = np.zeros((6, 8), bool)
POOR[0, 0] = True
PARTS = pixels('##... ##... ....# ....#')
NONE = np.zeros((4, 5), bool)

# id: image, category, x, y, width, height, mask, quality
OBJECTS = {
    10: (1, 7, [1, 1, 4, 3], BLOCK, 0.9),
    11: (1, 3, [5, 3, 3, 3], RING, 0.8),
    12: (1, 3, [0, 0, 2, 2], POOR, 0.5),
    20: (2, 3, [0, 0, 5, 4], PARTS, None),
    21: (2, 7, [2, 0, 2, 2], NONE, 0.9),
}
GOOD = [10, 11, 20]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The current folder, with masks.json and img/; of b.png all validates."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('mmboxcaseg.formats.writing.val_images', lambda coco: {2})
    (tmp_path / 'img' / 'x').mkdir(parents=True)
    for name, shape in (('a.png', (6, 8, 3)), ('x/b.png', (4, 5, 3))):
        cv2.imwrite(f'img/{name}', np.full(shape, 90, np.uint8))
    write(OBJECTS)
    return tmp_path


def content_of(objects):
    annotations = [
        dict(
            id=id_,
            image_id=image,
            category_id=category,
            bbox=bbox,
            area=bbox[2] * bbox[3],
            iscrowd=0,
            segmentation=encode_rle(mask),
            box_agreement=0.5,
            note=f'of {id_}',
            **(dict(quality=quality) if quality is not None else {}),
        )
        for id_, (image, category, bbox, mask, quality) in objects.items()
    ]
    images = [
        dict(id=1, file_name='a.png', width=8, height=6, license=4),
        dict(id=2, file_name='x/b.png', width=5, height=4),
    ]
    categories = [dict(id=7, name='cat'), dict(id=3, name='dög', supercategory='animal')]
    return dict(info=dict(year=1), images=images, categories=categories, annotations=annotations)


def write(objects):
    Path('masks.json').write_text(json.dumps(content_of(objects)))


def read(path):
    return json.loads(Path(path).read_text())


def convert(to, **options):
    return convert_masks('masks.json', 'img', 'out', to, **options)


def masks_of(path):
    """What pycocotools reads."""
    coco = COCO(path)
    return {id_: coco.annToMask(a).astype(bool) for id_, a in coco.anns.items()}


def check_masks(found, ids):
    assert found.keys() == set(ids)
    for id_ in ids:
        assert (found[id_] == OBJECTS[id_][3]).all(), id_


def test_formats_of_the_options_are_those_that_are_written():
    assert set(OFFERED) == set(MASK_FORMATS)


LEFT_OUT = 'left out: 1 empty masks, 1 masks of a quality of 0.75 or less'


def test_coco_polygons(data):
    assert convert('coco-polygons') == (
        'out: COCO with polygons, 4 masks, as they are; left out: 1 empty masks'
    )
    before, after = content_of(OBJECTS), read('out/annotations.json')
    for old, new in zip(before['annotations'], after['annotations'], strict=True):
        assert isinstance(new['segmentation'], dict if new['id'] == 21 else list)
        assert {**old, 'segmentation': 0} == {**new, 'segmentation': 0}
    assert {**before, 'annotations': 0} == {**after, 'annotations': 0}
    (block,), _, _, parts, empty = (a['segmentation'] for a in after['annotations'])
    corners = sorted(zip(block[::2], block[1::2], strict=True))
    assert corners == [(1, 1), (1, 4), (5, 1), (5, 4)] and len(parts) == 2
    assert empty == encode_rle(NONE)
    check_masks(masks_of('out/annotations.json'), OBJECTS)


def test_polygons_that_are_there_stay(data):
    content = content_of(OBJECTS)
    content['annotations'][0]['segmentation'] = true = [[1, 1, 5.5, 1, 5.5, 4.25]]
    Path('masks.json').write_text(json.dumps(content))
    convert('coco-polygons')
    assert read('out/annotations.json')['annotations'][0]['segmentation'] == true


def test_rf_detr(data):
    line = convert('rf-detr')
    assert line.startswith('out: data set folder of RF-DETR, 3 masks, as they are; left out: 1 ')
    check_masks(
        masks_of('out/train/_annotations.coco.json') | masks_of('out/valid/_annotations.coco.json'),
        GOOD,
    )
    content = read('out/train/_annotations.coco.json')
    assert content['images'] == content_of(OBJECTS)['images'][:1]
    assert content['categories'] == [
        dict(id=1, name='cat', supercategory='object'),
        dict(id=2, name='dög', supercategory='animal'),
    ]
    first, second = content['annotations']
    assert (first['category_id'], second['category_id']) == (1, 2)
    assert (first['area'], second['area'], second['iscrowd']) == (12, 8, 0)
    assert second['bbox'] == [5, 3, 3, 3] and second['note'] == 'of 11'
    assert cv2.imread('out/train/a.png').shape == (6, 8, 3)
    assert cv2.imread('out/valid/x/b.png').shape == (4, 5, 3)
    # Ours reads it too.
    coco = read_boxes('out/train/_annotations.coco.json', 'out/train').coco
    assert [a.segmentation for a in coco.annotations] == [
        a['segmentation'] for a in content['annotations']
    ]


def test_yolo_seg(data):
    # The parts are joined by a cut that Ultralytics fills: 6 pixels of 8, and 2 between them.
    assert convert('yolo-seg') == (
        'out: YOLO-seg, 3 masks, IoU with masks.json 0.9167 on average, at worst 0.7500 '
        f'(annotation 20); {LEFT_OUT}'
    )
    assert yaml.safe_load(Path('out/data.yaml').read_text()) == dict(
        train='images/train', val='images/val', names={0: 'cat', 1: 'dög'}
    )
    block, ring = Path('out/labels/train/a.txt').read_text().splitlines()
    label, *numbers = block.split()
    corners = np.array(numbers, float).reshape(-1, 2) * [8, 6]
    # A little before the middle of the corner pixels.
    low, right, bottom = 1.45, 4.45, 3.45
    expected = [[low, low], [low, bottom], [right, low], [right, bottom]]
    assert label == '0' and sorted(corners.round(2).tolist()) == expected
    for line, mask in ((block, BLOCK), (ring, RING)):
        corners = np.array(line.split()[1:], float).reshape(-1, 2) * [8, 6]
        filled = cv2.fillPoly(np.zeros((6, 8), np.uint8), [corners.astype(np.int32)], 1)
        assert (filled.astype(bool) == mask).all()
    (both,) = Path('out/labels/val/x/b.txt').read_text().splitlines()
    corners = np.array(both.split()[1:], float).reshape(-1, 2) * [5, 4]
    filled = cv2.fillPoly(np.zeros((4, 5), np.uint8), [corners.astype(np.int32)], 1).astype(bool)
    assert (filled & PARTS).sum() == 6 and filled.sum() == 8
    # Ours reads it, its boxes within half a pixel.
    coco = read_boxes('out', 'out/images').coco
    assert [i.file_name for i in coco.images] == ['train/a.png', 'val/x/b.png']
    assert np.allclose([a.bbox for a in coco.annotations[:2]], [[1, 1, 4, 3], [5, 3, 3, 3]], atol=1)


def test_supervision_reads_masks_and_yolo_seg(data):
    supervision = pytest.importorskip('supervision', reason='of the extra "test": reads it back')
    dataset = supervision.DetectionDataset.from_coco('img', 'masks.json', force_masks=True)
    for path, _, found in dataset:
        ids = [i for i, o in OBJECTS.items() if path.endswith(('a.png', 'b.png')[o[0] - 1])]
        assert [dataset.classes[label] for label in found.class_id] == [
            'cat' if OBJECTS[id_][1] == 7 else 'dög' for id_ in ids
        ]
        for mask, box, id_ in zip(found.mask, found.xyxy.tolist(), ids, strict=True):
            x, y, width, height = OBJECTS[id_][2]
            assert (mask == OBJECTS[id_][3]).all() and box == [x, y, x + width, y + height]
    convert('yolo-seg')
    folders = [f'out/{kind}/train' for kind in ('images', 'labels')]
    dataset = supervision.DetectionDataset.from_yolo(*folders, 'out/data.yaml', force_masks=True)
    ((_, _, found),) = dataset
    assert [dataset.classes[label] for label in found.class_id] == ['cat', 'dög']
    assert (found.mask == [BLOCK, RING]).all()


def test_fiftyone_reads_masks(data):
    reason = 'FiftyOne wants another OpenCV than we do: install it in an environment of its own'
    fiftyone = pytest.importorskip('fiftyone.utils.coco', reason=reason)
    convert('coco-polygons')
    for path in ('masks.json', 'out/annotations.json'):
        _, classes, _, images, found = fiftyone.load_coco_detection_annotations(path)
        for annotation in (a for annotations in found.values() for a in annotations):
            x, y, width, height = OBJECTS[annotation.id][2]
            size = [images[annotation.image_id][side] for side in ('width', 'height')]
            read = annotation.to_detection(size, classes_map=classes, load_segmentation=True)
            assert np.allclose(np.array(read.bounding_box) * (size * 2), [x, y, width, height])
            mask = OBJECTS[annotation.id][3][y : y + height, x : x + width]
            assert (read.mask == mask).all() and read.label in ('cat', 'dög')


def test_mmdet_reads_masks(data):
    write({id_: OBJECTS[id_] for id_ in GOOD})
    for path, to in (('masks.json', None), ('out/annotations.json', 'coco-polygons')):
        if to:
            convert(to)
        transforms = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_mask=True)]
        dataset = CocoDataset(
            ann_file=path,
            data_prefix=dict(img='img/'),
            metainfo=dict(classes=('cat', 'dög')),
            filter_cfg=dict(min_size=1),
            pipeline=[transforms[0], dict(transforms[1], with_bbox=True, poly2mask=True)],
        )
        first, second = dataset[0], dataset[1]
        assert (first['gt_masks'].masks == [BLOCK, RING]).all()
        assert (second['gt_masks'].masks == [PARTS]).all()
        assert first['gt_bboxes_labels'].tolist() == [0, 1]
        assert first['gt_bboxes'].tensor.tolist() == [[1, 1, 5, 4], [5, 3, 8, 6]]


def test_voc_png(data):
    assert convert('voc-png') == f'out: PNG maps of Pascal VOC, 3 masks, as they are; {LEFT_OUT}'
    path = Path('out/SegmentationObject/a.png')
    with Image.open(path) as image:
        assert image.mode == 'P'
        palette = np.array(image.getpalette()).reshape(-1, 3)
        numbers = np.array(image)
    expected = BLOCK + 2 * RING
    expected[:2, :2] = 255  # the box of the poor one, but for what is another's
    expected[1, 1] = 1
    assert (numbers == expected).all()
    assert palette[[0, 1, 2, 3, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [224, 224, 192],
    ]  # fmt: skip
    classes = np.array(Image.open('out/SegmentationClass/x/b.png'))
    assert (classes == 2 * PARTS).all()
    assert Path('out/class_names.txt').read_text() == 'background\ncat\ndög'
    sets = [Path(f'out/ImageSets/Segmentation/{part}.txt').read_text() for part in ('train', 'val')]
    assert sets == ['a\n', 'x/b\n']


def test_cityscapes_png(data):
    line = convert('cityscapes-png')
    assert line == f'out: PNG maps of Cityscapes, 3 masks, as they are; {LEFT_OUT}'
    ids = cv2.imread('out/gtFine/train/a_gtFine_instanceIds.png', cv2.IMREAD_UNCHANGED)
    expected = 1000 * BLOCK + 2000 * RING
    expected[[0, 0, 1], [0, 1, 0]] = 2  # a group of the poor one's class
    assert ids.dtype == np.uint16 and (ids == expected).all()
    labels = cv2.imread('out/gtFine/train/a_gtFine_labelIds.png', cv2.IMREAD_UNCHANGED)
    assert (labels == BLOCK + 2 * RING).all()
    assert Path('out/gtFine/val/x/b_gtFine_instanceIds.png').is_file()


def test_the_smaller_mask_is_on_top(data):
    covered = dict(OBJECTS)
    covered[12] = (1, 7, [0, 0, 8, 6], np.ones((6, 8), bool), 0.9)
    write(covered)
    assert 'at worst 0.5833 (annotation 12)' in convert('voc-png')  # 28 of 48
    numbers = np.array(Image.open('out/SegmentationObject/a.png'))
    assert (numbers == np.where(BLOCK, 1, np.where(RING, 2, 3))).all()


def test_labelme(data):
    line = convert('labelme')
    assert line == 'out: LabelMe, 4 masks, as they are; left out: 1 empty masks'
    content = read('out/x/b.json')
    assert content['imagePath'] == '../../img/x/b.png'
    assert (content['imageHeight'], content['imageWidth'], content['imageData']) == (4, 5, None)
    square, line = content['shapes']
    assert sorted(square['points']) in (
        [[0, 0], [0, 2], [2, 0], [2, 2]],
        [[4, 2], [4, 4], [5, 2], [5, 4]],
    )
    assert square['group_id'] == line['group_id'] == 0 and square['label'] == 'dög'
    assert square['shape_type'] == 'polygon' and square['ann_id'] == 20
    block = read('out/a.json')['shapes'][0]
    assert block['group_id'] is None and block['quality'] == 0.9
    # What ours reads are true masks, the same ones.
    coco = read_boxes('out', 'img').coco
    masks = [decode_rle(a.true_mask or a.segmentation, (6, 8)) for a in coco.annotations[:3]]
    assert (masks == np.array([BLOCK, RING, POOR])).all()


def test_fewer_corners_of_labelme_are_close(data):
    disc = cv2.circle(np.zeros((60, 80), np.uint8), (40, 30), 25, 1, -1).astype(bool)
    content = content_of({1: (1, 7, [15, 5, 51, 51], disc, 0.9)})
    content['images'] = [dict(content['images'][0], width=80, height=60)]
    Path('masks.json').write_text(json.dumps(content))
    fit = re.search(r'at worst (0\.9\d+) \(annotation 1\)$', convert('labelme'))
    points = read('out/a.json')['shapes'][0]['points']
    polygon = [[edge for point in points for edge in point]]
    read_back = decode_rle(polygon, disc.shape)
    iou = (read_back & disc).sum() / (read_back | disc).sum()
    assert float(fit[1]) == pytest.approx(iou, abs=1e-4) and len(points) < 40


def decode_slowly(rle):
    """Label Studio's run lengths, read bit by bit."""
    bits = [byte >> place & 1 for byte in rle for place in range(7, -1, -1)]

    def take(count):
        number = 0
        for _ in range(count):
            number = 2 * number + bits.pop(0)
        return number

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        is_run = take(1)
        count = take(sizes[take(2)]) + 1
        values += [take(word)] * count if is_run else [take(word) for _ in range(count)]
    return values


@pytest.mark.parametrize('mask', [BLOCK, RING, NONE, ~NONE, np.ones((300, 300), bool)])
def test_brush(mask):
    rle = encode_brush(mask)
    assert all(0 <= byte < 256 for byte in rle)
    assert decode_slowly(rle) == np.repeat(255 * mask.ravel(), 4).tolist()
    assert (decode_brush(rle, mask.shape) == mask).all()


def test_brush_of_single_values():
    # By hand: 8 values of 8 bits in lengths of 3, 4, 8 and 16 bits; 8 that stand alone.
    bits = f'{8:032b}' + '00111' + '0010001101111111' + '0' + '00' + '111'
    bits += ''.join(f'{value:08b}' for value in (0, 0, 0, 0, 9, 9, 9, 200))
    bits += '0' * (-len(bits) % 8)
    rle = [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]
    assert decode_brush(rle, (1, 2)).tolist() == [[False, True]]
    for broken in (rle[:-3], rle[:2], []):
        with pytest.raises(ValueError):
            decode_brush(broken, (1, 2))
    with pytest.raises(ValueError, match="its 8 values are not the four of each of the image's"):
        decode_brush(rle, (1, 3))


def test_label_studio(data):
    line = convert('label-studio')
    assert line == (
        'out: brush predictions of Label Studio, 4 masks, as they are; left out: 1 empty masks'
    )
    tasks = read('out/tasks.json')
    assert [task['data']['image'] for task in tasks] == [
        '/data/local-files/?d=a.png',
        '/data/local-files/?d=x/b.png',
    ]
    (prediction,) = tasks[0]['predictions']
    assert prediction['score'] == 0.5  # the lowest
    block, ring, _ = prediction['result']
    assert (block['id'], block['score'], block['value']['brushlabels']) == ('10', 0.9, ['cat'])
    assert (block['original_width'], block['original_height']) == (8, 6)
    assert decode_slowly(ring['value']['rle'])[3::4] == (255 * RING.ravel()).tolist()
    config = Path('out/label_config.xml').read_text()
    assert '<Label value="cat"/><Label value="dög"/>' in config
    # Accepted as they are they come back as true masks.
    for task in tasks:
        task['annotations'] = task.pop('predictions')
    Path('export.json').write_text(json.dumps(tasks))
    coco = read_boxes('export.json', 'img').coco
    found = [decode_rle(a.true_mask, a.true_mask['size']) for a in coco.annotations]
    for mask, id_ in zip(found, (10, 11, 12, 20), strict=True):
        assert (mask == OBJECTS[id_][3]).all()
    assert [list(a.bbox) for a in coco.annotations][:2] == [[1, 1, 4, 3], [5, 3, 3, 3]]


def test_an_image_of_which_all_is_dropped_is_left_out(data):
    line = convert('yolo-seg', min_quality=0.95)
    assert line.endswith(
        'left out: 1 empty masks, 3 masks of a quality of 0.95 or less, 1 images of which no mask '
        'is better'
    )
    assert not Path('out/images/train').exists()
    assert yaml.safe_load(Path('out/data.yaml').read_text())['train'] == 'images/val'


def two_of_a_stem(content):
    content['images'][1]['file_name'] = 'a.jpg'
    Path('img/a.jpg').write_bytes(Path('img/x/b.png').read_bytes())


def all_poor(content):
    for annotation in content['annotations']:
        annotation['quality'] = 0.1


def leads_out(content):
    content['images'][0]['file_name'] = 'x/../a.png'


def many_classes(content):
    content['categories'] += [dict(id=100 + n, name=f'c{n}') for n in range(300)]


@pytest.mark.parametrize(
    ('to', 'change', 'message'),
    [
        ('voc', None, "there is no format 'voc': take one of coco-polygons, yolo-seg, voc-png"),
        ('voc-png', many_classes, 'masks.json has 302 classes, and voc-png can tell 254 apart'),
        ('cityscapes-png', many_classes, 'has 302 classes, and cityscapes-png can tell 64 apart'),
        ('yolo-seg', two_of_a_stem, 'masks.json has several images called a, which yolo-seg would'),
        ('rf-detr', all_poor, 'no mask of masks.json is to be written as rf-detr: lower --min'),
        ('rf-detr', lambda c: c['images'][0].update(file_name='c.png'), 'image img/c.png of masks'),
        ('labelme', leads_out, 'image 1 of masks.json is named x/../a.png, which leads out of out'),
    ],
)
def test_what_cannot_be_written_is_said(data, to, change, message):
    content = content_of(OBJECTS)
    if change:
        change(content)
    Path('masks.json').write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        convert(to)
    assert not Path('out').exists() and not list(Path().glob('out*'))


def test_too_many_objects_for_a_map(data):
    mask = np.zeros((6, 8), bool)
    mask[0, 0] = True
    write({id_: (1, 7, [0, 0, 1, 1], mask, 0.9) for id_ in range(1, 257)})
    with pytest.raises(InputError, match='a.png has 256 masks, and an object map of Pascal'):
        convert('voc-png')


def test_what_is_there_stays(data):
    Path('out').mkdir()
    Path('out/corrected.json').write_text('by hand')
    with pytest.raises(InputError, match='out is there already: remove it, or give another folder'):
        convert('labelme')
    assert Path('out/corrected.json').read_text() == 'by hand'
    check_convertible(load_coco('masks.json', ProxyAnnotation), Path('new'), 'labelme')


def test_the_command(data, capsys):
    main(['convert', 'masks', 'masks.json', '--images', 'img', '--to', 'voc-png', '--out', 'out'])
    assert capsys.readouterr().out.startswith('out: PNG maps of Pascal VOC, 3 masks, as they are;')
