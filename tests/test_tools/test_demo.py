import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from mmboxcaseg.coco import annotation_bboxes, annotations_by_image, load_coco
from mmboxcaseg.engine.config import build_model, load_config
from mmboxcaseg.engine.steps import Step

TOOL = Path(__file__).parents[2] / 'tools' / 'demo.py'


@pytest.fixture(scope='module')
def demo():
    return runpy.run_path(str(TOOL))


class Page(HTMLParser):
    """What a page holds: its text, and where its pictures lie."""

    def __init__(self, path):
        super().__init__()
        self.text, self.sources = '', []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        assert tag in ('html meta title style h1 h2 p figure img figcaption').split()
        self.sources += [dict(attrs)['src']] if tag == 'img' else []

    def handle_data(self, data):
        self.text += data


def test_boxes_lie_in_the_photographs_and_licences_are_named(demo):
    coco = load_coco(demo['BOXES'])
    groups = annotations_by_image(coco)
    for image in coco.images:
        pixels = getattr(skimage.data, image.file_name.removesuffix('.png'))()
        assert pixels.shape == (*image.shape, 3)
        bboxes = annotation_bboxes(groups[image.id])
        assert len(bboxes) >= 3
        assert (bboxes >= 0).all() and (bboxes[:, 2:] <= pixels.shape[1::-1]).all()
    text = demo['BOXES'].read_text()
    assert len(re.findall('"license": ', text)) == len(coco.images)
    assert len(re.findall('"(CC0|public domain), ', text)) == len(coco.images)


def test_page_escapes_and_names_its_pictures_relatively(demo, tmp_path):
    picture = np.full((8, 6, 3), 90, np.uint8)
    part = demo['Part']('a < b & c', '<script>', {'one"': (picture, '"quoted" <img src=x>')})
    demo['write_page'](tmp_path / 'index.html', [part, demo['Part']('next', 'text')])
    page = Page(tmp_path / 'index.html')
    for text in ('a < b & c', '<script>', '"quoted" <img src=x>', 'next'):
        assert text in page.text
    assert page.sources == ['pictures/one".jpg']
    assert cv2.imread(str(tmp_path / page.sources[0])).shape == picture.shape


def test_what_is_done_is_not_done_again(demo, tmp_path, capsys):
    out = tmp_path / 'part' / 'out.json'
    code = 'import sys; open(sys.argv[1], "a").write("x"); print("said")'
    for _ in range(2):
        demo['run'](tmp_path, Step('masks', [sys.executable, '-c', code, str(out)], out))
    assert out.read_text() == 'x'
    assert (tmp_path / 'logs' / 'masks_out.log').read_text() == 'said\n'
    assert capsys.readouterr().out.splitlines()[-1] == '   is done already'


def test_its_detector_is_small_and_knows_the_shapes(demo):
    config = load_config(demo['CONFIG'])
    assert sum(parameter.numel() for parameter in build_model(config).parameters()) < 8e6
    assert config.train_dataloader.dataset.metainfo.classes == demo['TOY_CLASSES']


@pytest.mark.slow
def test_whole_demo_and_again(tmp_path):
    command = [sys.executable, '-W', 'ignore', str(TOOL), '--work-dir', str(tmp_path)]

    def call():
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return said, Page(tmp_path / 'index.html')

    first, page = call()
    assert len(page.sources) == 4 + 3 * 4
    assert all(cv2.imread(str(tmp_path / source)) is not None for source in page.sources)
    assert '15 boxes have a mask' in page.text
    box, masks = map(float, re.search(r'themselves (0\.\d+), the masks (0\.\d+)', first).groups())
    assert masks > box + 0.2
    assert float(re.search(r'mask AP ([\d.]+)', first)[1]) > 0.05
    second, again = call()
    assert first.count('is done already') == 0 and second.count('is done already') == 4
    assert page.text == again.text
