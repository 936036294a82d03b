import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations

from mmboxcaseg import config_path
from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.apis.mask_stream import MaskStream
from mmboxcaseg.apis.proxy_generation import ProxyGenerator
from mmboxcaseg.engine.config import load_config
from mmboxcaseg.pretrained import SHIPPED, weights_path
from mmboxcaseg.proxy import box_agreement, decode_rle, merge_masks

TOOLS = Path(__file__).parents[2] / 'tools'
SIZES = {5: (40, 30), 2: (24, 36), 9: (20, 20)}


def annotation(id_, image_id, bbox, **fields):
    return dict(id=id_, image_id=image_id, category_id=1, bbox=bbox, **fields)


BOXES = dict(
    info=dict(note='kept'),
    images=[
        dict(id=id_, file_name=f'{id_}.png', width=width, height=height, extra=id_)
        for id_, (width, height) in SIZES.items()
    ],
    categories=[dict(id=1, name='cat', supercategory='animal')],
    annotations=[
        annotation(30, 5, [2, 3, 20, 20], area=300, extra='x'),
        annotation(20, 2, [-4.5, 2.2, 20.7, 30], iscrowd=0),
        annotation(10, 5, [8.4, 8.6, 12, 14]),
        annotation(40, 5, [0, 0, 40, 30], iscrowd=1, area=200),
        annotation(50, 2, [3, 3, 0, 5], area=1),
        annotation(60, 5, [20, 1, 15.5, 28]),
    ],
)


@pytest.fixture
def data(tmp_path):
    """A folder with boxes.json and img/."""
    (tmp_path / 'img').mkdir()
    rng = np.random.default_rng(0)
    for id_, (width, height) in SIZES.items():
        img = cv2.GaussianBlur(rng.integers(0, 255, (height, width, 3), np.uint8), (9, 9), 0)
        cv2.imwrite(str(tmp_path / 'img' / f'{id_}.png'), img)
    (tmp_path / 'boxes.json').write_text(json.dumps(BOXES))
    return tmp_path


def arguments(trained, data, *more):
    return [
        *(str(TOOLS / 'generate_proxy_masks.py'), *trained, '--device', 'cpu'),
        *('--ann', data / 'boxes.json', '--images', data / 'img', '--out', data / 'proxy.json'),
        *more,
    ]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a tool in this process; returns exit code, stdout and stderr."""

    def run(args):
        monkeypatch.setattr(sys, 'argv', list(map(str, args)))
        try:
            runpy.run_path(sys.argv[0], run_name='__main__')
            code = 0
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run


def read(path):
    return json.loads(path.read_text())


def as_bboxes(annotations):
    """Their boxes xyxy (N, 4)."""
    return np.array([[x, y, x + w, y + h] for x, y, w, h in (a['bbox'] for a in annotations)])


def test_without_config_and_checkpoint_the_shipped_network_draws(data, run):
    shipped = (config_path(SHIPPED.config), weights_path())
    code, _, err = run(arguments(shipped, data))
    assert code == 0, err
    expected = (data / 'proxy.json').read_bytes()
    (data / 'proxy.json').unlink()
    assert run(arguments((), data))[0] == 0
    assert (data / 'proxy.json').read_bytes() == expected


def test_config_without_checkpoint_is_refused(trained, data, run):
    code, out, err = run(arguments(trained[:1], data))
    assert (code, out) == (2, '')
    assert err.startswith('error: a checkpoint is missing: give both CONFIG and CHECKPOINT')


def test_options_may_stand_between_config_and_checkpoint(trained, data, run):
    tool, *options = arguments((), data)
    code, out, err = run([tool, trained[0], *options, trained[1]])
    assert code == 0 and '4 boxes' in out, err


def test_every_box_gets_a_mask(trained, data, run):
    code, out, _ = run(arguments(trained, data))
    assert code == 0
    assert '4 boxes' in out and 'above 0.95' in out
    coco = read(data / 'proxy.json')

    assert {k: v for k, v in coco.items() if k != 'annotations'} == {
        k: v for k, v in BOXES.items() if k != 'annotations'
    }
    for after, before in zip(coco['annotations'], BOXES['annotations'], strict=True):
        kept = before.keys() - {'area'}
        assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
        assert isinstance(after['segmentation']['counts'], str)
        new = {'segmentation', 'box_agreement', 'quality', 'area', 'iscrowd'}
        assert after.keys() - before.keys() <= new
    assert [a['iscrowd'] for a in coco['annotations']] == [0, 0, 0, 1, 0, 0]
    # The masks' pixels; of the crowd and the box without an area what the file says, or the box's.
    shapes = {id_: size[::-1] for id_, size in SIZES.items()}
    drawn = [
        int(decode_rle(a['segmentation'], shapes[a['image_id']]).sum()) for a in coco['annotations']
    ]
    assert [a['area'] for a in coco['annotations']] == [*drawn[:3], 200, 1, drawn[5]]
    assert min(drawn[:3] + drawn[5:]) > 0
    assert [a['id'] for a in coco['annotations'] if a['box_agreement'] == 0] == [40, 50]
    assert [a['id'] for a in coco['annotations'] if 'quality' not in a] == [40, 50]


def test_masks_are_the_predictors_merged(trained, data, run):
    run(arguments(trained, data))
    proxies = {a['id']: a for a in read(data / 'proxy.json')['annotations']}
    predictor = BoxCasegPredictor(init_model(*trained))
    for image_id, ids in {5: [30, 10, 60], 2: [20]}.items():
        img = cv2.imread(str(data / 'img' / f'{image_id}.png'))
        predictor.set_image(img)
        bboxes = as_bboxes([proxies[id_] for id_ in ids])
        raw, quality = predictor.predict(bboxes)
        assert [proxies[id_]['quality'] for id_ in ids] == pytest.approx(quality, abs=1e-4)
        assert raw.any(axis=(1, 2)).all() and not raw.all(axis=0).all()
        masks = merge_masks(raw, bboxes)
        agreement = box_agreement(masks, bboxes)
        for id_, mask, value in zip(ids, masks, agreement, strict=True):
            decoded = decode_rle(proxies[id_]['segmentation'], img.shape[:2])
            # A batch of another size may round a pixel differently.
            assert (decoded != mask).mean() < 0.002
            assert proxies[id_]['box_agreement'] == pytest.approx(value, abs=0.1)


@pytest.mark.parametrize('options', [('--tta',), ('--force-amp',), ('--tta', '--force-amp')])
def test_views_and_half_precision(trained, data, run, options):
    run(arguments(trained, data))
    plain = (data / 'proxy.json').read_bytes()
    files = []
    for workers in (0, 2):
        code, _, err = run(arguments(trained, data, *options, '--workers', workers))
        assert code == 0, err
        files.append((data / 'proxy.json').read_bytes())
    assert files[0] == files[1] != plain

    (annotation,) = (a for a in json.loads(files[0])['annotations'] if a['id'] == 20)
    predictor = BoxCasegPredictor(
        init_model(*trained), tta='--tta' in options, amp='--force-amp' in options
    )
    predictor.set_image(cv2.imread(str(data / 'img' / '2.png')))
    bboxes = as_bboxes([annotation])
    mask = decode_rle(annotation['segmentation'], (36, 24))
    (predicted,), (quality,) = predictor.predict(bboxes)
    assert (predicted != mask).mean() < 0.005
    assert annotation['quality'] == pytest.approx(quality, abs=1e-3)


def test_an_interrupted_run_does_not_go_on_otherwise(trained, data, run, monkeypatch):
    whole = ProxyGenerator.run

    def interrupted(self, folder, shards):
        yield from whole(self, folder, shards)
        raise ZeroDivisionError  # the shards are finished, the file is not written

    with monkeypatch.context() as patched:
        patched.setattr(ProxyGenerator, 'run', interrupted)
        with pytest.raises(ZeroDivisionError):
            run(arguments(trained, data, '--tta'))
    for options, names in {
        (): r'choice of views \(--tta\)',
        ('--tta', '--force-amp'): r'precision \(--amp\)',
        ('--tta', '--slack', '0.1'): r'slack \(--slack\)',
    }.items():
        code, _, err = run(arguments(trained, data, *options))
        assert code == 2
        assert_one_sentence(err, f'with another {names}: go on')
    assert run(arguments(trained, data, '--tta'))[0] == 0


def test_batches_go_across_images(trained, data, run, monkeypatch):
    sizes = []
    batches = MaskStream._batches

    def spy(self, images):
        for batch in batches(self, images):
            sizes.append(len(batch))
            yield batch

    monkeypatch.setattr(MaskStream, '_batches', spy)
    run(arguments(trained, data))
    run(arguments(trained, data, '--batch-size', 3))
    assert sizes == [4, 3, 1]


def test_raw_out_refines_to_the_same_file(trained, data, run):
    run(arguments(trained, data, '--raw-out', data / 'raw.json'))
    raw = read(data / 'raw.json')
    proxies = {a['id']: a for a in read(data / 'proxy.json')['annotations']}
    # Image by image, in the order of the file.
    assert [entry['ann_id'] for entry in raw] == [30, 10, 60, 20]
    annotations = {a['id']: a for a in BOXES['annotations']}
    for entry in raw:
        for key in ('image_id', 'category_id', 'bbox'):
            assert entry[key] == annotations[entry['ann_id']][key]
        assert entry['score'] == proxies[entry['ann_id']]['quality']
    overlap = [decode_rle(entry['segmentation'], (30, 40)) for entry in raw[:2]]
    assert (overlap[0] & overlap[1]).any()

    refine = [TOOLS / 'refine_proxy_masks.py', data / 'boxes.json', data / 'raw.json']
    assert run([*refine, data / 'refined.json'])[0] == 0
    assert read(data / 'refined.json') == read(data / 'proxy.json')


def test_boxes_of_an_image_share_out_its_pixels(trained, data, run):
    """Whatever batch a box is in; of three boxes of image 5 two overlap."""
    options = ('--cfg-options', 'model.test_cfg.exclusive=True', '--batch-size', 2)
    code, _, err = run(arguments(trained, data, *options))
    assert code == 0, err
    proxies = {a['id']: a for a in read(data / 'proxy.json')['annotations']}
    config = load_config(trained[0])
    config.model.test_cfg = dict(exclusive=True)
    predictor = BoxCasegPredictor(init_model(config, trained[1]))
    predictor.set_image(cv2.imread(str(data / 'img' / '5.png')))
    bboxes = as_bboxes([proxies[id_] for id_ in (30, 10, 60)])
    masks, quality = predictor.predict(bboxes, merge=True)
    for id_, mask, expected in zip((30, 10, 60), masks, quality, strict=True):
        assert (decode_rle(proxies[id_]['segmentation'], mask.shape) != mask).mean() < 0.002
        assert proxies[id_]['quality'] == pytest.approx(expected, abs=1e-3)
    assert (quality < predictor.predict(bboxes)[1] - 1e-2).sum() == 2


@pytest.mark.parametrize(
    'options', [('--slack', 0.2), ('--cfg-options', 'model.test_cfg.slack=.2')]
)
def test_masks_that_leave_their_boxes(trained, data, run, options):
    code, _, err = run(arguments(trained, data, '--tta', *options, '--raw-out', data / 'raw.json'))
    assert code == 0, err
    proxies = {a['id']: a for a in read(data / 'proxy.json')['annotations']}
    predictor = BoxCasegPredictor(init_model(*trained), tta=True, slack=0.2)
    predictor.set_image(cv2.imread(str(data / 'img' / '5.png')))
    bboxes = as_bboxes([proxies[id_] for id_ in (30, 10, 60)])
    left = 0
    for id_, mask in zip(
        (30, 10, 60), merge_masks(predictor.predict(bboxes)[0], bboxes), strict=True
    ):
        x, y, w, h = proxies[id_]['bbox']
        decoded = decode_rle(proxies[id_]['segmentation'], mask.shape)
        assert (decoded != mask).mean() < 0.002
        rows, columns = np.nonzero(decoded)
        corner = [columns.min(), rows.min()]
        sides = [columns.max() + 1 - corner[0], rows.max() + 1 - corner[1]]
        assert proxies[id_]['mask_bbox'] == [*corner, *sides]
        left += corner[0] < round(x) or corner[1] < round(y)
    assert left
    assert 'mask_bbox' not in proxies[40]

    refine = [TOOLS / 'refine_proxy_masks.py', data / 'boxes.json', data / 'raw.json']
    assert run([*refine, data / 'refined.json', '--mask-bbox'])[0] == 0
    assert (data / 'refined.json').read_bytes() == (data / 'proxy.json').read_bytes()


def test_segmentation_of_the_input_is_not_read(trained, data, run):
    run(arguments(trained, data))
    expected = read(data / 'proxy.json')
    masks = [None, 'not a mask', [[0, 0, 9, 0, 9, 9]], 7, {}, dict(size=[1, 1], counts=[0, 1])]
    annotations = [
        dict(a, segmentation=mask) for a, mask in zip(BOXES['annotations'], masks, strict=True)
    ]
    (data / 'boxes.json').write_text(json.dumps(dict(BOXES, annotations=annotations)))
    assert run(arguments(trained, data))[0] == 0
    assert read(data / 'proxy.json') == expected


def test_mmdet_reads_the_file(trained, data, run):
    run(arguments(trained, data))
    dataset = CocoDataset(
        ann_file=str(data / 'proxy.json'),
        data_prefix=dict(img=str(data / 'img')),
        metainfo=dict(classes=('cat',)),
        pipeline=[],
    )
    load = LoadAnnotations(with_bbox=True, with_mask=True)
    ignored = {}
    for info in dataset:
        results = load(dict(info, ori_shape=(info['height'], info['width'])))
        ignored[info['img_id']] = results['gt_ignore_flags'].tolist()
        masks = results['gt_masks'].masks[~results['gt_ignore_flags']]
        assert masks.any(axis=(1, 2)).all()
    # mmdet leaves the degenerate box out.
    assert ignored == {5: [False, False, True, False], 2: [False], 9: []}


def edit_boxes(**changes):
    def edit(data):
        (data / 'boxes.json').write_text(json.dumps(dict(BOXES, **changes)))
        return ()

    return edit


def write_image(text):
    def edit(data):
        (data / 'img' / '5.png').write_text(text)
        return ()

    return edit


def options(*more):
    return lambda data: more


FIRST = BOXES['annotations'][0]


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda data: (data / 'boxes.json').unlink() or (), 'cannot read .*boxes.json'),
        (lambda data: (data / 'boxes.json').write_text('{') and (), 'boxes.json is not JSON'),
        (edit_boxes(images={}), "boxes.json is not a COCO file: it has no list 'images'"),
        (edit_boxes(categories=[]), 'annotation 30 .* has category 1, which'),
        (
            edit_boxes(annotations=[dict(FIRST, bbox=[40, 0, 4, 4])]),
            'annotation 30 .* outside its image 5.png',
        ),
        (
            lambda data: (data / 'img' / '2.png').unlink() or (),
            'image .*2.png of .*boxes.json does not exist',
        ),
        (write_image('no image'), '5.png cannot be decoded'),
        (options('--images', 'nowhere'), 'image folder nowhere does not exist'),
        (options('--out', '/dev/null/proxy.json'), 'cannot make folder /dev/null'),
        (options('--out', '/proc/proxy.json'), 'cannot write /proc/proxy.json'),
        (lambda data: ('--out', data / 'boxes.json'), 'boxes.json is an input file'),
        (lambda data: ('--out', data / 'img' / '5.png'), '5.png is an input file'),
        (lambda data: ('--raw-out', data / 'boxes.json'), 'boxes.json is an input file'),
        (options('--out', 'proxy.pth'), 'proxy.pth: its name must end in .json'),
        (lambda data: ('--raw-out', data / 'proxy.json'), 'give different files'),
        (edit_boxes(annotations=[dict(FIRST, iscrowd=1)]), 'boxes.json holds no box'),
        (options('--tta', '--cfg-options', 'tta_pipeline=[]'), r'--tta: .*tiny\.py has no tta_pip'),
        (
            options('--cfg-options', 'test_dataloader.dataset.pipeline=[]'),
            r'tiny\.py does not say how a box is cropped',
        ),
        (options('--cfg-options', 'model.x.y'), '--cfg-options takes KEY=VALUE'),
        (options('--device', 'gpu'), "device 'gpu' is not available"),
        (options('--device', 'cuda:77'), "device 'cuda:77' is not available"),
        (options('--batch-size', 0), 'batch-size must be a whole number of at least 1'),
        (options('--workers', -1), '--workers must be 0 or more, not -1'),
        (options('--slack', 1.1), r'slack must be in \[0, 1\], not 1.1'),
        (options('--slack', 0.1), r'slack of 0.1, but a BoxPatch of .*tiny\.py has a margin of 0:'),
        (options('--tta', '--slack', 0.25), 'slack of 0.25, but .* has a margin of 0.2: give each'),
        (options('--cfg-options', 'model.test_cfg.slack=0.1'), 'slack of 0.1, but a BoxPatch'),
    ],
)
def test_bad_input_ends_before_the_network_is_loaded(
    trained, data, run, monkeypatch, edit, message
):
    monkeypatch.setattr('mmboxcaseg.apis.proxy_generation.init_model', None)
    code, _, err = run(arguments(trained, data, *edit(data)))
    assert code == 2
    assert_one_sentence(err, message)
    assert not (data / 'proxy.json').exists()


def assert_one_sentence(err, message):
    sentence = err.strip().splitlines()[-1]
    assert sentence.startswith('error: ')
    assert re.search(message, sentence), sentence
    assert 'Traceback' not in err


def test_missing_config_and_checkpoint(trained, data, run):
    config, checkpoint = trained
    code, _, err = run(arguments(('none.py', checkpoint), data))
    assert code == 2
    assert_one_sentence(err, 'there is no config file none.py')
    code, _, err = run(arguments((config, 'none.pth'), data))
    assert code == 2
    assert_one_sentence(err, 'there is no checkpoint file none.pth')


def test_does_not_overwrite_config_and_checkpoint(trained, data, run):
    for path in trained:
        before = path.read_bytes()
        code, _, err = run(arguments(trained, data, '--out', path))
        assert code == 2
        assert_one_sentence(err, f'{path.name} is an input file')
        assert path.read_bytes() == before


def test_checkpoint_of_another_architecture(trained, data, run):
    code, _, err = run(arguments(trained, data, '--cfg-options', 'model.backbone.base_channels=8'))
    assert code == 2
    assert_one_sentence(err, 'tiny.pth')


@pytest.mark.parametrize('workers', [0, 2])
def test_image_of_another_size(trained, data, run, workers):
    cv2.imwrite(str(data / 'img' / '2.png'), np.zeros((9, 9, 3), np.uint8))
    code, _, err = run(arguments(trained, data, '--workers', workers))
    assert code == 2
    assert_one_sentence(err, r'2.png is 9x9')
    assert not (data / 'proxy.json').exists()


@pytest.mark.parametrize('workers', [0, 2])
def test_maps_that_are_not_numbers_end_the_run(trained, data, run, workers):
    """Weights can be finite and give none: the square root of a negative variance."""
    config, checkpoint = trained
    broken = torch.load(checkpoint)
    for name, value in broken['state_dict'].items():
        if name.endswith('running_var'):
            value.fill_(-1)
    torch.save(broken, data / 'broken.pth')
    code, _, err = run(arguments((config, data / 'broken.pth'), data, '--workers', workers))
    assert code == 2
    assert_one_sentence(err, 'the network gives no numbers for the box .* take another checkpoint')
    assert not (data / 'proxy.json').exists()
    assert not list(data.glob('proxy.json.shards/*.jsonl'))


def test_true_masks_are_kept(trained, data, run):
    """One of three masks of an image is true; the network is not asked for it."""
    true = [[2, 3, 22.5, 3, 22.5, 20, 10, 23.25]]
    crowd = dict(size=[30, 40], counts=[7, 5, 1188])
    given = {30: true, 40: crowd}
    annotations = [a | dict(segmentation=given.get(a['id'], [])) for a in BOXES['annotations']]
    (data / 'boxes.json').write_text(json.dumps(dict(BOXES, annotations=annotations)))
    raw = ('--raw-out', data / 'raw.json')
    code, out, err = run(arguments(trained, data, '--keep-masks', *raw))
    assert code == 0 and '4 boxes' in out, err
    proxies = {a['id']: a for a in read(data / 'proxy.json')['annotations']}
    assert {id_: proxies[id_]['segmentation'] for id_ in given} == given
    assert (proxies[30]['quality'], proxies[30]['box_agreement']) == (1, 1)
    assert [entry['ann_id'] for entry in read(data / 'raw.json')] == [10, 60, 20]
    mask = decode_rle(true, (30, 40))
    for entry in read(data / 'raw.json')[:2]:
        proxy = decode_rle(proxies[entry['ann_id']]['segmentation'], (30, 40))
        assert not (proxy & mask).any()
        assert (decode_rle(entry['segmentation'], (30, 40)) & mask).any()
    # From the raw masks comes the same.
    refine = [TOOLS / 'refine_proxy_masks.py', data / 'boxes.json', data / 'raw.json']
    code, out, _ = run([*refine, data / 'refined.json', '--keep-masks'])
    assert code == 0 and 'no raw mask' not in out
    assert read(data / 'refined.json') == read(data / 'proxy.json')
    # Files of proxy masks are filled anew but for what was true.
    (data / 'boxes.json').write_bytes((data / 'proxy.json').read_bytes())
    assert run(arguments(trained, data, '--keep-masks', *raw))[0] == 0
    assert [entry['ann_id'] for entry in read(data / 'raw.json')] == [10, 60, 20]


def test_masks_are_made_of_what_true_ones_leave(trained, data, run):
    # Two true masks have all but the lowest rows; that of a crowd takes nothing.
    left, right = [[0, 0, 14, 0, 14, 28, 0, 28]], [[14, 0, 40, 0, 40, 28, 14, 28]]
    entries = [a | dict(segmentation=[]) for a in BOXES['annotations']]
    entries[0]['segmentation'] = left
    entries.append(annotation(70, 5, [8, 0, 32, 30], segmentation=right))
    entries[3]['segmentation'] = dict(size=[30, 40], counts=[0, 1200])
    (data / 'boxes.json').write_text(json.dumps(dict(BOXES, annotations=entries)))
    exclusive = ('--cfg-options', 'model.test_cfg.exclusive=True')
    options = ('--raw-out', data / 'raw.json', '--keep-masks', *exclusive)
    code, _, err = run(arguments(trained, data, *options))
    assert code == 0, err
    raw = {entry['ann_id']: entry for entry in read(data / 'raw.json')}
    assert raw.keys() == {10, 20, 60}
    for id_ in (10, 60):
        assert not decode_rle(raw[id_]['segmentation'], (30, 40))[:27].any()
    assert decode_rle(raw[60]['segmentation'], (30, 40))[28:].any()
    assert decode_rle(raw[20]['segmentation'], (36, 24))[:27].any()


def test_broken_true_masks_are_told_of_before_the_work(trained, data, run):
    broken = dict(size=[30, 40], counts=[7, 5])
    annotations = [BOXES['annotations'][0] | dict(segmentation=broken), *BOXES['annotations'][1:]]
    (data / 'boxes.json').write_text(json.dumps(dict(BOXES, annotations=annotations)))
    code, out, err = run(arguments(trained, data, '--keep-masks'))
    assert (code, out) == (2, '')
    assert_one_sentence(err, 'mask of annotation 30 in .*boxes.json is broken: its runs do not')


@pytest.mark.parametrize('size', ['4k', '8k'])
def test_a_full_disk(trained, data, run, small_disk, size):
    # Of 4 kB for each file the part has none, or the result.
    disk = small_disk(size)
    assert run(arguments(trained, data))[0] == 0
    there = arguments(trained, data, '--out', disk / 'proxy.json')
    code, _, err = run(there)
    assert code == 2
    assert_one_sentence(err, 'No space left')
    assert str(disk) in err and not list(disk.rglob('*.tmp'))
    subprocess.run(['mount', '-o', 'remount,size=1m', str(disk)], check=True)
    assert run(there)[0] == 0
    assert (disk / 'proxy.json').read_bytes() == (data / 'proxy.json').read_bytes()
