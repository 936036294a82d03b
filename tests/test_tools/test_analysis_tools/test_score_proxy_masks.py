import json
import re
from pathlib import Path

import pytest

from mmboxcaseg.proxy import AGREEMENTS

TOOL = Path(__file__).parents[3] / 'tools' / 'analysis_tools' / 'score_proxy_masks.py'

# Column by column: a 2x2 image whose object is its left half.
LEFT = dict(size=[2, 2], counts=[0, 2, 2])
TRUTH = dict(
    images=[dict(id=1, file_name='a.png', width=2, height=2)],
    categories=[dict(id=1, name='cat')],
    annotations=[
        dict(id=5, image_id=1, category_id=1, bbox=[0, 0, 2, 2], segmentation=LEFT),
    ],
)
RAW = [dict(image_id=1, ann_id=5, segmentation=LEFT)]


@pytest.fixture
def write(tmp_path):
    """Write truth and raw masks, by default of one box; returns their files."""

    def write(truth=TRUTH, raw=RAW):
        paths = tmp_path / 'truth.json', tmp_path / 'raw.json'
        for path, content in zip(paths, (truth, raw), strict=True):
            path.write_text(json.dumps(content))
        return paths

    return write


def with_truth(**fields):
    return dict(TRUTH, annotations=[TRUTH['annotations'][0] | fields])


def test_table(write, run):
    code, out, _ = run(*write(), '--thresholds', 0.25, 0.75)
    assert code == 0
    # The mask's tight box is half of its box.
    assert out.splitlines()[:9] == [
        '| masks | kept if the agreement is above | kept | mean IoU of the kept |',
        '|---|---|---|---|',
        '| filled box | - | 100.0% | 0.500 |',
        '| raw | - | 100.0% | 1.000 |',
        '| raw | 0.25 | 100.0% | 1.000 |',
        '| raw | 0.75 | 0.0% | nan |',
        '| merged | - | 100.0% | 1.000 |',
        '| merged | 0.25 | 100.0% | 1.000 |',
        '| merged | 0.75 | 0.0% | nan |',
    ]


def row(length):
    """The first pixels of an image that is a row of ten."""
    return dict(size=[1, 10], counts=[0, length, 10 - length])


def test_figures_of_the_paper(write, run):
    # Two cats and a dog, each as wide as its image, of which the raw masks have 7, 5 and 8 tenths.
    truth = dict(
        images=[dict(id=id_, file_name='a.png', width=10, height=1) for id_ in (1, 2, 3)],
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
        annotations=[
            dict(image_id=id_, id=50 + id_, category_id=category, bbox=[0, 0, 10, 1])
            | dict(segmentation=row(10))
            for id_, category in ((1, 1), (2, 1), (3, 2))
        ],
    )
    raw = [
        dict(image_id=id_, ann_id=50 + id_, segmentation=row(length))
        for id_, length in ((1, 7), (2, 5), (3, 8))
    ]
    _, out, _ = run(*write(truth, raw))
    assert out.splitlines()[-5:] == [
        '| masks | mIoU* | IoU@50 | IoU@75 |',
        '|---|---|---|---|',
        '| filled box | 1.000 | 1.000 | 1.000 |',
        '| raw | 0.700 | 1.000 | 0.333 |',
        '| merged | 0.700 | 1.000 | 0.333 |',
    ]


def test_rankings(write, run):
    # Three images a row of ten wide, whose raw masks have 3, 5 and 9 tenths of the object.
    truth = dict(
        images=[dict(id=n, file_name='a.png', width=10, height=1) for n in (1, 2, 3, 4)],
        categories=[dict(id=1, name='cat')],
        annotations=[
            dict(id=n, image_id=n, category_id=1, bbox=[0, 0, 10, 1], segmentation=row(10))
            for n in (1, 2, 3, 4)
        ],
    )
    lengths = {1: 3, 2: 5, 3: 9, 4: 1}
    raw = [dict(image_id=n, ann_id=n, segmentation=row(lengths[n]), score=n / 4) for n in lengths]
    _, out, _ = run(*write(truth, raw))
    lines = out.splitlines()
    start = next(i for i, line in enumerate(lines) if 'Spearman' in line)
    assert lines[start] == (
        '| masks | ranked by | Spearman with the true IoU | calibration error '
        '| mean IoU of the best 100% | best 75% | best 50% | best 25% |'
    )
    # 0.05, 0, 0.15 and 0.9 lie between the scores and the IoUs.
    # By quality the order is 4, 3, 2, 1: ranks 1, 2, 3, 4 against 2, 3, 4, 1 of the IoU.
    assert lines[start + 2 : start + 4] == [
        '| raw | agreement | 1.00 | - | 0.450 | 0.567 | 0.700 | 0.900 |',
        '| raw | quality | -0.20 | 0.275 | 0.450 | 0.500 | 0.500 | 0.100 |',
    ]
    for entry in raw:
        del entry['score']
    _, out, _ = run(*write(truth, raw))
    assert 'agreement | 1.00' in out and 'quality |' not in out


def test_thresholds_are_the_papers_by_default(write, run):
    _, out, _ = run(*write())
    rows = [line.split(' | ')[1] for line in out.splitlines() if line.startswith('| raw | 0')]
    assert rows == [f'{threshold:.2f}' for threshold in AGREEMENTS]


@pytest.mark.parametrize(
    ('contents', 'options', 'message'),
    [
        ({}, ('--thresholds', '1.5'), r'--thresholds must be in \[0, 1\], not 1.5'),
        ({}, ('--thresholds', 'nan'), r'--thresholds must be in \[0, 1\], not nan'),
        (
            dict(truth=with_truth(segmentation=dict(size=[2, 2], counts=5))),
            (),
            'mask of annotation 5 in .*truth.json is broken: its counts',
        ),
        (dict(truth=with_truth(segmentation=None)), (), 'annotation 5 in .*truth.json is broken'),
        (
            dict(raw=[RAW[0] | dict(segmentation=dict(size=[9, 9], counts='0'))]),
            (),
            'mask of annotation 5 in .*raw.json is broken: its size',
        ),
        (dict(truth=with_truth(bbox=[9, 9, 1, 1])), (), 'annotation 5 .* outside its image'),
        (dict(truth=with_truth(iscrowd=1)), (), 'truth.json holds no box'),
    ],
)
def test_bad_input_ends_in_one_sentence(write, run, contents, options, message):
    code, out, err = run(*write(**contents), *options)
    assert code == 2 and not out
    assert err.startswith('error: ') and re.search(message, err), err


def test_coco_file_of_proxy_masks(write, run):
    raw = [dict(RAW[0], score=0.7)]
    code, expected, _ = run(*write(raw=raw))
    assert code == 0 and 'quality' in expected
    proxy = dict(TRUTH['annotations'][0], quality=0.7, box_agreement=0.5)
    code, out, _ = run(*write(raw=dict(TRUTH, annotations=[proxy])))
    assert code == 0
    assert out == expected
    del proxy['quality']
    code, out, _ = run(*write(raw=dict(TRUTH, annotations=[proxy])))
    assert code == 0 and 'quality' not in out
    proxy['id'] = 6
    code, _, err = run(*write(raw=dict(TRUTH, annotations=[proxy])))
    assert code == 2 and 'annotation 5 of' in err and 'raw.json, or has another image' in err
