import json
import re
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmboxcaseg.images import ImageReader
from mmboxcaseg.proxy import box_mask, decode_rle, ellipse_mask, grabcut_mask

TOOLS = Path(__file__).parents[2] / 'tools'
SIZES = {5: (40, 30), 2: (24, 36), 9: (20, 20)}


def annotation(id_, image_id, bbox, **fields):
    return dict(id=id_, image_id=image_id, category_id=1, bbox=bbox, **fields)


BOXES = dict(
    images=[
        dict(id=id_, file_name=f'{id_}.png', width=width, height=height)
        for id_, (width, height) in SIZES.items()
    ],
    categories=[dict(id=1, name='cat')],
    annotations=[
        annotation(30, 5, [2, 3, 20, 20], segmentation='not read'),
        annotation(20, 2, [-4.5, 2.2, 20.7, 30]),
        annotation(10, 5, [8.4, 8.6, 12, 14]),
        annotation(40, 5, [0, 0, 40, 30], iscrowd=1),
        annotation(50, 2, [3, 3, 0, 5]),
    ],
)


def as_bboxes(annotations):
    """Their boxes xyxy (N, 4)."""
    return np.array([[x, y, x + w, y + h] for x, y, w, h in (a['bbox'] for a in annotations)])


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


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a tool in this process; returns exit code, stdout and stderr."""

    def run(tool, *args):
        monkeypatch.setattr(sys, 'argv', [str(TOOLS / tool), *map(str, args)])
        try:
            runpy.run_path(sys.argv[0], run_name='__main__')
            code = 0
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run


def arguments(data, source, *more):
    images = ('--images', data / 'img') if source == 'grabcut' else ()
    paths = data / 'boxes.json', data / 'raw.json'
    return ('make_baseline_masks.py', *paths, '--source', source, *images, *more)


def expected_mask(source, data, entry):
    bbox = as_bboxes([entry])[0]
    if source == 'grabcut':
        return grabcut_mask(cv2.imread(str(data / 'img' / f'{entry["image_id"]}.png')), bbox)
    width, height = SIZES[entry['image_id']]
    return dict(box=box_mask, ellipse=ellipse_mask)[source](bbox, (height, width))


@pytest.mark.parametrize('source', ['box', 'ellipse', 'grabcut'])
def test_every_box_gets_a_mask(data, run, source):
    code, out, _ = run(*arguments(data, source))
    assert code == 0 and 'raw.json: 3 masks' in out
    raw = json.loads((data / 'raw.json').read_text())
    # Image by image, in the order of the file; no crowd, no degenerate box.
    assert [entry['ann_id'] for entry in raw] == [30, 10, 20]
    annotations = {a['id']: a for a in BOXES['annotations']}
    for entry in raw:
        for key in ('image_id', 'category_id', 'bbox'):
            assert entry[key] == annotations[entry['ann_id']][key]
        expected = expected_mask(source, data, entry)
        assert (decode_rle(entry['segmentation'], expected.shape) == expected).all()
        assert expected.any()

    code, out, _ = run(
        'refine_proxy_masks.py', data / 'boxes.json', data / 'raw.json', data / 'x.json'
    )
    assert code == 0 and '3 boxes, 0 empty masks' in out and 'no raw mask' not in out


def test_an_image_is_decoded_once(data, run, monkeypatch):
    loaded = []
    read = ImageReader.read

    def spy(self, path):
        loaded.append(Path(path).name)
        return read(self, path)

    monkeypatch.setattr(ImageReader, 'read', spy)
    assert run(*arguments(data, 'grabcut'))[0] == 0
    assert loaded == ['5.png', '2.png']


def test_box_and_ellipse_need_no_images(data, run):
    for path in (data / 'img').iterdir():
        path.unlink()
    assert run(*arguments(data, 'ellipse'))[0] == 0


def edit(**changes):
    def edit(data):
        (data / 'boxes.json').write_text(json.dumps(dict(BOXES, **changes)))

    return edit


@pytest.mark.parametrize(
    ('edit', 'options', 'message'),
    [
        (lambda data: (data / 'boxes.json').unlink(), (), 'cannot read .*boxes.json'),
        (edit(images={}), (), "boxes.json is not a COCO file: it has no list 'images'"),
        (edit(annotations=[]), (), 'boxes.json holds no box'),
        (
            lambda data: (data / 'img' / '2.png').unlink(),
            (),
            'image .*2.png of .*boxes.json does not exist',
        ),
        (lambda data: (data / 'img' / '5.png').write_text('no'), (), '5.png cannot be decoded'),
        (lambda data: None, ('--images', 'nowhere'), 'image folder nowhere does not exist'),
    ],
)
def test_bad_input_ends_in_one_sentence(data, run, monkeypatch, edit, options, message):
    monkeypatch.setattr('mmboxcaseg.proxy.grabcut_mask', None)
    edit(data)
    code, _, err = run(*arguments(data, 'grabcut', *options))
    assert code == 2
    assert_one_sentence(err, message)
    assert not (data / 'raw.json').exists()


def assert_one_sentence(err, message):
    sentence = err.strip().splitlines()[-1]
    assert sentence.startswith('error: ') and 'Traceback' not in err
    assert re.search(message, sentence), sentence


def test_grabcut_without_images(data, run):
    paths = data / 'boxes.json', data / 'raw.json'
    code, _, err = run('make_baseline_masks.py', *paths, '--source', 'grabcut')
    assert code == 2
    assert_one_sentence(err, '--source grabcut .* give their folder, --images')


@pytest.mark.parametrize('name', ['boxes.json', 'img/5.png'])
def test_does_not_overwrite_an_input(data, run, name):
    before = (data / name).read_bytes()
    images = '--images', data / 'img'
    code, _, err = run(
        'make_baseline_masks.py', data / 'boxes.json', data / name, '--source', 'grabcut', *images
    )
    assert code == 2
    assert_one_sentence(err, f'{name} is an input file')
    assert (data / name).read_bytes() == before


def test_image_of_another_size(data, run):
    cv2.imwrite(str(data / 'img' / '2.png'), np.zeros((9, 9, 3), np.uint8))
    code, _, err = run(*arguments(data, 'grabcut'))
    assert code == 2
    assert_one_sentence(err, '2.png is 9x9')
    assert not (data / 'raw.json').exists()
