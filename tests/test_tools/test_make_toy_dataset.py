import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from mmboxcaseg.apis import make_toy_dataset
from mmboxcaseg.datasets.toy import TOY_CLASSES
from mmboxcaseg.errors import InputError


def make(out, seed=0, num_train=6):
    make_toy_dataset(out, seed, num_train=num_train, num_val=2, num_salient=3, size=96)


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    out = tmp_path_factory.mktemp('toy') / 'set'
    make(out)
    return out


@pytest.fixture(scope='module')
def train(toy):
    return COCO(toy / 'annotations' / 'instances_train.json')


def test_files(toy, train):
    assert len(list((toy / 'train').iterdir())) == 6
    assert len(list((toy / 'val').iterdir())) == 2
    images = {path.stem for path in (toy / 'salient' / 'images').iterdir()}
    assert images == {path.stem for path in (toy / 'salient' / 'masks').iterdir()}
    assert len(images) == 3
    assert [category['name'] for category in train.dataset['categories']] == list(TOY_CLASSES)
    for image in train.dataset['images']:
        shape = cv2.imread(str(toy / 'train' / image['file_name'])).shape
        assert shape == (image['height'], image['width'], 3) == (96, 96, 3)


def test_boxes_are_tight_and_areas_the_masks(train):
    assert train.anns
    for annotation in train.anns.values():
        mask = train.annToMask(annotation)
        rows, columns = np.nonzero(mask)
        x, y, width, height = annotation['bbox']
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
        assert annotation['area'] == mask.sum()


def test_masks_share_no_pixel_though_boxes_do(train):
    boxes_overlap = False
    for anns in train.imgToAnns.values():
        assert sum(train.annToMask(annotation) for annotation in anns).max() == 1
        covered = np.zeros((96, 96), int)
        for x, y, width, height in (annotation['bbox'] for annotation in anns):
            covered[y : y + height, x : x + width] += 1
        boxes_overlap |= covered.max() > 1
    assert boxes_overlap


def test_box_file_tells_nothing_of_the_masks(toy, train):
    boxes = json.loads((toy / 'annotations' / 'boxes_train.json').read_text())['annotations']
    for box in boxes:
        true = train.anns[box['id']]
        assert 'segmentation' not in box
        assert box['area'] == true['bbox'][2] * true['bbox'][3]
        assert {k: v for k, v in box.items() if k != 'area'} == {
            k: v for k, v in true.items() if k not in ('area', 'segmentation')
        }


def test_salient_masks_have_one_object(toy):
    for path in (toy / 'salient' / 'masks').iterdir():
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert set(np.unique(mask)) == {0, 255}
        assert cv2.connectedComponents(mask)[0] == 2


def test_seed_decides_and_an_earlier_set_is_replaced(toy, tmp_path):
    def content(folder):
        files = sorted(path for path in folder.rglob('*') if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    again = tmp_path / 'again'
    make(again, seed=1, num_train=7)
    other = content(again)
    make(again)
    assert content(again) == content(toy)
    # Seeds differ in every image, and an image does not depend on how many there are.
    assert other['train/000000.jpg'] != content(toy)['train/000000.jpg']
    make(again, seed=0, num_train=7)
    assert content(again)['train/000005.jpg'] == content(toy)['train/000005.jpg']


def test_only_its_own_folders_are_removed(tmp_path):
    (tmp_path / 'toy.part').mkdir()
    (tmp_path / 'toy.part' / 'thesis.txt').touch()
    make(tmp_path / 'toy')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['toy', 'toy.part']
    assert (tmp_path / 'toy.part' / 'thesis.txt').is_file()
    # As any folder, not for its owner alone.
    assert (tmp_path / 'toy').stat().st_mode == (tmp_path / 'toy.part').stat().st_mode


def test_what_cannot_be_written_is_one_sentence(tmp_path):
    file = tmp_path / 'file'
    file.touch()
    for out in (file / 'toy', Path('/proc/toy')):
        with pytest.raises(InputError, match=f'cannot write {out}: '):
            make(out)
    with pytest.raises(InputError, match='--seed must be 0 or more, not -1'):
        make(tmp_path / 'toy', seed=-1)
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / 'thesis.txt').write_text('')
    with pytest.raises(InputError, match=str(tmp_path)):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.txt']
