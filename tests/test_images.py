import io
import os

import cv2
import numpy as np
import pytest
import tifffile
from mmcv.transforms import LoadImageFromFile
from PIL import Image, ImageOps

from mmboxcaseg.datasets.transforms import LoadPatchImage
from mmboxcaseg.errors import InputError
from mmboxcaseg.images import ImageBackend, ImageReader, read_image_shape, read_mask

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
STORED, TURNED = ImageReader(), ImageReader(exif=True)


def photograph(path, orientation, pixels=NOISE):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return str(path)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_is_left_out_or_followed_as_pillow_follows_it(tmp_path, orientation, suffix):
    path = photograph(tmp_path / f'a{suffix}', orientation)
    with Image.open(path) as image:
        stored = np.array(image)[..., ::-1]
        turned = np.array(ImageOps.exif_transpose(image))[..., ::-1]
    assert np.abs(STORED.read(path).astype(int) - stored).max() <= 1
    assert np.abs(TURNED.read(path).astype(int) - turned).max() <= 1
    assert STORED.shape(path) == (40, 60) and TURNED.shape(path) == turned.shape[:2]


@pytest.mark.parametrize('exif', [False, True])
@pytest.mark.parametrize('orientation', [1, 3, 6])
def test_patches_and_mask_rcnn_get_the_same_pixels(tmp_path, orientation, exif):
    path = photograph(tmp_path / 'a.jpg', orientation)
    patch = LoadPatchImage(exif=exif)(dict(img_path=path))['img']
    load = LoadImageFromFile(backend_args=dict(backend='mmboxcaseg', exif=exif))
    assert np.array_equal(load(dict(img_path=path))['img'], patch)


def test_an_object_of_a_turned_photograph_stays_under_its_mask(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:2, 4:] = 255
    photograph(tmp_path / 'i.png', 6, pixels)
    Image.fromarray(pixels[..., 0]).save(tmp_path / 'stored.png')
    Image.fromarray(np.rot90(pixels[..., 0], -1)).save(tmp_path / 'turned.png')
    sample = dict(img_path=str(tmp_path / 'i.png'))
    for exif, name in ((False, 'stored.png'), (True, 'turned.png')):
        results = LoadPatchImage(exif=exif)(sample | dict(mask_path=str(tmp_path / name)))
        assert np.array_equal(results['img'][..., 0] > 127, results['gt_seg_map'] == 1)
        with pytest.raises(InputError, match=r'is stored as 6x4 and turned to 4x6 by its EXIF '):
            LoadPatchImage(exif=not exif)(sample | dict(mask_path=str(tmp_path / name)))


def test_a_size_that_fits_the_turned_image_alone_is_named_with_exif(tmp_path):
    path = photograph(tmp_path / 'a.jpg', 8)
    LoadPatchImage(exif=True)(dict(img_path=path, height=60, width=40))
    with pytest.raises(InputError, match=r'60x40 and turned to 40x60 by its EXIF .* give --exif'):
        LoadPatchImage()(dict(img_path=path, height=60, width=40))
    with pytest.raises(InputError, match=r'pixels as stored, so leave --exif out'):
        LoadPatchImage(exif=True)(dict(img_path=path, height=40, width=60))
    with pytest.raises(
        InputError, match=r'is 60x40, but its annotation file says 61x40: the boxes'
    ):
        LoadPatchImage()(dict(img_path=path, height=40, width=61))


@pytest.mark.parametrize('factor', [1, 16, 257])
def test_16_bits_are_stretched_to_8(tmp_path, factor):
    # Of 40,000 values a thousandth at each end is cut: the hot pixel changes nothing.
    values = np.arange(100, dtype=np.uint16).repeat(400).reshape(200, 200)
    values = 20 + factor * values
    values[0, 0] = 65_535
    cv2.imwrite(str(tmp_path / 'deep.png'), values)
    pixels = STORED.read(tmp_path / 'deep.png')
    assert pixels.shape == (200, 200, 3) and pixels.dtype == np.uint8
    expected = np.rint(np.arange(100) * 255 / 99).repeat(400).reshape(200, 200)
    expected[0, 0] = 255
    assert np.array_equal(pixels, expected[..., None].repeat(3, axis=2))
    # What mmdet's loader gets is the same; of 8 bits of 16 nothing would be left.
    load = LoadImageFromFile(backend_args=dict(backend='mmboxcaseg'))
    assert np.array_equal(load(dict(img_path=str(tmp_path / 'deep.png')))['img'], pixels)


def test_values_that_are_no_numbers(tmp_path):
    values = np.full((2, 600), np.nan, np.float32)
    tifffile.imwrite(tmp_path / 'none.tif', values)
    with pytest.raises(InputError, match='none.tif holds no number but NaN or infinity: repl'):
        STORED.read(tmp_path / 'none.tif')
    values[0, :3] = 7, np.inf, 9
    tifffile.imwrite(tmp_path / 'some.tif', values)
    # Of two numbers the 0.1th and the 99.9th percentile lie 0.2% of their distance inside.
    row = STORED.read(tmp_path / 'some.tif')[0, :4, 0].tolist()
    assert row == [0, 255, 255, 0]


def test_one_number_among_millions_that_are_none(tmp_path):
    values = np.full((2048, 2048), np.nan, np.float32)
    values[5, 6] = 3
    tifffile.imwrite(tmp_path / 'a.tif', values)
    assert STORED.read(tmp_path / 'a.tif').shape == (2048, 2048, 3)


def test_deep_images_of_all_kinds(tmp_path):
    ramp = np.linspace(-3, 5, 2000, dtype=np.float32).reshape(40, 50)
    tifffile.imwrite(tmp_path / 'float.tif', ramp)
    colours = np.stack([np.full((40, 50), 10), 20 + ramp * 0, 1000 + ramp], axis=2)
    tifffile.imwrite(tmp_path / 'rgb.tif', colours.astype(np.uint16), photometric='rgb')
    cv2.imwrite(str(tmp_path / 'flat.png'), np.full((4, 4), 700, np.uint16))
    assert np.array_equal(STORED.read(tmp_path / 'float.tif')[0, 0], [0, 0, 0])
    assert np.array_equal(STORED.read(tmp_path / 'float.tif')[-1, -1], [255, 255, 255])
    # One scale for all channels, which keeps colours.
    blue, green, red = STORED.read(tmp_path / 'rgb.tif')[20, 20]
    assert (green, red) == (3, 0) and blue > 250
    assert not STORED.read(tmp_path / 'flat.png').any()
    for name in ('float.tif', 'rgb.tif', 'flat.png'):
        assert STORED.header(tmp_path / name).is_deep


COLOUR = (200, 50, 20)


@pytest.mark.parametrize(
    ('mode', 'suffix', 'expected'),
    [
        ('L', '.png', (91,) * 3),
        ('LA', '.png', (91,) * 3),
        ('RGBA', '.png', COLOUR),
        ('P', '.png', COLOUR),
        ('CMYK', '.jpg', COLOUR),
        ('CMYK', '.tif', COLOUR),
        ('1', '.png', (255,) * 3),
    ],
)
def test_channels(tmp_path, mode, suffix, expected):
    image = Image.new('RGB', (9, 8), COLOUR)
    if mode == 'P':
        image = image.quantize(2)
    elif mode == '1':
        image = Image.new('1', (9, 8), 1)
    else:
        image = image.convert(mode)
    image.save(tmp_path / f'a{suffix}')
    pixels = STORED.read(tmp_path / f'a{suffix}')
    assert pixels.shape == (8, 9, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - expected[::-1]).max() <= 2


@pytest.mark.parametrize('planar', ['contig', 'separate'])
def test_of_several_bands_three_are_chosen(tmp_path, planar):
    bands = np.arange(8 * 9 * 6, dtype=np.uint8).reshape(8, 9, 6)
    stored = np.moveaxis(bands, 2, 0) if planar == 'separate' else bands
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, stored, photometric='minisblack', planarconfig=planar)
    assert np.array_equal(ImageReader(bands=(6, 3, 1)).read(path), bands[..., [0, 2, 5]])
    assert ImageReader(bands=(6, 3, 1)).shape(path) == read_image_shape(
        path, ImageReader(bands=(6, 3, 1))
    )
    for reader, none in ((STORED, ''), (ImageReader(bands=(1, 7, 3)), ', none of number 7')):
        sentence = rf'a\.tif has 6 bands{none}: choose which three .* --bands'
        with pytest.raises(InputError, match=sentence):
            reader.read(path)


def test_an_image_is_refused_by_its_size_before_it_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    Image.fromarray(NOISE).save(path)
    assert ImageReader(max_pixels=2400).read(path).shape == (40, 60, 3)
    # Pillow's own limit is not asked.
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
    assert read_image_shape(path) == (40, 60)
    assert Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setattr(cv2, 'imdecode', None)
    for read in (ImageReader(max_pixels=2399).read, ImageBackend(max_pixels=2399).get):
        with pytest.raises(
            InputError, match=r'a\.png has 60x40 pixels, more than the 2399 .*--max'
        ):
            read(path)
    with pytest.raises(InputError, match='max_pixels must be at most 1073741824'):
        ImageReader(max_pixels=2**31)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(exiff=True), "with exif, max_pixels and bands, not with 'exiff'"),
        (dict(max_pixels=0), 'max_pixels must be a whole number of at least 1'),
        (dict(bands=[1, 2]), 'bands must be three numbers'),
        (dict(bands=[0, 1, 2]), 'bands must be a whole number of at least 1'),
    ],
)
def test_settings_that_cannot_be_meant(settings, message):
    for build in (ImageReader.of, LoadPatchImage, ImageBackend):
        with pytest.raises(InputError, match=message):
            build(**settings)


def save(path, mode, *channels):
    Image.merge(mode, [Image.fromarray(np.uint8(c)) for c in channels]).save(path)
    return path


RIGHT = np.array([[0, 0, 255], [0, 0, 255]])
LEFT = np.array([[255, 0, 0], [255, 0, 0]])
GREY = np.array([[90, 200, 30], [160, 10, 140]])


def test_masks_with_alpha(tmp_path):
    path = tmp_path / 'm.png'
    opaque = np.full((2, 3), 255)
    # A cut-out: what is shown is the mask, whatever its colours.
    for grey in (GREY, RIGHT * 0, opaque, RIGHT):
        assert np.array_equal(read_mask(save(path, 'RGBA', grey, grey, grey, RIGHT)), RIGHT > 0)
        assert np.array_equal(read_mask(save(path, 'LA', grey, RIGHT)), RIGHT > 0)
    assert np.array_equal(read_mask(save(path, 'RGBA', *[RIGHT] * 3, opaque)), RIGHT > 0)
    with pytest.raises(InputError, match=r'm\.png has one mask in its colours and another in its'):
        read_mask(save(path, 'RGBA', LEFT, LEFT, LEFT, RIGHT))


def test_masks_of_16_bits_and_of_0_and_1(tmp_path):
    path = tmp_path / 'm.png'
    cv2.imwrite(str(path), np.uint16(257 * RIGHT))
    assert np.array_equal(read_mask(path), RIGHT > 0)
    cv2.imwrite(str(path), np.uint8(RIGHT > 0))
    assert np.array_equal(read_mask(path, level=0), RIGHT > 0)
    with pytest.raises(InputError, match=r'no pixel above 127.* \(level of the data set, --level'):
        read_mask(path)


def test_files_that_are_no_images(tmp_path):
    (tmp_path / 'a.tif').write_bytes(b'II*\0 and no more')
    (tmp_path / 'a.png').write_bytes(b'\x89PNG\r\n\x1a\n')
    (tmp_path / 'a.jpg').write_bytes(io.BytesIO().getvalue())
    for name in ('a.tif', 'a.png', 'a.jpg'):
        with pytest.raises(InputError, match=f'{name} cannot be decoded'):
            STORED.read(tmp_path / name)
        with pytest.raises(InputError, match=f'{name} cannot be read as an image or is cut off'):
            read_image_shape(tmp_path / name)


@pytest.mark.parametrize(
    'exif', [b'Exif\0\0junk', b'Exif\0\0MM\0*\0\0\0\x08\xff\xff' + b'\x99' * 40]
)
@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.filterwarnings('ignore:Corrupt EXIF')
def test_broken_exif_data_name_no_orientation(tmp_path, exif, suffix):
    path = tmp_path / f'a{suffix}'
    Image.fromarray(NOISE).save(path, exif=exif)
    assert STORED.header(path).orientation == 1
    assert TURNED.read(path).shape == (40, 60, 3)


@pytest.mark.parametrize(
    ('start', 'message'),
    [
        (b'\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'is HEIC, whatever its name ends in: convert'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'Git LFS pointer: get it with git lfs'),
        (b'<!DOCTYPE html>', 'cannot be decoded: replace it'),
    ],
)
def test_what_is_no_image_is_named(tmp_path, start, message):
    (tmp_path / 'a.jpg').write_bytes(start)
    with pytest.raises(InputError, match=f'a.jpg .*{message}'):
        STORED.header(tmp_path / 'a.jpg')


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'a.jpg')
    for path in (tmp_path / 'a.jpg', tmp_path, '/dev/zero'):
        for look in (STORED.header, STORED.read, read_image_shape, read_mask):
            with pytest.raises(InputError, match=f'cannot read {path}: .* not a file'):
                look(path)
