"""From boxes to masks and to a training, as a new user goes."""

import csv
import json
import os
import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DATASETS, TRANSFORMS
from PIL import Image

from mmboxcaseg.apis.masking import summarize_masks
from mmboxcaseg.cli import main
from mmboxcaseg.cli.masks import _FORMATS
from mmboxcaseg.coco import Proxy
from mmboxcaseg.engine.config import load_config
from mmboxcaseg.formats import FORMATS
from mmboxcaseg.proxy import decode_rle, encode_rle
from mmboxcaseg.proxy.dropping import is_kept

TOOL = Path(__file__).parents[2] / 'tools' / 'boxes_to_masks.py'
ROWS = [
    ('a.png', 'cat', 2, 3, 22, 23),
    ('a.png', 'dog', 8, 9, 20, 23),
    ('b.png', 'cat', 1, 2, 20, 30),
    ('c.png', 'dog', 3, 4, 18, 17),
]
SIZES = {'a.png': (40, 30), 'b.png': (24, 36), 'c.png': (20, 20)}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder, the current one, with boxes.csv and img/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'img').mkdir()
    rng = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        img = cv2.GaussianBlur(rng.integers(0, 255, (height, width, 3), np.uint8), (9, 9), 0)
        cv2.imwrite(str(tmp_path / 'img' / name), img)
    lines = ['filename,class,xmin,ymin,xmax,ymax', *(','.join(map(str, row)) for row in ROWS)]
    (tmp_path / 'boxes.csv').write_text('\n'.join(lines))
    return tmp_path


@pytest.fixture
def masks(run, trained, data):
    """Run the tool on boxes and go on from what it wrote."""
    config, checkpoint = trained
    network = ['--config', config, '--checkpoint', checkpoint, '--device', 'cpu']

    def masks(boxes='boxes.csv', *options):
        return run(boxes, '--images', 'img', '--out', 'out', *network, *options)

    return masks


def read(path):
    return json.loads(Path(path).read_text())


def write_coco(path, true=None):
    """The boxes as COCO, and one's true mask."""
    names, classes = sorted(SIZES), ['cat', 'dog']
    annotations = [
        dict(
            id=id_,
            image_id=names.index(name) + 1,
            category_id=classes.index(class_) + 1,
            bbox=[x1, y1, x2 - x1, y2 - y1],
            **(dict(segmentation=true[id_]) if true and id_ in true else {}),
        )
        for id_, (name, class_, x1, y1, x2, y2) in enumerate(ROWS, 1)
    ]
    images = [
        dict(id=id_, file_name=name, width=SIZES[name][0], height=SIZES[name][1])
        for id_, name in enumerate(names, 1)
    ]
    categories = [dict(id=id_, name=name) for id_, name in enumerate(classes, 1)]
    content = dict(images=images, annotations=annotations, categories=categories)
    path.write_text(json.dumps(content))


def test_formats_of_the_option_are_those_that_are_read():
    assert set(_FORMATS) == set(FORMATS)


def test_boxes_to_masks(masks, data):
    code, out, err = masks('boxes.csv', '--pictures', 3, '--min-quality', '0.3')
    assert code == 0, err
    boxes, masked = read('out/boxes.json'), read('out/masks.json')
    assert [a['bbox'] for a in boxes['annotations']] == [
        [x1, y1, x2 - x1, y2 - y1] for *_, x1, y1, x2, y2 in ROWS
    ]
    for before, after in zip(boxes['annotations'], masked['annotations'], strict=True):
        assert {key: after[key] for key in before} == before | dict(area=after['area'])
        assert after['segmentation'] and 0 < after['quality'] < 1
    assert cv2.imread('out/masks.jpg') is not None
    quality = {a['id']: a['quality'] for a in masked['annotations']}
    kept = sum(value > 0.3 for value in quality.values())
    lines = out.splitlines()[-10:]
    assert lines[0] == 'boxes.csv: CSV, 4 boxes on 3 images'
    assert lines[1] == 'classes: cat 2, dog 2'
    assert lines[2].startswith('sizes: 4 small, 0 medium, 0 large')
    assert lines[3] == 'left out: nothing'
    assert lines[4].startswith(f'masks: {kept} of 4 have a quality above 0.3 (mean of all 0.')
    worst = min(quality, key=quality.get)
    assert re.match(rf'lowest quality: {worst} \([abc].png\) {quality[worst]:.2f}, ', lines[5])
    assert re.fullmatch(r'time: \d+\.\d s on cpu', lines[6])
    assert lines[8].endswith('Mask R-CNN, 2 images to train, 1 to validate, 60 epochs')
    report = 'mmboxcaseg report out/masks.json --images img --out out/report.html'
    assert lines[9] == f'next: {report}, then mmboxcaseg train out/mask_rcnn.py'


def test_wrong_boxes_and_images_can_be_left_out(masks, data):
    rows = (data / 'boxes.csv').read_text().splitlines()
    right = [row for row in rows if not row.startswith('c.png')]
    (data / 'right.csv').write_text('\n'.join(right))
    code, _, err = masks('right.csv')
    assert code == 0, err
    expected = {path.name: path.read_bytes() for path in Path('out').glob('*.json')}
    # Read in the middle, where it would take the pixels of others.
    wrong = ['b.png,cat,1,2,x,30', *rows[1:], 'b.png,dog,60,3,62,23', 'none.png,cat,1,1,9,9']
    (data / 'boxes.csv').write_text('\n'.join([rows[0], *wrong]))
    picture = data / 'img' / 'c.png'
    picture.write_bytes(picture.read_bytes()[:200])
    code, _, err = masks()
    assert code == 2 and 'boxes.csv has xmax' in err
    code, out, err = masks('boxes.csv', '--skip-bad')
    assert code == 0, err
    got = {path.name: path.read_bytes() for path in Path('out').glob('*.json')}
    listed = json.loads(got.pop('skipped.json'))
    assert got == expected
    named = re.compile('line 2|c.png|none.png|annotation 4 ')
    found = [named.search(entry['sentence'])[0] for entry in listed]
    assert sorted(found) == ['annotation 4 ', 'c.png', 'line 2', 'none.png']
    assert 'left out: 1 boxes that cannot be read, 2 images that are missing or cannot be' in out


def test_masks_of_other_boxes_are_not_overwritten(masks, data):
    assert masks()[0] == 0
    before = {path.name: path.read_bytes() for path in Path('out').iterdir()}
    assert masks('boxes.csv', '--min-quality', '0.2')[0] == 0  # the same boxes
    lines = (data / 'boxes.csv').read_text().splitlines()
    (data / 'other.csv').write_text('\n'.join(lines[:-1]))
    code, _, err = masks('other.csv')
    assert code == 2
    assert 'out holds masks of other boxes than other.csv has: give another --out, or rem' in err
    assert Path('out/masks.json').read_bytes() == before['masks.json']
    assert Path('out/boxes.json').read_bytes() == before['boxes.json']
    Path('out/boxes.json').unlink()  # whose the masks are is not known
    assert masks()[0] == 2
    Path('out/masks.json').unlink()
    assert masks('other.csv')[0] == 0


def test_the_next_commands_can_be_pasted(trained, data, run):
    config, checkpoint = trained
    Path('img').rename("Ann's images")
    network = ['--config', config, '--checkpoint', checkpoint, '--device', 'cpu']
    where = ['--images', "Ann's images", '--out', 'my masks', '--min-quality', 0.1]
    code, out, err = run('boxes.csv', *where, *network)
    assert code == 0, err
    report, train = out.splitlines()[-1].removeprefix('next: ').split(', then ')
    images = ['--images', "Ann's images", '--out', 'my masks/report.html']
    assert shlex.split(report) == ['mmboxcaseg', 'report', 'my masks/masks.json', *images]
    assert shlex.split(train) == ['mmboxcaseg', 'train', 'my masks/mask_rcnn.py']
    assert f'#   {train}\n' in Path('my masks/mask_rcnn.py').read_text()


def test_masks_in_further_formats(masks, data):
    also = ['--also', 'yolo-seg', 'label-studio']
    code, out, err = masks('boxes.csv', '--min-quality', 0.1, *also)
    assert code == 0, err
    assert 'out/yolo-seg: YOLO-seg, 4 masks, ' in out
    assert 'out/label-studio: brush predictions of Label Studio, 4 masks, as they are\n' in out
    # What validates is what validates the Mask R-CNN.
    (image,) = read('out/masks_val.json')['images']
    assert [path.name for path in Path('out/yolo-seg/images/val').iterdir()] == [image['file_name']]
    # What may have been corrected since is never written over.
    code, _, err = masks('boxes.csv', *also)
    assert code == 2 and 'error: out/yolo-seg is there already: remove it, or give' in err


def test_validation_of_further_formats(masks, data):
    write_coco(data / 'val.json', {id_: [[2, 3, 9, 3, 9, 9]] for id_ in (1, 2)})
    content = read('val.json')
    content['images'] = content['images'][:1]
    content['annotations'] = content['annotations'][:2]
    (data / 'val.json').write_text(json.dumps(content))
    options = ['--val', 'val.json', '--also', 'voc-png', '--min-quality', 0.1]
    assert masks('boxes.csv', *options)[0] == 0
    sets = Path('out/voc-png/ImageSets/Segmentation')
    assert [(sets / f'{part}.txt').read_text() for part in ('train', 'val')] == ['b\nc\n', 'a\n']


@pytest.mark.parametrize('form', ['zip', 'tar'])
def test_images_in_an_archive(masks, data, form):
    """The same masks as of the folder, further formats with their images, and a training."""
    assert masks('boxes.csv', '--min-quality', '0.1')[0] == 0
    expected = Path('out/masks.json').read_bytes()
    shutil.rmtree('out')
    shutil.make_archive('img', form, 'img')
    shutil.move('img', 'unpacked')
    os.rename(f'img.{form}', 'img')  # masks() says where the images are
    options = '--min-quality', '0.1', '--also', 'yolo-seg', 'labelme'
    code, _, err = masks('boxes.csv', *options, '--pictures', '2')
    assert code == 0, err
    assert Path('out/masks.json').read_bytes() == expected
    for written in (
        *Path('out/yolo-seg/images').rglob('*.png'),
        *Path('out/labelme').glob('*.png'),
    ):
        assert written.read_bytes() == Path('unpacked', written.name).read_bytes()
    for file in Path('out/labelme').glob('*.json'):
        assert (file.parent / read(file)['imagePath']).is_file()
    dataset = train_dataset()
    assert sorted(dataset[i]['inputs'].shape[0] for i in range(len(dataset))) == [3] * len(dataset)


def test_stray_parts_and_pinholes(masks, data, monkeypatch):
    seen = []

    def clean(mask, bbox, min_part, max_hole):
        seen.append((bbox.tolist(), min_part, max_hole))
        return np.zeros_like(mask)

    monkeypatch.setattr('mmboxcaseg.coco.proxies.clean_mask', clean)
    write_coco(data / 'boxes.json', TRUE)
    code, out, err = masks('boxes.json', '--min-part', '0.02', '--max-hole', '0.1')
    assert code == 0, err
    # Not the true one's; workers take images in any order.
    assert sorted(seen) == sorted(([*map(float, row[2:])], 0.02, 0.1) for row in ROWS[1:])
    assert '1 true ones were kept, 3 are empty' in out
    assert len(read('out/masks_raw.json')) == 3


def test_no_mask_is_good_enough(masks, data):
    code, out, _ = masks('boxes.csv', '--min-quality', 1)
    assert code == 0 and out.splitlines()[-1].endswith('so none would train')
    assert 'mmboxcaseg train' not in out


def test_other_formats_give_the_same_masks(masks, data):
    masks()
    expected = read('out/masks.json')
    write_coco(data / 'boxes.json')
    code, out, err = masks('boxes.json')
    assert code == 0 and 'boxes.json: COCO, 4 boxes' in out, err
    assert read('out/masks.json') == expected


def test_what_is_left_out_is_said(masks, data):
    write_coco(data / 'boxes.json')
    content = read('boxes.json')
    content['annotations'][0]['iscrowd'] = 1
    content['annotations'][1]['bbox'][2] = 0
    (data / 'boxes.json').write_text(json.dumps(content))
    code, out, err = masks('boxes.json')
    assert code == 0, err
    assert (
        'left out: 2 of 4 annotations are left out: 1 with iscrowd 1 (if it is one object, ' in out
    )
    assert '1 whose box has no area, 1 image without a box\n' in out
    assert 'masks: ' in out and ' of 2 have' in out


def test_empty_masks_are_not_kept(as_coco, data):
    write_coco(data / 'boxes.json')
    coco = as_coco(read('boxes.json'))
    full, empty = (encode_rle(np.full((30, 40), value)) for value in (True, False))
    proxies = {1: Proxy(full, 1, 0.9), 2: Proxy(empty, 0, 0.8), 3: Proxy(full, 1, 0.5)}
    assert summarize_masks(coco, proxies, 0.75, keep_masks=True) == [
        'masks: 1 of 3 have a quality above 0.75 (mean of all 0.47); 0 true ones were kept, '
        '1 are empty',
        'lowest quality: 2 (a.png) 0.00, 3 (b.png) 0.50, 1 (a.png) 0.90',
    ]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--format', 'voc'), 'error: boxes.csv cannot be read as XML'),
        (('--min-quality', '2'), 'error: --min-quality must be in [0, 1], not 2.0'),
        (('--pretrained', 'no.pth'), 'error: there is no checkpoint file no.pth'),
        (('--pretrained', 'boxes.csv'), 'error: boxes.csv is not a checkpoint'),
        (('--images', 'none'), 'error: image folder none does not exist'),
        (('--min-part', '2'), 'error: --min-part must be in [0, 1], not 2.0'),
        (('--max-hole', '-1'), 'error: --max-hole must be in [0, 1], not -1.0'),
        (('--pictures', '-3'), 'error: --pictures must be 0 or more, not -3'),
        (('--out', 'img'), 'error: img holds what is read: give another folder to write to'),
    ],
)
def test_what_is_wrong_is_one_sentence(masks, data, options, message):
    code, out, err = masks('boxes.csv', *options)
    assert (code, out) == (2, '')
    assert err.startswith(message) and not Path('out').exists()


def test_config_and_checkpoint_come_together(run, data):
    code, _, err = run('boxes.csv', '--images', 'img', '--out', 'out', '--config', 'a.py')
    assert code == 2 and err.startswith('error: a checkpoint is missing: give both')
    assert not Path('out').exists()


def test_boxes_that_look_wrong(masks, data):
    lines = ['filename,class,xmin,ymin,xmax,ymax', 'a.png,cat,35,10,60,20']
    (data / 'boxes.csv').write_text('\n'.join(lines))
    code, _, err = masks()
    assert code == 2 and '1 boxes of boxes.csv lie outside their images for more than half' in err
    assert not Path('out').exists()
    assert masks('boxes.csv', '--trust-boxes')[0] == 0


def test_what_the_reader_leaves_out_is_said(masks, data, monkeypatch):
    said = []
    monkeypatch.setattr('mmboxcaseg.apis.masking.print_log', lambda *args: said.append(args[0]))
    shapes = [('Cat', 'rectangle', [[2, 3], [22, 23]]), ('cat', 'rectangle', [[8, 9], [20, 23]])]
    shapes.append(('cat', 'circle', [[8, 9], [9, 9]]))
    shapes = [dict(zip(('label', 'shape_type', 'points'), shape, strict=True)) for shape in shapes]
    (data / 'a.json').write_text(json.dumps(dict(imagePath='a.png', shapes=shapes)))
    code, out, err = masks('a.json')
    assert code == 0 and 'a.json: LabelMe, 2 boxes on 1 image\n' in out, err
    assert "left out: 1 shapes of kind 'circle'\n" in out
    assert said == ["classes 'Cat' and 'cat' may be one: if so, give both one name"]


def test_a_broken_true_mask_is_told_of_the_users_own_file(masks, data):
    write_coco(data / 'boxes.json', {1: [[2, 3]]})
    code, _, err = masks('boxes.json')
    assert code == 2 and 'the mask of annotation 1 in boxes.json is broken' in err
    assert not Path('out').exists()


#: Of the larger box of a.png, over all of the smaller one's.
TRUE = {1: [[2, 3, 22, 3, 22, 23, 12, 23, 2, 13]]}


def train_dataset():
    config = load_config('out/mask_rcnn.py')
    return DATASETS.build(config.train_dataloader.dataset | dict(serialize_data=False))


def test_true_masks_are_kept_and_train(masks, data, monkeypatch):
    """They alone, where no proxy mask is good enough."""
    monkeypatch.setattr('mmboxcaseg.apis.mask_rcnn_config.val_images', lambda coco: {3})
    write_coco(data / 'boxes.json', TRUE)
    code, out, err = masks('boxes.json', '--min-quality', '0.999')
    assert code == 0, err
    assert 'masks: 1 of 4 have a quality above 0.999' in out and '1 true ones were kept' in out
    first, second, *_ = read('out/masks.json')['annotations']
    assert first['segmentation'] == TRUE[1]
    assert (first['quality'], first['box_agreement']) == (1, 1)
    true = decode_rle(TRUE[1], (30, 40))
    assert not (decode_rle(second['segmentation'], (30, 40)) & true).any()

    dataset = train_dataset()
    load, annotate, merge, drop = dataset.pipeline.transforms[:4]
    results = drop(merge(annotate(load(dataset.get_data_info(0)))))
    assert is_kept(results['gt_masks'].masks).tolist() == [True, False]
    assert (results['gt_masks'].masks[0] == true).all()

    # The counter-check: unless they are kept nothing trains.
    assert masks('boxes.json', '--min-quality', '0.999', '--no-keep-masks')[0] == 0
    assert read('out/masks.json')['annotations'][0]['segmentation'] != TRUE[1]
    results = drop(merge(annotate(load(train_dataset().get_data_info(0)))))
    assert not is_kept(results['gt_masks'].masks).any()


SMALL = ['train_cfg.max_epochs=1', 'train_dataloader.dataset.pipeline.Resize.scale=(64,64)']
SMALL += ['train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False']
SMALL_VAL = [option.replace('train_dataloader', 'val_dataloader') for option in SMALL[1:]]


def test_the_config_trains_as_it_stands(masks, data, quiet_runner):
    assert masks('boxes.csv', '--min-quality', '0.1')[0] == 0
    config = load_config('out/mask_rcnn.py')
    head = config.model.roi_head
    assert (head.bbox_head.num_classes, head.mask_head.num_classes) == (2, 2)
    assert config.default_hooks.checkpoint.max_keep_ckpts == 3
    parts = [read(f'out/masks_{part}.json') for part in ('train', 'val')]
    assert sorted(image['id'] for part in parts for image in part['images']) == [1, 2, 3]
    assert sorted(a['id'] for part in parts for a in part['annotations']) == [1, 2, 3, 4]
    options = ['--cfg-options', *SMALL, *SMALL_VAL]
    main(['train', 'out/mask_rcnn.py', '--work-dir', 'run', *options])
    assert Path('run/epoch_1.pth').is_file()


def test_classes_are_no_part_of_the_config(masks, data):
    names = ['{{ fileDirname }}', '{{ $HOME:x }}', '{{_base_.load}}', '{train_file!r}', "');1/0#"]
    with open(data / 'boxes.csv', 'w') as file:
        rows = csv.writer(file)
        rows.writerow(['filename', 'xmin', 'ymin', 'xmax', 'ymax', 'class'])
        rows.writerows(['b.png', 1, 2, 20, 30 - index, name] for index, name in enumerate(names))
    code, _, err = masks()
    assert code == 0, err
    dataset = load_config('out/mask_rcnn.py').train_dataloader.dataset
    assert sorted(dataset.metainfo.classes) == sorted(names)


def test_one_image_has_no_validation(masks, data, quiet_runner):
    (data / 'boxes.csv').write_text('filename,xmin,ymin,xmax,ymax\nb.png,1,2,20,30\n')
    code, out, err = masks()
    assert code == 0 and '1 images to train, 0 to validate' in out, err
    main(['train', 'out/mask_rcnn.py', '--work-dir', 'run', '--cfg-options', *SMALL])
    assert Path('run/epoch_1.pth').is_file()


def test_a_pretrained_detector_comes_in_full_size(masks, data):
    torch.save(dict(state_dict=dict(weight=torch.zeros(1))), 'detector.pth')
    assert masks('boxes.csv', '--pretrained', 'detector.pth')[0] == 0
    config = load_config('out/mask_rcnn.py')
    assert config.load_from == str(Path('detector.pth').resolve())
    assert config.model.backbone.depth == 50 and config.model.backbone.init_cfg is None
    assert config.optim_wrapper.optimizer.lr == pytest.approx(0.0025)
    assert config.model.roi_head.mask_head.type == 'mmboxcaseg.ProxyMaskHead'
    assert config.model.roi_head.mask_head.num_classes == 2


def test_validation_on_true_masks(masks, data, monkeypatch):
    true = {id_: [[2, 3, 9, 3, 9, 9]] for id_ in (1, 2)}
    write_coco(data / 'val.json', true)
    content = read('val.json')
    content['images'] = content['images'][:1]
    content['annotations'] = content['annotations'][:2]
    (data / 'val.json').write_text(json.dumps(content))
    code, out, err = masks('boxes.csv', '--val', 'val.json')
    assert code == 0 and '2 images to train, 1 to validate' in out, err
    assert [image['file_name'] for image in read('out/masks_train.json')['images']] == [
        'b.png', 'c.png',
    ]  # fmt: skip
    assert [a['segmentation'] for a in read('out/masks_val.json')['annotations']] == [
        *true.values()
    ]
    config = load_config('out/mask_rcnn.py')
    assert config.work_dir == str(Path('out/mask_rcnn').resolve())
    # Images are read as when the masks were drawn.
    for loader in (config.train_dataloader, config.val_dataloader):
        reading = loader.dataset.pipeline[0].backend_args
        assert (reading.backend, reading.exif, reading.bands) == ('mmboxcaseg', False, None)
    # Nothing of what follows is told after the network has run.
    monkeypatch.setattr('mmboxcaseg.apis.masking.generate_proxy_masks', None)
    del content['annotations'][1]['segmentation']
    (data / 'val.json').write_text(json.dumps(content))
    code, _, err = masks('boxes.csv', '--val', 'val.json')
    assert code == 2 and 'annotation 2 of' in err and 'no segmentation to validate with' in err
    content['categories'].reverse()
    (data / 'val.json').write_text(json.dumps(content))
    code, _, err = masks('boxes.csv', '--val', 'val.json')
    assert code == 2 and 'val.json has other categories than boxes.csv, or in another ord' in err
    write_coco(data / 'val.json', {id_: [[2, 3, 9, 3, 9, 9]] for id_ in (1, 2, 3, 4)})
    code, _, err = masks('boxes.csv', '--val', 'val.json')
    assert code == 2 and 'names every image' in err and 'none is left to train on' in err


def test_boxes_of_a_photograph_as_exif_turns_it(masks, data):
    """One option for all that follows: the size that is read, the patches and the Mask R-CNN."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[4:24, 6:34] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(data / 'img' / 'a.png', exif=exif)
    lines = ['filename,class,xmin,ymin,xmax,ymax', 'a.png,cat,6,6,26,34', 'b.png,cat,2,2,20,30']
    (data / 'boxes.csv').write_text('\n'.join(lines))
    code, _, err = masks()
    assert code == 2 and 'probably of photographs as EXIF turns them: write' in err
    code, _, err = masks('boxes.csv', '--exif', '--min-quality', 0, '--pictures', 2)
    assert code == 0, err
    image = read('out/boxes.json')['images'][0]
    assert (image['file_name'], image['width'], image['height']) == ('a.png', 30, 40)
    config = load_config('out/mask_rcnn.py')
    for loader in (config.train_dataloader, config.val_dataloader):
        load = loader.dataset.pipeline[0]
        assert load.backend_args.exif is True
        turned = TRANSFORMS.build(load)(dict(img_path=str(data / 'img' / 'a.png')))['img']
        assert turned.shape == (40, 30, 3)
        assert turned[6:34, 6:26].all() and turned.sum() == turned[6:34, 6:26].sum()
