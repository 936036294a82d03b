import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmboxcaseg.datasets.transforms import LoadPatchImage
from mmboxcaseg.errors import InputError
from mmboxcaseg.images import read_image_shape, read_mask
from mmboxcaseg.proxy import encode_rle

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


def test_image_that_is_there_is_kept():
    image = np.zeros((4, 6, 3), np.uint8)
    results = LoadPatchImage()(dict(img=image, img_path='none.png', height=4, width=6))
    assert results['img'] is image
    assert results['img_shape'] == results['ori_shape'] == (4, 6)
    with pytest.raises(InputError, match='none.png is 6x4, but its annotation file says 9x4'):
        LoadPatchImage()(dict(img=image, img_path='none.png', height=4, width=9))


def test_mask_of_a_salient_sample(paths):
    results = LoadPatchImage()(dict(img_path=paths[0], mask_path=paths[1]))
    expected = np.zeros((4, 6))
    expected[1:3, 2:5] = 1
    assert np.array_equal(results['gt_seg_map'], expected)
    assert results['gt_seg_map'].dtype == np.uint8


def test_mask_of_a_box_sample(paths):
    expected = np.zeros((4, 6), np.uint8)
    expected[1:3, 0:2] = 1
    results = dict(img_path=paths[0], mask=encode_rle(expected), ann_id=7)
    mask = LoadPatchImage()(dict(results))['gt_seg_map']
    assert np.array_equal(mask, expected)
    assert mask.dtype == np.uint8
    results['mask'] = encode_rle(expected.T)
    with pytest.raises(InputError, match=r'annotation 7, on .*image\.png, is broken: its size is'):
        LoadPatchImage()(results)


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


def test_shape_of_a_whole_file(paths, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    jpeg, broken = tmp_path / 'noise.jpg', tmp_path / 'broken'
    cv2.imwrite(str(jpeg), noise)
    assert read_image_shape(paths[0]) == (4, 6)
    assert read_image_shape(jpeg) == (70, 90)
    content = jpeg.read_bytes()
    for length in (20, len(content) // 2, len(content) - 300, len(content) - 2):
        broken.write_bytes(content[:length])
        with pytest.raises(InputError, match=f'{broken} cannot be read as an image or is cut off'):
            read_image_shape(broken)
    with pytest.raises(InputError, match='cannot read .*none.png: No such file'):
        read_image_shape(tmp_path / 'none.png')


@pytest.mark.parametrize('orientation', [3, 6])
def test_pixels_stay_as_they_are_stored(tmp_path, orientation):
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    grey = np.where(noise[..., :1] > 127, 255, 0).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, image, mask = (str(tmp_path / name) for name in ('plain.jpg', 'i.jpg', 'm.png'))
    Image.fromarray(noise).save(plain)
    Image.fromarray(noise).save(image, exif=exif)
    Image.fromarray(grey[..., 0]).save(mask, exif=exif)
    assert Image.open(image).getexif()[0x0112] == orientation
    results = LoadPatchImage()(dict(img_path=image, mask_path=mask, height=40, width=60))
    assert np.array_equal(results['img'], cv2.imread(plain))
    assert np.array_equal(results['gt_seg_map'], grey[..., 0] > 0)
    assert read_image_shape(image) == (40, 60)


def test_an_image_that_says_it_is_huge(paths):
    with open(paths[0], 'r+b') as file:
        content = bytearray(file.read())
        content[16:24] = struct.pack('>II', 60_000, 60_000)
        content[29:33] = struct.pack('>I', zlib.crc32(content[12:29]))
        file.seek(0)
        file.write(content)
    with pytest.raises(InputError, match='image.png has 60000x60000 pixels, more than'):
        LoadPatchImage()(dict(img_path=paths[0]))
    with pytest.raises(InputError, match='image.png has 60000x60000 pixels, more than'):
        read_image_shape(paths[0])


def test_mask_is_split_at_half_of_the_intensity(tmp_path):
    path = str(tmp_path / 'grey.png')
    cv2.imwrite(path, np.array([[0, 127, 128, 255]], np.uint8))
    assert read_mask(path).tolist() == [[0, 0, 1, 1]]
    assert read_mask(path, 128).tolist() == [[0, 0, 0, 1]]


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
