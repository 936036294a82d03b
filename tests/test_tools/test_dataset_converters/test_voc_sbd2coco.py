import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset, VOCDataset
from PIL import Image
from pycocotools.coco import COCO
from scipy.io import savemat
from scipy.sparse import csc_matrix

from mmboxcaseg import cli
from mmboxcaseg.converters.voc_sbd import count_lines
from mmboxcaseg.datasets import BoxInstanceDataset
from mmboxcaseg.proxy import decode_rle

TOOL = Path(__file__).parents[3] / 'tools' / 'dataset_converters' / 'voc_sbd2coco.py'
SHAPE = (10, 12)
LABELS = {name: label for label, name in enumerate(VOCDataset.METAINFO['classes'], start=1)}

# Of each image: objects as (class, its pixels as slices y1, y2, x1, x2), void pixels, and the XML
# file's objects as (class, x1, y1, x2, y2 counted from 1 and included, more tags).
DIFFICULT = '<difficult>1</difficult>'
EASY = '<difficult>0</difficult>'
PART = '<part><name>head</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>4</xmax><ymax>4</ymax>'
PART += '</bndbox></part>'
VOC = {
    # Training. SBD has it too, with other bitmaps.
    '2007_000001': (
        [('person', (1, 4, 1, 5)), ('cat', (5, 9, 6, 11))],
        [(4, 5, 1, 5), (9, 10, 0, 12)],
        [('person', 2, 2, 5, 4, EASY), ('cat', 7, 6, 11, 9, DIFFICULT)],
    ),
    # Validation, and SBD's too. The numbers of the objects are not their places in the XML file.
    '2007_000002': (
        [('bird', (0, 3, 0, 3)), ('dog', (4, 10, 4, 12))],
        [],
        [('dog', 5, 5, 12, 10, DIFFICULT), ('bird', 1, 1, 3, 3, EASY)],
    ),
    # Nor are they here, which the boxes alone tell.
    '2007_000005': (
        [('cow', (0, 1, 0, 8)), ('cow', (1, 8, 0, 6))],
        [(8, 9, 0, 6)],
        [('cow', 1, 2, 6, 8, DIFFICULT), ('cow', 1, 1, 8, 1, EASY)],
    ),
}
SBD = {
    '2007_000001': ([('bus', (0, 9, 0, 9))], 'train'),
    '2007_000002': ([('bus', (0, 9, 0, 9))], 'val'),
    '2008_000003': ([('car', (2, 6, 2, 6)), ('car', (6, 9, 7, 12))], 'train'),
    '2008_000004': (
        [('chair', (0, 2, 0, 2)), ('tvmonitor', (3, 6, 3, 6)), ('sofa', (0, 0, 0, 0))],
        'val',
    ),
}
SBD_XML = {
    # In another order, with decimals, a part that has a box of its own, and an unknown class.
    '2008_000003': [
        ('car', 8, 7, 12, 9, DIFFICULT),
        ('unicorn', 3, 3, 6, 6, DIFFICULT),
        ('car', 3.0, 3.25, 6, 6, PART),
    ],
    # The chair's box is nine times the bitmap, nothing is a tvmonitor.
    '2008_000004': [('chair', 1, 1, 6, 6, DIFFICULT), ('person', 4, 4, 6, 6, DIFFICULT)],
}


def write_png(path, indices):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices.astype(np.uint8), mode='P')
    image.putpalette(np.random.default_rng(0).permutation(768).astype(np.uint8).tobytes())
    image.save(path)


def write_xml(path, objects):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = '<annotation><size><width>12</width></size>'
    for name, x1, y1, x2, y2, more in objects:
        # The edges in the order of VOC 2011, which is not xmin, ymin, xmax, ymax.
        text += (
            f'<object><name>{name}</name>{more}<bndbox><xmax>{x2}</xmax><xmin>{x1}</xmin>'
            f'<ymax>{y2}</ymax><ymin>{y1}</ymin></bndbox></object>'
        )
    path.write_text(text + '</annotation>')


def write_image(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SHAPE, 3), value, np.uint8)).save(path)


def write_mat(path, segmentation, categories):
    """As SBD's: a struct of a map, a column and a cell array of sparse boundaries."""
    path.parent.mkdir(parents=True, exist_ok=True)
    boundaries = np.empty((len(categories), 1), object)
    for index in range(len(categories)):
        boundaries[index, 0] = csc_matrix(np.ones(SHAPE))
    truth = dict(
        Boundaries=boundaries,
        Categories=np.array(categories, np.uint8).reshape(-1, 1),
        Segmentation=segmentation,
    )
    savemat(path, dict(GTinst=truth), do_compression=True)


def draw(objects):
    numbers, labels = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    for number, (name, (y1, y2, x1, x2)) in enumerate(objects, start=1):
        numbers[y1:y2, x1:x2] = number
        labels[y1:y2, x1:x2] = LABELS[name]
    return numbers, labels


@pytest.fixture
def tree(tmp_path):
    """VOC 2012 and SBD as they are unpacked; returns their folders and an output folder."""
    voc, sbd = tmp_path / 'VOCdevkit' / 'VOC2012', tmp_path / 'benchmark_RELEASE' / 'dataset'
    for name, (objects, void, boxes) in VOC.items():
        numbers, labels = draw(objects)
        for y1, y2, x1, x2 in void:
            numbers[y1:y2, x1:x2] = labels[y1:y2, x1:x2] = 255
        write_png(voc / 'SegmentationObject' / f'{name}.png', numbers)
        write_png(voc / 'SegmentationClass' / f'{name}.png', labels)
        write_xml(voc / 'Annotations' / f'{name}.xml', boxes)
        write_image(voc / 'JPEGImages' / f'{name}.jpg', int(name[-1]))
    for name, (objects, _) in SBD.items():
        categories = [LABELS[class_] for class_, _ in objects]
        write_mat(sbd / 'inst' / f'{name}.mat', draw(objects)[0], categories)
        write_image(sbd / 'img' / f'{name}.jpg', int(name[-1]))
    for name, boxes in SBD_XML.items():
        write_xml(voc / 'Annotations' / f'{name}.xml', boxes)
    # One of SBD's images is in both data sets, the other in SBD's alone.
    write_image(voc / 'JPEGImages' / '2008_000003.jpg', 3)
    lists = voc / 'ImageSets' / 'Segmentation'
    lists.mkdir(parents=True)
    (lists / 'train.txt').write_text('2007_000001\n')
    (lists / 'val.txt').write_text('2007_000005\n2007_000002\n')
    for split in ('train', 'val'):
        names = [name for name, (_, in_split) in SBD.items() if in_split == split]
        (sbd / f'{split}.txt').write_text('\n'.join(names) + '\n\n')
    return tmp_path / 'VOCdevkit', tmp_path / 'benchmark_RELEASE', tmp_path / 'out'


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*.*')}


def load(out, split):
    coco = json.loads((out / 'annotations' / f'instances_{split}.json').read_text())
    names = {image['id']: image['file_name'][:-4] for image in coco['images']}
    rows = {name: [] for name in names.values()}
    for annotation in coco['annotations']:
        row = [annotation[key] for key in ('category_id', 'bbox', 'area', 'difficult')]
        rows[names[annotation['image_id']]].append(row)
    return coco, rows


def test_splits_and_instances(tree, run):
    code, _, _ = run(*tree)
    assert code == 0
    # VOC's bitmaps, not SBD's bus; objects of SBD without a pixel are left out.
    assert load(tree[2], 'train')[1] == {
        '2007_000001': [[15, [1, 1, 4, 3], 12, 0], [8, [6, 5, 5, 4], 20, 1]],
        '2008_000003': [[7, [2, 2, 4, 4], 16, 0], [7, [7, 6, 5, 3], 15, 1]],
        '2008_000004': [[9, [0, 0, 2, 2], 4, 1], [20, [3, 3, 3, 3], 9, 0]],
    }
    assert load(tree[2], 'val')[1] == {
        '2007_000002': [[3, [0, 0, 3, 3], 9, 0], [12, [4, 4, 8, 6], 48, 1]],
        '2007_000005': [[10, [0, 0, 8, 1], 8, 0], [10, [0, 1, 6, 7], 42, 1]],
    }


@pytest.mark.parametrize(
    'difficult', [(DIFFICULT, EASY), (EASY, DIFFICULT), ('<difficult />', DIFFICULT)]
)
def test_vocs_numbers_are_believed_where_class_and_box_agree(tree, run, difficult):
    # By IoU alone the boxes were each other's: 1 + 6/7 is more than the 7/8 + 6/8 of the numbers.
    numbers = np.zeros(SHAPE, np.uint8)
    numbers[0, [0, 7]], numbers[0, [1, 6]] = 1, 2
    labels = LABELS['cow'] * (numbers > 0)
    voc = tree[0] / 'VOC2012'
    write_png(voc / 'SegmentationObject' / '2007_000005.png', numbers)
    write_png(voc / 'SegmentationClass' / '2007_000005.png', labels)
    write_mat(tree[1] / 'dataset' / 'inst' / '2008_000003.mat', numbers, [LABELS['cow']] * 2)
    boxes = [('cow', 1, 1, 7, 1, difficult[0]), ('cow', 1, 1, 8, 1, difficult[1])]
    for name in ('2007_000005', '2008_000003'):
        write_xml(voc / 'Annotations' / f'{name}.xml', boxes)
    run(*tree)
    expected = [int(text == DIFFICULT) for text in difficult]
    assert [cow[3] for cow in load(tree[2], 'val')[1]['2007_000005']] == expected
    # SBD's numbers are no places in the XML file.
    assert [cow[3] for cow in load(tree[2], 'train')[1]['2008_000003']] == expected[::-1]


def test_bitmaps_and_void_are_rle(tree, run):
    run(*tree)
    train, _ = load(tree[2], 'train')
    first, *others = train['images']
    assert first['file_name'] == '2007_000001.jpg'
    assert (first['height'], first['width']) == SHAPE
    void = np.zeros(SHAPE, bool)
    void[4, 1:5] = void[9] = True
    assert isinstance(first['void']['counts'], str)
    assert (decode_rle(first['void'], SHAPE) == void).all()
    assert not any('void' in image for image in others)

    person = np.zeros(SHAPE, bool)
    person[1:4, 1:5] = True
    mask = train['annotations'][0]['segmentation']
    assert isinstance(mask['counts'], str)
    assert (decode_rle(mask, SHAPE) == person).all()
    assert [a['id'] for a in train['annotations']] == [1, 2, 3, 4, 5, 6]
    assert {a['iscrowd'] for a in train['annotations']} == {0}


def test_void_of_either_png_is_void_and_an_object_without_class_is_left_out(tree, run):
    voc = tree[0] / 'VOC2012'
    numbers, labels = draw(VOC['2007_000002'][0])
    numbers[0, 0] = labels[0, 1] = 255
    labels[4:] = 0
    labels[1:3, :] = 0  # most of the bird has no class, the rest says that it is one
    write_png(voc / 'SegmentationObject' / '2007_000002.png', numbers)
    write_png(voc / 'SegmentationClass' / '2007_000002.png', labels)
    _, out, _ = run(*tree)
    val, rows = load(tree[2], 'val')
    assert rows['2007_000002'] == [[3, [0, 0, 3, 3], 7, 0]]
    assert decode_rle(val['images'][0]['void'], SHAPE).sum() == 2
    assert out.count('1 objects without a pixel or a class are left out') == 2


def test_what_is_printed(tree, run):
    _, out, _ = run(*tree)
    assert 'instances_train.json: 3 images (0 without an instance), 6 instances (3 diff' in out
    assert 'instances_val.json: 2 images (0 without an instance), 4 instances (2 diff' in out
    assert 'training images: 3, -10579 to the 10582 of the paper: the lists' in out
    assert 'training instances: 6, -25809 to the 25815 of the paper: the paper says' in out
    assert 'validation images: 2, -1447 to the 1449 of the paper: the lists' in out
    assert 'VOC: the tight box of 0 of 6 bitmaps has an IoU under 0.5 ' in out
    assert 'SBD: the tight box of 1 of 4 bitmaps has an IoU under 0.5 ' in out
    assert 'in Annotations, 1 have none of their class there' in out
    assert 'the worst: 2008_000004 (0.11)' in out  # 4 of 36 pixels
    assert '1 objects without a pixel or a class are left out' in out


def test_the_papers_counts_are_told():
    train = dict(images=[0] * 10582, annotations=[0] * 25815)
    assert count_lines(dict(train=train, val=dict(images=[0] * 1449))) == [
        'training images: 10582, as in the paper',
        'training instances: 25815, as in the paper',
        'validation images: 1449, as in the paper',
    ]


def test_images_are_linked_and_a_second_run_changes_nothing(tree, run):
    run(*tree)
    images = tree[2] / 'images'
    assert (images / '2007_000001.jpg').samefile(tree[0] / 'VOC2012/JPEGImages/2007_000001.jpg')
    assert (images / '2008_000003.jpg').samefile(tree[0] / 'VOC2012/JPEGImages/2008_000003.jpg')
    assert (images / '2008_000004.jpg').samefile(tree[1] / 'dataset/img/2008_000004.jpg')
    before = content(tree[2])
    assert len(before) == 5 + 2
    code, _, _ = run(tree[0] / 'VOC2012', tree[1] / 'dataset', tree[2])
    assert code == 0
    assert content(tree[2]) == before
    assert {path.stat().st_nlink for path in images.iterdir()} == {2}


def test_goes_on_after_an_interruption(tree, run, tmp_path):
    run(*tree)
    half = tmp_path / 'half'
    (half / 'images').mkdir(parents=True)
    (half / 'annotations').mkdir()
    image = tree[2] / 'images' / '2007_000001.jpg'
    (half / 'images' / image.name).hardlink_to(image)
    (half / 'images' / '2008_000003.jpg.1.tmp').write_text('half')
    (half / 'annotations' / 'instances_train.json').write_text('{}')
    run(*tree[:2], half)
    (half / 'images' / '2008_000003.jpg.1.tmp').unlink()
    assert content(half) == content(tree[2])


def convert(voc, sbd, out):
    cli.main(['convert', 'voc-sbd', str(voc), str(sbd), str(out)])


@pytest.mark.slow
def test_conversion_survives_kills(tree, tmp_path, seconds_of, survives_kills):
    voc, sbd, killed = tree
    more = [f'2010_{number:06}' for number in range(100)]
    for name in more:
        for folder, suffix in ((sbd / 'dataset/inst', 'mat'), (sbd / 'dataset/img', 'jpg')):
            shutil.copy(folder / f'2008_000004.{suffix}', folder / f'{name}.{suffix}')
        write_xml(voc / 'VOC2012/Annotations' / f'{name}.xml', SBD_XML['2008_000004'])
    with open(sbd / 'dataset/train.txt', 'a') as file:
        file.write('\n'.join(more))
    whole = tmp_path / 'whole'
    seconds = seconds_of(convert, (voc, sbd, whole))
    assert len(load(whole, 'train')[1]) == 3 + 100

    def check():
        assert content(killed) == content(whole)

    # The files of both splits are renamed; images are linked.
    survives_kills(convert, (voc, sbd, killed), seconds, 2, check, lambda: shutil.rmtree(killed))


def test_loads(tree, run):
    run(*tree)
    for split, count in (('train', 6), ('val', 4)):
        ann_file = str(tree[2] / 'annotations' / f'instances_{split}.json')
        prefix = dict(img=str(tree[2] / 'images'))
        boxes = BoxInstanceDataset(
            ann_file=ann_file, data_prefix=prefix, with_segmentation=True, test_mode=True
        )
        assert len(boxes) == count
        assert boxes.metainfo['classes'] == VOCDataset.METAINFO['classes']
        metainfo = dict(classes=VOCDataset.METAINFO['classes'])
        coco = CocoDataset(
            ann_file=ann_file,
            data_prefix=prefix,
            metainfo=metainfo,
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            ],
        )
        assert sum(len(coco[index]['gt_bboxes_labels']) for index in range(len(coco))) == count
        results = coco[0]
        assert not results['gt_ignore_flags'].any()
        areas = [mask.sum() for mask in results['gt_masks'].masks]
        assert areas == [a['area'] for a in COCO(ann_file).imgToAnns[1]]


def remove(path):
    return lambda root: (root / path).unlink()


def write(path, content=b'broken'):
    return lambda root: (root / path).write_bytes(content)


def truncate(path, count=30):
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[:-count])


def mat(segmentation, categories):
    return lambda root: write_mat(
        root / 'benchmark_RELEASE/dataset/inst/2008_000003.mat', segmentation, categories
    )


V = 'VOCdevkit/VOC2012/'
S = 'benchmark_RELEASE/dataset/'
BOX = '<bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>'
XML = f'<annotation><object><name>cat</name>{BOX}{{}}</object></annotation>'


@pytest.mark.parametrize(
    'break_it, words',
    [
        (remove(f'{S}inst/2008_000003.mat'), '2008_000003.mat does not exist'),
        (remove(f'{V}Annotations/2008_000004.xml'), '2008_000004.xml does not exist'),
        (remove(f'{V}SegmentationClass/2007_000002.png'), '2007_000002.png does not exist'),
        (remove(f'{S}img/2008_000004.jpg'), '2008_000004.jpg does not exist'),
        (remove(f'{S}val.txt'), 'val.txt: No such file'),
        (write(f'{V}ImageSets/Segmentation/val.txt', b''), 'leave no image for val'),
        (write(f'{S}train.txt', b'\xff\xfe'), 'train.txt is not UTF-8 text but UTF-16'),
        (write(f'{S}inst/2008_000003.mat'), '2008_000003.mat is not an instance file of SBD'),
        (write(f'{S}inst/2008_000003.mat', b''), '2008_000003.mat is not an instance file of SBD'),
        (truncate(f'{S}inst/2008_000003.mat'), '2008_000003.mat is not an instance file of SBD'),
        (mat(np.ones(SHAPE, np.uint8), []), 'value in Segmentation that is not in 0 to 0'),
        (mat(np.ones(SHAPE), [3]), 'value in Segmentation that is not in 0 to 1'),
        (mat(np.ones(SHAPE, np.uint8), [21]), 'value in Categories that is not in 0 to 20'),
        (mat(np.ones((2, *SHAPE), np.uint8), [2]), 'Segmentation that is no image'),
        (mat(np.ones((10, 11), np.uint8), [2]), '2008_000003.mat is 11x10, another size than '),
        (write(f'{V}Annotations/2007_000001.xml'), '2007_000001.xml is not an annotation file'),
        (
            write(f'{V}Annotations/2007_000001.xml', XML.format('', '').encode()),
            '2007_000001.xml is not an annotation file',
        ),
        (
            write(f'{V}Annotations/2007_000001.xml', XML.format('nan', '').encode()),
            '2007_000001.xml is not an annotation file',
        ),
        (
            write(
                f'{V}Annotations/2007_000001.xml',
                XML.format(1, '<difficult>Unspecified</difficult>').encode(),
            ),
            '2007_000001.xml is not an annotation file',
        ),
        (write(f'{V}SegmentationObject/2007_000001.png'), '2007_000001.png cannot be decoded'),
        (truncate(f'{V}SegmentationObject/2007_000001.png'), '2007_000001.png cannot be decoded'),
        (write(f'{V}JPEGImages/2007_000001.jpg'), '2007_000001.jpg cannot be read as an image'),
        (truncate(f'{V}JPEGImages/2007_000002.jpg', 2), '2007_000002.jpg cannot be read as an ima'),
        (truncate(f'{S}img/2008_000004.jpg', 2), '2008_000004.jpg cannot be read as an image'),
        (
            lambda root: write_png(
                root / f'{V}SegmentationClass/2007_000001.png', np.zeros((12, 10))
            ),
            'SegmentationClass/2007_000001.png differ in size',
        ),
        (
            lambda root: write_png(
                root / f'{V}SegmentationClass/2007_000001.png', np.full(SHAPE, 21)
            ),
            'SegmentationClass/2007_000001.png has a class above 20',
        ),
        (
            lambda root: write_image(root / f'{V}SegmentationClass/2007_000001.png', 3),
            'SegmentationClass/2007_000001.png holds colours, not indices',
        ),
        (write('out', b'a file'), 'cannot make folder'),
    ],
)
def test_bad_input_is_one_sentence(tree, run, tmp_path, break_it, words):
    break_it(tmp_path)
    code, _, err = run(*tree)
    assert code == 2
    assert words in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith('error: ')
    assert not list(tmp_path.glob('out/annotations/*'))


def test_a_png_that_says_it_is_huge_is_one_sentence(tree, run, bomb):
    for name in ('SegmentationObject/2007_000001.png', 'JPEGImages/2008_000003.jpg'):
        path = tree[0] / 'VOC2012' / name
        whole = path.read_bytes()
        path.write_bytes(bomb)
        code, _, err = run(*tree)
        assert code == 2
        assert err.splitlines()[-1].startswith(f'error: {path} cannot be')
        path.write_bytes(whole)
    assert not list(tree[2].glob('*/*'))


def test_wrong_folders(tree, run, tmp_path):
    voc, sbd, out = tree
    for args, words in (
        ((tmp_path / 'none', sbd, out), 'none is not VOC 2012: no folder ImageSets/Segmentation'),
        ((voc, tmp_path / 'none', out), 'none is not SBD: no folder inst'),
        ((voc, sbd, voc / 'VOC2012'), f'{voc}, which holds the data to read: give another'),
        ((voc, sbd, voc / 'VOC2012/JPEGImages'), f'{voc}, which holds the data to read: give'),
        ((voc, sbd, sbd), f'{sbd}, which holds the data to read: give another'),
    ):
        code, _, err = run(*args)
        assert code == 2
        assert words in err
    assert not out.exists()
