import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmboxcaseg.proxy import encode_rle

TOOL = Path(__file__).parents[3] / 'tools' / 'analysis_tools' / 'report_masks.py'
# Names that would end a script, a tag or an attribute.
NASTY = '</script><b onclick="x">&amp;'
CATEGORIES = [dict(id=1, name=NASTY), dict(id=2, name='dog')]
BOX = [10, 10, 20, 20]


def mask_of(*parts):
    """RLE of rectangles xyxy on an image of 48 x 40."""
    mask = np.zeros((40, 48), bool)
    for x1, y1, x2, y2 in parts:
        mask[y1:y2, x1:x2] = True
    return encode_rle(mask)


def annotation(id_, rle, quality, agreement, category=1):
    fields = dict(id=id_, image_id=1, category_id=category, bbox=BOX, segmentation=rle)
    fields |= dict(area=400, iscrowd=0, quality=quality, box_agreement=agreement)
    return {key: value for key, value in fields.items() if value is not None}


PROXIES = [
    annotation(5, mask_of((10, 10, 30, 20)), 0.9, 0.5),
    annotation(6, mask_of((10, 10, 30, 30)), 0.75, 1.0),
    annotation('seven', mask_of(), 0.0, 0.0, category=2),
    annotation(8, mask_of((10, 10, 28, 20), (0, 12, 6, 22)), 0.8, 0.7, category=2),
]


@pytest.fixture
def report(tmp_path, run):
    """Run the tool on a file of proxy masks; returns exit code, standard error and the page."""

    def report(annotations=PROXIES, *options, truth=None, size=(48, 40)):
        images = [dict(id=1, file_name='a<b>.png', width=size[0], height=size[1])]
        cv2.imwrite(str(tmp_path / 'a<b>.png'), np.full((40, 48, 3), 90, np.uint8))
        coco = dict(images=images, categories=CATEGORIES)
        (tmp_path / 'proxy.json').write_text(json.dumps(coco | dict(annotations=annotations)))
        if truth is not None:
            (tmp_path / 'truth.json').write_text(json.dumps(coco | dict(annotations=truth)))
            options = (*options, '--truth', tmp_path / 'truth.json')
        out = tmp_path / 'new' / 'report.html'
        arguments = (tmp_path / 'proxy.json', '--images', tmp_path, '--out', out)
        code, _, err = run(*arguments, *options)
        return code, err, out.read_text() if out.is_file() else None

    return report


class Page(HTMLParser):
    """Tags, texts of tables' cells, and pictures of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.pictures, self._inside = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == 'tr':
            self.cells.append([])
        elif tag in ('td', 'th'):
            self.cells[-1].append('')
            self._inside = True
        elif tag == 'img':
            self.pictures.append(dict(attrs))

    def handle_endtag(self, tag):
        self._inside &= tag not in ('td', 'th')

    def handle_data(self, data):
        if self._inside:
            self.cells[-1][-1] += data


def data_of(text):
    """What the page's own script reads."""
    content = re.search('<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)[1]
    return json.loads(content)


def test_figures_and_rows(report):
    code, err, text = report()
    assert code == 0, err
    page = Page(text)
    # Only 0.9 and 0.8 are above 0.75.
    assert '4 boxes on 1 images have a mask. 2 of them (50%) are kept: quality above 0.75.' in text
    assert data_of(text)['columns'] == (
        ['id', 'class', 'quality', 'agreement', 'kept', 'suspicious', 'size', 'image']
    )
    # A box of 400 pixels is small. The last mask has 60 of 240 pixels apart and is at x = 0.
    where = ['small', 'a<b>.png', True]
    assert data_of(text)['rows'] == [
        [5, NASTY, 0.9, 0.5, None, True, [], *where],
        [6, NASTY, 0.75, 1.0, None, False, ['fills its box'], *where],
        ['seven', 'dog', 0.0, 0.0, None, False, ['empty'], *where],
        [8, 'dog', 0.8, 0.7, None, True, ['fragments', 'at the border'], *where],
    ]
    assert ['0.80', '25.0%', '25.0%'] in page.cells
    assert ['small', '4', '50.0%', '0.61', '0.55', '3'] in page.cells
    assert ['large', '0', '–', '–', '–', '0'] in page.cells
    assert ['dog', '2', '50.0%', '0.40', '0.35', '2'] in page.cells
    assert [row[:5] for row in page.cells if len(row) == 6 and len(row[5]) > 20] == [
        ['empty', '1', '0', '0.00', '0.00'],
        ['fills its box', '1', '0', '0.75', '1.00'],
        ['fragments', '1', '1', '0.80', '0.70'],
        ['at the border', '1', '1', '0.80', '0.70'],
    ]
    assert len([tag for tag, _ in page.tags if tag == 'svg']) == 3
    assert 'true IoU' not in text.replace('"true IoU" : column', '') and 'nan' not in text


def test_worst_best_random_and_suspicious_are_pictured(report):
    _, _, text = report()
    galleries = text.split('<h3>')[1:]
    order = {
        part[: part.index('<')]: re.findall('annotation (\\w+) of', part)[::2] for part in galleries
    }
    assert sorted(order.pop('Random')) == ['5', '6', '8', 'seven']
    assert order == {
        'Worst': ['seven', '6', '8', '5'],
        'Best': ['5', '8', '6', 'seven'],
        'Suspicious: empty': ['seven'],
        'Suspicious: fills its box': ['6'],
        'Suspicious: fragments': ['8'],
        'Suspicious: at the border': ['8'],
    }
    for picture in Page(text).pictures:
        kind, _, content = picture['src'].partition(',')
        assert kind == 'data:image/jpeg;base64'
        img = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
        assert max(img.shape) == 224 and img.std() > 0
    # Each instance is pointed at once.
    assert sorted(re.findall(r' id="(m\d+)"', text)) == ['m0', 'm1', 'm2', 'm3']
    _, _, text = report(PROXIES, '--pictures', 1)
    assert len(Page(text).pictures) == 3 + 4


def test_nothing_of_the_data_is_markup_and_nothing_is_asked_of_a_network(report):
    _, _, text = report()
    page = Page(text)
    assert [tag for tag, _ in page.tags].count('script') == 2
    assert not any('onclick' in attrs for _, attrs in page.tags)
    assert [NASTY, '2'] in [row[:2] for row in page.cells]
    assert f'{NASTY}, annotation 5 of a<b>.png' in {picture['alt'] for picture in page.pictures}
    addresses = {value for _, attrs in page.tags for key, value in attrs.items()
                 if key in ('src', 'href', 'xlink:href') and value[:5] != 'data:'}  # fmt: skip
    assert all(address.startswith('#') for address in addresses)
    assert "default-src 'none'" in text


def test_what_cannot_be_seen_is_written_out_and_long_names_are_cut(report, monkeypatch):
    monkeypatch.setitem(CATEGORIES[1], 'name', '\x1b[31m\n\u202e' + 'n' * 5000)
    _, _, text = report()
    assert r'\x1b[31m\n\u202ennn' in text and 'n[4807 more]n' in text
    assert '\x1b' not in text and '\u202e' not in text and 'n' * 200 not in text


def test_thresholds(report):
    options = ('--min-quality', 0.5, '--min-agreement', 0.5)
    _, _, text = report(PROXIES, *options)
    assert '2 of them (50%) are kept: quality above 0.5 and agreement above 0.5.' in text
    assert [row[0] for row in data_of(text)['rows'] if row[5]] == [6, 8]


def test_true_masks_of_some_boxes(report):
    # Half of the box is right of the first mask, whose quality is 0.9; the second is perfect.
    truth = [annotation(n, mask_of((10, 10, 30, 30)), None, None) for n in (5, 6)]
    truth.append(annotation(8, None, None, None, category=2))
    code, err, text = report(truth=truth)
    assert code == 0, err
    assert data_of(text)['columns'][4] == 'iou'
    assert [row[4] for row in data_of(text)['rows']] == [0.5, 1.0, None, None]
    assert '2 boxes have one' in text and 'rank correlation is -1.00' in text
    # (0.9 - 0.5 + 1 - 0.75) / 2
    assert re.search(r'true IoU are 0\.3[23] apart', text)
    rated = text.split('<h3>Rated too high')[1].split('<h3>')[0]
    assert re.findall('title="[^"]*annotation (\\w+)', rated) == ['5']
    assert ['0.70', '75.0%', '0.75', '25.0%', '1.00'] in Page(text).cells
    assert len([tag for tag, _ in Page(text).tags if tag == 'svg']) == 4
    _, _, text = report(truth=truth[:1])
    assert '1 boxes have one' in text and 'rank correlation' not in text


def test_without_qualities_the_agreement_decides(report):
    proxies = [
        {k: v for k, v in a.items() if k != 'quality'} for a in PROXIES if a['id'] != 'seven'
    ]
    _, _, text = report(proxies, '--min-agreement', 0.6)
    assert '2 of them (67%) are kept: agreement above 0.6.' in text
    assert data_of(text)['columns'][2:4] == ['agreement', 'kept']
    assert 'Those of the lowest agreement' in text


@pytest.mark.parametrize(
    ('annotations', 'options', 'truth', 'message'),
    [
        (PROXIES, ('--min-quality', 2), None, r'--min-quality must be in \[0, 1\]'),
        (PROXIES, ('--min-agreement', -1), None, r'--min-agreement must be in \[0, 1\]'),
        (PROXIES, ('--pictures', 0), None, '--pictures must be a whole number'),
        (PROXIES, ('--out', 'report.pdf'), None, 'must end in .html'),
        (PROXIES, ('--images', 'nowhere'), None, 'image folder nowhere does not exist'),
        ([], (), None, 'holds no box'),
        ([annotation(5, mask_of(), None, None) | dict(segmentation=mask_of((0, 0, 9, 9)))], (),
         None, 'neither quality nor box_agreement'),
        ([annotation(5, dict(size=[2, 2], counts='4'), 0.5, 0.5)], (), None,
         'annotation 5 .*proxy.json is broken'),
        (PROXIES, (), [annotation(9, mask_of(), None, None)], 'annotation 9 of .*truth.json'),
        (PROXIES, (), [annotation(5, None, None, None)], 'has no true masks: leave --truth out'),
    ],
)  # fmt: skip
def test_bad_input_ends_in_one_sentence(report, annotations, options, truth, message):
    code, err, text = report(annotations, *options, truth=truth)
    sentence = err.strip().splitlines()[-1]
    assert code == 2 and sentence.startswith('error: ') and re.search(message, sentence), err
    assert text is None


def test_an_image_of_another_size_is_named(report):
    page = report()[2]
    proxies = [dict(PROXIES[0], segmentation=encode_rle(np.ones((4, 4))), bbox=[0, 0, 4, 4])]
    code, err, text = report(proxies, size=(4, 4))
    assert code == 2 and 'a<b>.png is 48x40, but ' in err and 'proxy.json says 4x4' in err
    # What was there stays.
    assert text == page
