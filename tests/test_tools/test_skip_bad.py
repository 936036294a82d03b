"""--skip-bad: what is left out, what is said, and that nothing else changes."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmboxcaseg.apis.proxy_generation import generate_proxy_masks
from mmboxcaseg.cli import main
from mmboxcaseg.coco import wrong_entries
from mmboxcaseg.coco.shards import SHARD_IMAGES
from mmboxcaseg.coco.wrong_entries import WrongEntries
from mmboxcaseg.errors import InputError

TOOL = Path(__file__).parents[2] / 'tools' / 'generate_proxy_masks.py'
IMAGES = SHARD_IMAGES + 3


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with img/, right.json and wrong.json, which has the same boxes and wrong ones."""
    folder = tmp_path_factory.mktemp('skip')
    rng = np.random.default_rng(0)
    (folder / 'img').mkdir()
    images, annotations = [], []
    for id_ in range(1, IMAGES + 1):
        pixels = cv2.GaussianBlur(rng.integers(0, 255, (20, 24, 3), np.uint8), (5, 5), 0)
        cv2.imwrite(str(folder / 'img' / f'{id_}.jpg'), pixels)
        images.append(dict(id=id_, file_name=f'{id_}.jpg', width=24, height=20))
        for number in (1, 2):
            bbox = [*rng.uniform(0, 8, 2).round(2), *rng.uniform(4, 12, 2).round(2)]
            own = dict(id=10 * id_ + number, image_id=id_, category_id=1, bbox=bbox, note='kept')
            annotations.append(own)
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='cat')])
    (folder / 'right.json').write_text(json.dumps(content))
    whole = (folder / 'img' / '1.jpg').read_bytes()
    (folder / 'img' / 'cut.jpg').write_bytes(whole[: len(whole) * 2 // 3])
    (folder / 'img' / 'text.jpg').write_text('no image')
    cv2.imwrite(str(folder / 'img' / 'small.jpg'), np.zeros((10, 12, 3), np.uint8))
    bad = [
        *((name, 24, 20) for name in ('cut.jpg', 'text.jpg', 'small.jpg', 'none.jpg', '../a.jpg')),
        ('1.jpg', None, 20),
    ]
    # Among the others, so that batches would change if one of them took a place.
    for number, (name, width, height) in enumerate(bad):
        id_ = f'bad {number}'
        entry = dict(id=id_, file_name=name, width=width, height=height)
        images.insert(10 * number + 1, entry)
        box = dict(id=id_, image_id=id_, category_id=1, bbox=[1, 1, 9, 9])
        annotations.insert(20 * number, box)
    of_first = dict(category_id=1, image_id=1, bbox=[1, 1, 9, 9])
    annotations += [
        of_first | dict(id=9001, bbox=[1, 1, 9]),
        of_first | dict(id=9002, bbox=[1, 1, 9, float('nan')]),
        of_first | dict(id=9003, note=float('inf')),
        of_first | dict(id=9004, bbox=[40, 1, 9, 9]),
        of_first | dict(id=9005, category_id=7),
        of_first | dict(id=9006, image_id=7000),
        of_first | dict(id=11),
        {k: v for k, v in of_first.items() if k != 'bbox'} | dict(id=9007),
    ]
    (folder / 'wrong.json').write_text(json.dumps(content))
    return folder


@pytest.fixture(scope='module')
def generate(folder, trained):
    def generate(boxes, out, **settings):
        given = dict(config=trained[0], checkpoint=trained[1], batch_size=16, device='cpu')
        given |= dict(raw_out=out.with_name('raw.json'), workers=0) | settings
        return generate_proxy_masks(folder / boxes, folder / 'img', out, **given)

    return generate


@pytest.fixture(scope='module')
def expected(generate, tmp_path_factory):
    """What is made of the right file, byte for byte."""
    out = tmp_path_factory.mktemp('expected') / 'proxy.json'
    generate('right.json', out)
    return written(out.parent)


def written(folder):
    return {path.name: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.parametrize('workers', [0, 2])
def test_the_others_are_as_if_the_wrong_ones_were_not_there(generate, expected, tmp_path, workers):
    generate('wrong.json', tmp_path / 'proxy.json', skip_bad=True, workers=workers)
    got = written(tmp_path)
    left_out = json.loads(got.pop('proxy.skipped.json'))
    assert got == expected
    reasons = {}
    for entry in left_out:
        own = next(value for key, value in entry.items() if key not in ('reason', 'sentence'))
        reasons.setdefault(entry['reason'], []).append(own)
    assert reasons == {
        'entries that cannot be read': ['bad 5', 9001, 9002, 9003, 9007],
        'ids that are there twice': [11],
        'annotations of images or categories that are not there': [9005, 9006],
        'boxes outside their images': [9004],
        'images that are missing or cannot be read': [f'bad {n}' for n in (3, 4, 0, 1, 2)],
        'annotations of images that are left out': ['bad 5', *(f'bad {n}' for n in range(5))],
    }
    sentences = [entry['sentence'] for entry in left_out]
    assert any('9001 of' in text and 'not four numbers' in text for text in sentences)
    assert any('cut.jpg cannot be' in text for text in sentences)
    assert any('small.jpg is 12x10' in text for text in sentences)


def test_it_is_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(wrong_entries, 'print_log', lambda text, *_: said.append(text))
    wrong = WrongEntries(skip=True)
    for number in range(5):
        with wrong.noting('wrong ones', dict(image=number)):
            raise InputError(f'image {number} is wrong\x1b')
    with wrong.noting('wrong ones', dict(image=9)):
        pass
    wrong.tell('a.json', tmp_path / 'b.json')
    assert said == [
        '5 wrong entries of a.json are left out (5 wrong ones):\n'
        '  image 0 is wrong\\x1b\n  image 1 is wrong\\x1b\n  image 2 is wrong\\x1b\n'
        f'  {tmp_path}/b.json lists all of them'
    ]
    assert [entry['image'] for entry in json.loads((tmp_path / 'b.json').read_text())] == [
        *range(5)
    ]


def test_nothing_wrong_is_an_empty_list(generate, expected, tmp_path):
    generate('right.json', tmp_path / 'proxy.json', skip_bad=True)
    assert written(tmp_path) == expected | {'proxy.skipped.json': b'[]'}


def test_without_it_the_first_is_refused(generate, tmp_path):
    with pytest.raises(
        ValueError, match='image bad 5 of .* has width None, not a positive int|NaN'
    ):
        generate('wrong.json', tmp_path / 'proxy.json')
    assert not list(tmp_path.iterdir())


@pytest.fixture
def interrupted(generate, monkeypatch):
    """End a run after so many renames: those of the list, the manifest and the first shard."""

    def interrupted(out, renames):
        replace = os.replace

        def replace_some(*paths):
            nonlocal renames
            renames -= 1
            replace(*paths)
            if not renames:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, 'replace', replace_some)
            generate('wrong.json', out, skip_bad=True)

    return interrupted


def test_interrupted_and_called_again_it_ends_with_the_same(
    generate, interrupted, expected, tmp_path
):
    for renames in (1, 3):
        interrupted(tmp_path / 'proxy.json', renames)
    generate('wrong.json', tmp_path / 'proxy.json', skip_bad=True, workers=1)
    got = written(tmp_path)
    assert len(json.loads(got.pop('proxy.skipped.json'))) == 20
    assert got == expected


def test_what_was_mended_in_between_is_noticed(generate, interrupted, folder, tmp_path):
    interrupted(tmp_path / 'proxy.json', 3)
    path = folder / 'img' / 'text.jpg'
    before = path.read_bytes()
    path.write_bytes((folder / 'img' / '2.jpg').read_bytes())
    try:
        with pytest.raises(InputError, match='another state of the images .*another choice of ent'):
            generate('wrong.json', tmp_path / 'proxy.json', skip_bad=True)
    finally:
        path.write_bytes(before)


def test_a_file_that_is_wrong_as_a_whole_is_refused(generate, folder, tmp_path):
    content = json.loads((folder / 'right.json').read_text())
    for annotation in content['annotations']:  # corners instead of width and height
        x, y, width, height = annotation['bbox']
        annotation['bbox'] = [x + 4, y + 4, x + 4 + width, y + 4 + height]
    (folder / 'corners.json').write_text(json.dumps(content))
    arguments = ['masks', folder / 'corners.json', '--images', folder / 'img', '--skip-bad']
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments), '--out', str(tmp_path / 'out')])
    assert ended.value.code == 2
    for image in content['images']:
        image['file_name'] = f'x{image["file_name"]}'
    (folder / 'names.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match='holds no box that is right: 67 images .* the first: im'):
        generate('names.json', tmp_path / 'proxy.json', skip_bad=True)
