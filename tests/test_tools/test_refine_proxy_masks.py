import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmboxcaseg.coco import (
    annotations_by_image,
    load_coco,
    load_results,
    match_results,
    refine_annotations,
)
from mmboxcaseg.proxy import decode_rle, encode_rle

TOOL = Path(__file__).parents[2] / 'tools' / 'refine_proxy_masks.py'
LARGE = np.zeros((6, 8), bool)
LARGE[:4, :6] = True
SMALL = np.zeros((6, 8), bool)
SMALL[2:6, 1:4] = True
BOXES = dict(
    info='kept',
    images=[
        dict(id=5, file_name='a.jpg', width=8, height=6, extra=[1]),
        dict(id=2, file_name='b.jpg', width=8, height=6),
    ],
    categories=[dict(id=1, name='cat')],
    annotations=[
        dict(id=30, image_id=5, category_id=1, bbox=[0, 0, 6, 4], area=17, extra='x'),
        dict(id=20, image_id=2, category_id=1, bbox=[0, 0, 6, 4]),
        dict(id=10, image_id=5, category_id=1, bbox=[1, 2, 3, 4]),
        dict(id=40, image_id=5, category_id=1, bbox=[0, 0, 8, 6], iscrowd=1),
    ],
)


def entry(annotation, mask, by_id=True):
    keys = ('image_id', 'category_id', 'bbox')
    result = {key: annotation[key] for key in keys} | dict(segmentation=encode_rle(mask))
    return result | dict(ann_id=annotation['id']) if by_id else result


RAW = [entry(BOXES['annotations'][0], LARGE), entry(BOXES['annotations'][2], SMALL, by_id=False)]


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in ('boxes.json', 'raw.json', 'new/out.json')]
    paths[0].write_text(json.dumps(BOXES))
    paths[1].write_text(json.dumps(RAW))
    return paths


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the tool in this process; returns exit code, stdout and stderr."""

    def run(*args):
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, args)])
        try:
            runpy.run_path(str(TOOL), run_name='__main__')
            code = 0
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run


def test_merges_and_keeps_everything(files, run):
    code, out, _ = run(*files)
    assert code == 0
    coco = json.loads(files[2].read_text())
    large, missing, small, crowd = coco['annotations']

    expected = LARGE & ~SMALL
    assert (decode_rle(large['segmentation'], (6, 8)) == expected).all()
    assert large['box_agreement'] == 1
    assert (decode_rle(small['segmentation'], (6, 8)) == SMALL).all()
    assert small['box_agreement'] == 1
    for none in (missing, crowd):
        assert not decode_rle(none['segmentation'], (6, 8)).any()
        assert none['box_agreement'] == 0

    # Pixels of the masks, of empty ones the box's.
    assert [a['area'] for a in coco['annotations']] == [18, 24, 12, 48]
    assert [a['iscrowd'] for a in coco['annotations']] == [0, 0, 0, 1]
    assert {k: v for k, v in coco.items() if k != 'annotations'} == {
        k: v for k, v in BOXES.items() if k != 'annotations'
    }
    for after, before in zip(coco['annotations'], BOXES['annotations'], strict=True):
        assert after.keys() - before.keys() <= {'segmentation', 'box_agreement', 'area', 'iscrowd'}
        assert {key: after[key] for key in before} == {
            key: after['area'] if key == 'area' else value for key, value in before.items()
        }

    assert '3 boxes, 1 empty masks; agreement: 66.7% above 0.75' in out
    assert '1 boxes have no raw mask' in out
    assert [path.name for path in files[2].parent.iterdir()] == ['out.json']


def test_a_file_without_masks_is_not_refined(files, run):
    files[1].write_text('[]')
    code, _, err = run(*files)
    assert code == 2 and 'raw.json has no mask: give the raw masks of the boxes of' in err
    assert not files[2].exists()
    # Whoever keeps true masks may have no others, but has some.
    code, _, err = run(*files, '--keep-masks')
    assert code == 2 and 'raw.json has no mask' in err
    true = [dict(BOXES['annotations'][0], segmentation=encode_rle(LARGE))]
    files[0].write_text(json.dumps(dict(BOXES, annotations=true + BOXES['annotations'][1:])))
    assert run(*files, '--keep-masks')[0] == 0
    large = json.loads(files[2].read_text())['annotations'][0]
    assert (decode_rle(large['segmentation'], (6, 8)) == LARGE).all()


@pytest.mark.parametrize(
    ('options', 'stray', 'hole'),
    [
        ((), True, False),
        (('--min-part', 0.05), False, False),
        (('--max-hole', 0.05), True, True),
        (('--min-part', 0.04, '--max-hole', 0.04), True, False),  # a pixel of 24 is more
    ],
)
def test_stray_parts_and_pinholes(files, run, options, stray, hole):
    raw = np.zeros((6, 8), bool)
    raw[:3, :4] = raw[3, 5] = True
    raw[1, 2] = False
    files[1].write_text(json.dumps([entry(BOXES['annotations'][0], raw)]))
    assert run(*files, *options)[0] == 0
    mask = decode_rle(json.loads(files[2].read_text())['annotations'][0]['segmentation'], (6, 8))
    assert (mask[3, 5], mask[1, 2], mask.sum()) == (stray, hole, 11 + stray + hole)


def test_no_merge(files, run):
    assert run(*files, '--no-merge')[0] == 0
    large, missing, small, crowd = json.loads(files[2].read_text())['annotations']
    assert (decode_rle(large['segmentation'], (6, 8)) == LARGE).all()
    assert (decode_rle(small['segmentation'], (6, 8)) == SMALL).all()
    for none in (missing, crowd):
        assert not decode_rle(none['segmentation'], (6, 8)).any()
        assert none['box_agreement'] == 0


def test_agreement_is_that_of_the_masks_written(files, run):
    """Of a large mask of which the small one takes the lower half."""
    small = SMALL.copy()
    small[2:4, :6] = True
    files[1].write_text(json.dumps([RAW[0], dict(RAW[1], segmentation=encode_rle(small))]))
    for options, expected in {
        (): 2 / 4,
        ('--no-merge',): 1,
        ('--inclusive-boxes',): 6 * 2 / (7 * 5),
        ('--no-merge', '--inclusive-boxes'): 6 * 4 / (7 * 5),
    }.items():
        assert run(*files, *options)[0] == 0
        large = json.loads(files[2].read_text())['annotations'][0]
        assert large['box_agreement'] == pytest.approx(expected), options


def draw_set(rng):
    """A set in no order: images, annotations and raw masks, some with ann_id, some missing."""
    images = [
        dict(id=int(id_), file_name=f'{id_}\u00e9.jpg', width=24, height=18)
        for id_ in rng.permutation(9)
    ]
    annotations, raw = [], []
    for id_ in rng.permutation(40).tolist():
        x, y, width, height = (rng.random(4) * [16, 12, 8, 6]).round(2).tolist()
        bbox = [x, y, width + 0.1, height + 0.1]
        a = dict(id=id_, image_id=int(rng.integers(9)), category_id=1, bbox=bbox)
        a |= [{}, dict(iscrowd=1), dict(area=3.5, segmentation=[[0] * 6])][id_ % 3]
        annotations.append(a)
        if rng.random() < 0.8:
            raw.append(entry(a, rng.random((18, 24)) > 0.5, by_id=bool(rng.integers(2))))
            raw[-1] |= [{}, dict(score=round(rng.random(), 3))][rng.integers(2)]
    raw = [raw[index] for index in rng.permutation(len(raw))]
    categories = [dict(id=1, name='c\u00e2t')]
    return dict(annotations=annotations, images=images, info='\u732b', categories=categories), raw


@pytest.mark.parametrize('indent', [None, 1])
def test_as_all_at_once(files, run, indent):
    """What is read and written piece by piece is what the whole files give."""
    for seed in range(5):
        coco, raw = draw_set(np.random.default_rng(seed))
        for path, content in zip(files, (coco, raw), strict=False):
            path.write_text(json.dumps(content, indent=indent, ensure_ascii=seed % 2 == 0))
        assert run(*files)[0] == 0
        boxes = load_coco(files[0])
        matched = match_results(boxes, load_results(files[1]), 'raw.json')
        groups = annotations_by_image(boxes)
        proxies = {
            proxy['id']: proxy
            for image in boxes.images
            for proxy in refine_annotations(
                image,
                groups[image.id],
                {id_: result.segmentation for id_, result in matched.items()},
                scores={id_: r.score for id_, r in matched.items() if r.score is not None},
            )
        }
        expected = coco | dict(annotations=[proxies[a['id']] for a in coco['annotations']])
        assert json.loads(files[2].read_text()) == expected
        assert [path.name for path in files[2].parent.iterdir()] == ['out.json']


def change(file, key, value):
    def edit(files):
        content = json.loads(files[file].read_text())
        content[key] = value
        files[file].write_text(json.dumps(content))

    return edit


def remove(file):
    return lambda files: files[file].unlink()


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (remove(0), 'cannot read .*boxes.json'),
        (remove(1), 'cannot read .*raw.json'),
        (lambda files: files[1].write_text('['), 'raw.json is not JSON'),
        (lambda files: files[1].write_text('{}'), 'raw.json is neither a COCO results file'),
        (change(0, 'images', None), "boxes.json is not a COCO file: it has no list 'images'"),
        (
            change(0, 'annotations', [dict(BOXES['annotations'][0], bbox=[8, 0, 3, 3])]),
            'annotation 30 of .*boxes.json has its box .* outside its image a.jpg',
        ),
        (lambda files: files[1].write_text('[{}, '), 'raw.json is not JSON'),
        (lambda files: files[1].write_text('[]]'), 'raw.json is not JSON'),
        (lambda files: files[1].write_bytes(b'["\xff"]'), 'raw.json is not UTF-8 text'),
        (change(1, 1, 3), 'entry 1 of .*raw.json is not a dict'),
        (
            change(1, 1, dict(RAW[1], score='high')),
            'entry 1 of .*raw.json has score .*not a number',
        ),
        (change(1, 1, dict(RAW[1], image_id=9)), 'entry 1 of .*raw.json belongs to image 9, which'),
        (change(1, 0, dict(RAW[0], ann_id=77)), 'entry 0 of .*raw.json has ann_id 77'),
        (change(1, 1, dict(RAW[1], bbox=[0, 0, 1, 1])), 'entry 1 of .*raw.json has no ann_id, and'),
        (change(1, 1, RAW[0]), 'entry 1 of .*raw.json belongs to annotation 30, which entry 0'),
        (
            change(1, 0, dict(RAW[0], segmentation=dict(size=[6, 8], counts='04'))),
            'mask of annotation 30 in .*raw.json is broken',
        ),
        (lambda files: files[2].mkdir(parents=True), 'out.json: it is a folder'),
        (lambda files: files[2].parent.touch(), 'cannot make folder'),
    ],
)
def test_bad_input_ends_in_one_sentence(files, run, edit, message):
    edit(files)
    code, _, err = run(*files)
    assert code == 2
    sentence = err.strip().splitlines()[-1]
    assert sentence.startswith('error: ')
    assert re.search(message, sentence), sentence
    assert 'Traceback' not in err
    assert not files[2].is_file()


def test_does_not_overwrite_its_input(files, run):
    for path in files[:2]:
        before = path.read_text()
        code, _, err = run(files[0], files[1], path)
        assert code == 2 and 'is an input file' in err
        assert path.read_text() == before


def test_as_a_command(files):
    command = [sys.executable, str(TOOL), *map(str, files)]
    assert subprocess.run(command).returncode == 0
    files[1].unlink()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith('error: cannot read')
    assert 'Traceback' not in done.stderr
