import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmboxcaseg import config_path
from mmboxcaseg.pretrained import SHIPPED, weights_path
from mmboxcaseg.proxy import encode_rle

TOOL = Path(__file__).parents[3] / 'tools' / 'analysis_tools' / 'draw_masks.py'
MASK = np.zeros((40, 40), bool)
MASK[:, :20] = True
ANNOTATION = dict(
    id=5, image_id=1, category_id=1, bbox=[0, 0, 40, 40], segmentation=encode_rle(MASK)
)
COCO = dict(
    images=[dict(id=1, file_name='a.png', width=40, height=40)],
    categories=[dict(id=1, name='cat')],
    annotations=[ANNOTATION, dict(ANNOTATION, id=6)],
)


class LeftHalfPredictor:
    seen = None

    def __init__(self, model, tta):
        type(self).seen = tta

    def set_image(self, image):
        assert image.shape == (40, 40, 3)

    def predict(self, bboxes):
        return np.stack([MASK] * len(bboxes)), np.ones(len(bboxes))


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Write the inputs; returns the tool's arguments. The network is a stand-in."""
    monkeypatch.setattr('mmboxcaseg.apis.drawing.init_model', lambda *args: None)
    monkeypatch.setattr('mmboxcaseg.apis.drawing.BoxCasegPredictor', LeftHalfPredictor)
    (tmp_path / 'a.json').write_text(json.dumps(COCO))
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((40, 40, 3), 90, np.uint8))
    inputs = ('--ann', tmp_path / 'a.json', '--images', tmp_path)
    out = ('--out', tmp_path / 'new' / 'sheet.png')
    return ['config.py', tmp_path / 'model.jpg', *inputs, *out, '--count', 2]


@pytest.mark.parametrize('tta', [False, True])
def test_draws(arguments, tmp_path, run, tta):
    code, _, err = run(*arguments, *['--tta'] * tta)
    assert code == 0, err
    assert LeftHalfPredictor.seen is tta
    sheet = cv2.imread(str(tmp_path / 'new' / 'sheet.png'))
    assert sheet.shape[1] > 2 * 224 and sheet.std() > 0
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['sheet.png']


def test_draws_the_boxes_that_have_a_true_mask(arguments, tmp_path, run, monkeypatch):
    box = {k: v for k, v in ANNOTATION.items() if k != 'segmentation'} | dict(id=6)
    (tmp_path / 'a.json').write_text(json.dumps(dict(COCO, annotations=[ANNOTATION, box])))
    drawn = []
    monkeypatch.setattr(
        'mmboxcaseg.apis.drawing.draw_tile',
        lambda root, image, annotation, *masks, **more: (
            drawn.append(annotation.id) or np.zeros((224, 224, 3), np.uint8)
        ),
    )
    code, _, err = run(*arguments)
    assert code == 0, err
    assert drawn == [5]


def test_without_config_and_checkpoint_the_shipped_network_draws(arguments, run, monkeypatch):
    asked = []
    monkeypatch.setattr('mmboxcaseg.apis.drawing.init_model', lambda *args: asked.append(args))
    code, _, err = run(*arguments[2:], '--device', 'cpu')
    assert code == 0, err
    assert asked == [(config_path(SHIPPED.config), weights_path(), 'cpu')]


def edit(**fields):
    def edit(folder):
        coco = dict(COCO, annotations=[ANNOTATION | fields, COCO['annotations'][1]])
        (folder / 'a.json').write_text(json.dumps(coco))
        return ()

    return edit


def boxes_alone(folder):
    boxes = [{k: v for k, v in a.items() if k != 'segmentation'} for a in COCO['annotations']]
    (folder / 'a.json').write_text(json.dumps(dict(COCO, annotations=boxes)))
    return ()


def options(*more):
    return lambda folder: more


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda folder: ('--out', folder / 'a.png'), 'a.png is an input file'),
        (lambda folder: ('--out', folder / 'model.jpg'), 'model.jpg is an input file'),
        (lambda folder: ('--out', folder), 'it is a folder'),
        (options('--out', 'sheet.tif'), 'must end in .jpg or .png'),
        (options('--count', 0), '--count must be a whole number of at least 1'),
        (options('--min-side', 99), 'has no box with sides of 99 pixels or more and true masks'),
        (options('--device', 'gpu'), "device 'gpu' is not available"),
        (options('--images', 'nowhere'), 'image folder nowhere does not exist'),
        (boxes_alone, 'has no true mask to compare with: .* with --masks'),
        (edit(bbox=[50, 0, 40, 40]), 'annotation 5 .* outside its image'),
        (edit(segmentation=dict(size=[1, 1], counts='01')), 'annotation 5 in .*a.json is broken'),
        (lambda folder: (folder / 'a.png').write_text('x') and (), 'a.png cannot be decoded'),
    ],
)
def test_bad_input_ends_in_one_sentence(arguments, tmp_path, run, edit, message):
    more = edit(tmp_path)
    image = (tmp_path / 'a.png').read_bytes()
    code, _, err = run(*arguments, *more)
    sentence = err.strip().splitlines()[-1]
    assert code == 2 and sentence.startswith('error: ') and re.search(message, sentence), err
    assert (tmp_path / 'a.png').read_bytes() == image


def masks_file(folder, qualities, **fields):
    """Write proxy masks, each of an own image and class whose name is its quality."""
    images, annotations, categories = [], [], []
    for number, quality in enumerate(qualities, start=1):
        annotation = dict(ANNOTATION, id=number, image_id=number, category_id=number)
        annotation |= dict(box_agreement=0.5, quality=quality) | fields
        annotations.append({k: v for k, v in annotation.items() if v is not None})
        images.append(dict(id=number, file_name=f'{number}.png', width=40, height=40))
        categories.append(dict(id=number, name=f'class {number}'))
        shade = np.full((40, 40, 3), 10 * number, np.uint8)
        cv2.imwrite(str(folder / f'{number}.png'), shade)
    content = dict(images=images, annotations=annotations, categories=categories)
    (folder / 'proxy.json').write_text(json.dumps(content))
    return ('--masks', folder / 'proxy.json', '--images', folder, '--out', folder / 'sheet.png')


def test_masks_of_a_file_are_drawn_without_a_network(tmp_path, run, monkeypatch):
    monkeypatch.setattr('mmboxcaseg.apis.drawing.BoxCasegPredictor', None)
    arguments = masks_file(tmp_path, [0.3, 0.9, 0.1, 0.7])
    code, out, err = run(*arguments, '--count', 3)
    assert code == 0, err
    assert 'orange the mask, white the box' in out
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    # The middle of the right half, where there is only the image: its shade is ten times the id.
    shades = [sheet[4 + 112, 4 + 228 * column + 170, 0] for column in range(3)]
    # One good one and two bad ones: those of quality 0.9, 0.3 and 0.1.
    assert shades == [20, 10, 30]


def test_masks_without_a_quality_go_by_their_agreement(tmp_path, run):
    arguments = masks_file(tmp_path, [None, None])
    assert run(*arguments, '--count', 3)[0] == 0  # the two that there are
    arguments = masks_file(tmp_path, [None, None], box_agreement=None)
    code, _, err = run(*arguments, '--count', 2)
    assert code == 2 and 'have neither quality nor box_agreement' in err


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (('--min-side', 99), 'proxy.json has no box with sides of 99 pixels or more'),
        (('--count', 2, '--device', 'cpu'), '--device and --tta are for --ann'),
        (('--ann', 'a.json'), 'not allowed with argument --masks'),
        (('--out', '1.png'), 'must end in|is an input file'),
    ],
)
def test_bad_input_of_masks_of_a_file(tmp_path, run, monkeypatch, more, message):
    arguments = masks_file(tmp_path, [0.3, 0.9])
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments, *more)
    assert code == 2 and re.search(message, err), err
    assert not (tmp_path / 'sheet.png').exists()
