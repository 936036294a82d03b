import cv2
import numpy as np
import pytest

from mmboxcaseg.datasets.transforms import LoadPatchImage
from mmboxcaseg.datasets.transforms.loading import read_image_shape, read_mask
from mmboxcaseg.errors import InputError

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


@pytest.fixture
def paths(tmp_path):
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3, 2:5] = 255
    cv2.imwrite(str(tmp_path / 'image.png'), IMAGE)
    cv2.imwrite(str(tmp_path / 'mask.png'), mask)
    return str(tmp_path / 'image.png'), str(tmp_path / 'mask.png')


def test_image_of_a_box_sample(paths):
    results = LoadPatchImage()(dict(img_path=paths[0], height=4, width=6))
    assert np.array_equal(results['img'], IMAGE)
    assert results['img_shape'] == results['ori_shape'] == (4, 6)
    assert 'gt_seg_map' not in results


def test_mask_of_a_salient_sample(paths):
    results = LoadPatchImage()(dict(img_path=paths[0], mask_path=paths[1]))
    expected = np.zeros((4, 6))
    expected[1:3, 2:5] = 1
    assert np.array_equal(results['gt_seg_map'], expected)
    assert results['gt_seg_map'].dtype == np.uint8


def test_image_of_the_boxes_that_follow_is_decoded_once(paths, monkeypatch):
    transform = LoadPatchImage()
    first = transform(dict(img_path=paths[0]))['img']
    monkeypatch.setattr(cv2, 'imdecode', None)
    assert transform(dict(img_path=paths[0]))['img'] is first


def test_another_image_is_read(paths, tmp_path):
    cv2.imwrite(str(tmp_path / 'other.png'), 255 - IMAGE)
    transform = LoadPatchImage()
    transform(dict(img_path=paths[0]))
    other = transform(dict(img_path=str(tmp_path / 'other.png')))
    assert np.array_equal(other['img'], 255 - IMAGE)


def test_path_that_is_not_ascii(paths, tmp_path):
    path = tmp_path / 'Straße 写真.png'
    path.write_bytes(open(paths[0], 'rb').read())
    assert np.array_equal(LoadPatchImage()(dict(img_path=str(path)))['img'], IMAGE)


def test_shape_is_read_without_decoding(paths, tmp_path):
    assert read_image_shape(paths[0]) == (4, 6)
    broken = tmp_path / 'broken.png'
    broken.write_bytes(open(paths[0], 'rb').read()[:20])
    for path in (broken, tmp_path / 'none.png'):
        with pytest.raises(InputError, match=f'{path} cannot be read as an image'):
            read_image_shape(path)


def test_mask_is_split_at_half_of_the_intensity(tmp_path):
    path = str(tmp_path / 'grey.png')
    cv2.imwrite(path, np.array([[0, 127, 128, 255]], np.uint8))
    assert read_mask(path).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ('results', 'sentence'),
    [
        (dict(img_path='gone.png'), r'cannot read .*gone\.png: No such file'),
        (dict(img_path='broken.png'), r'broken\.png cannot be decoded: replace'),
        (dict(img_path='nothing.png'), r'nothing\.png cannot be decoded'),
        (dict(img_path='image.png', height=6, width=4), r'image\.png is 6x4, but .* says 4x6'),
        (dict(img_path='image.png', mask_path='gone.png'), r'cannot read .*gone\.png'),
        (dict(img_path='image.png', mask_path='broken.png'), r'broken\.png cannot be decoded'),
        (
            dict(img_path='image.png', mask_path='dark.png'),
            r'mask .*dark\.png has no pixel above 127: are its',
        ),
        (dict(img_path='image.png', mask_path='small.png'), r'small\.png has another size'),
    ],
)
def test_bad_files(paths, tmp_path, results, sentence):
    (tmp_path / 'broken.png').write_bytes(b'\x89PNG broken')
    (tmp_path / 'nothing.png').write_bytes(b'')
    cv2.imwrite(str(tmp_path / 'dark.png'), np.zeros((4, 6), np.uint8))
    cv2.imwrite(str(tmp_path / 'small.png'), np.full((2, 2), 255, np.uint8))
    for key in {'img_path', 'mask_path'} & results.keys():
        results[key] = str(tmp_path / results[key])
    with pytest.raises(InputError, match=sentence):
        LoadPatchImage()(results)
