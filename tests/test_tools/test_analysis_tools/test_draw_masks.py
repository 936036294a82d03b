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
    inputs = ('--ann', tmp_path / 'a.json', '--img-root', tmp_path)
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
        (options('--count', 3), 'has 2 boxes .* fewer than the 3 to draw'),
        (options('--device', 'gpu'), "device 'gpu' is not available"),
        (options('--img-root', 'nowhere'), 'image folder nowhere does not exist'),
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
