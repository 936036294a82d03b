import shutil

import cv2
import numpy as np
import pytest

from mmboxcaseg.datasets import SalientObjectDataset
from mmboxcaseg.errors import InputError


@pytest.fixture
def root(data_root, tmp_path):
    shutil.copytree(data_root / 'salient', tmp_path / 'salient')
    return tmp_path / 'salient'


def names(dataset):
    return [dataset.get_data_info(i)['img_path'].rsplit('/', 1)[-1] for i in range(len(dataset))]


def test_pairs_in_the_order_of_the_names(root):
    dataset = SalientObjectDataset(str(root))
    assert names(dataset) == [f's{index}.png' for index in range(6)]
    sample = dataset.get_data_info(2)
    sample.pop('sample_idx')
    assert sample == dict(
        img_path=str(root / 'images' / 's2.png'),
        mask_path=str(root / 'masks' / 's2.png'),
        mask_level=127,
        supervision='mask',
    )
    assert dataset.metainfo['supervision'] == 'mask'


def test_image_and_mask_may_differ_in_suffix(root):
    (root / 'images' / 's1.png').rename(root / 'images' / 's1.JPG')
    assert names(SalientObjectDataset(str(root)))[1] == 's1.JPG'


def test_masks_without_image_and_other_files_do_not_matter(root):
    (root / 'images' / 's1.png').unlink()
    (root / 'images' / 'notes.txt').write_text('')
    assert names(SalientObjectDataset(str(root))) == [f's{index}.png' for index in (0, 2, 3, 4, 5)]


def test_list_file_chooses_and_orders(root):
    (root / 'list.txt').write_text('s4.png\ns1\n\n s0.png \n')
    (root / 'masks' / 's5.png').unlink()  # not listed, so not missed
    dataset = SalientObjectDataset(str(root), ann_file='list.txt')
    assert names(dataset) == ['s4.png', 's1.png', 's0.png']


def test_other_folders(root):
    (root / 'masks').rename(root / 'truth')
    dataset = SalientObjectDataset(str(root), data_prefix=dict(img='images', mask='truth'))
    assert dataset.get_data_info(0)['mask_path'] == str(root / 'truth' / 's0.png')


def test_missing_mask(root):
    (root / 'masks' / 's3.png').unlink()
    with pytest.raises(InputError, match=r's3\.png has no mask s3\.png in .*masks: add'):
        SalientObjectDataset(str(root))


def test_listed_image_that_is_not_there(root):
    (root / 'list.txt').write_text('s7.jpg')
    with pytest.raises(InputError, match=r'image s7 of .*list\.txt is not in .*images'):
        SalientObjectDataset(str(root), ann_file='list.txt')


def test_image_that_is_listed_twice(root):
    (root / 'list.txt').write_text('s1.png\ns2.png\ns1\n')
    with pytest.raises(InputError, match=r'list\.txt names image s1 twice'):
        SalientObjectDataset(str(root), ann_file='list.txt')


def test_prefix_without_masks(root):
    with pytest.raises(InputError, match=r"folders 'img' and 'mask', not \['img'\] alone"):
        SalientObjectDataset(str(root), data_prefix=dict(img='images'))


@pytest.mark.parametrize('folder', ['images', 'masks'])
def test_missing_folder(root, folder):
    shutil.rmtree(root / folder)
    with pytest.raises(InputError, match=f'folder .*{folder} does not exist'):
        SalientObjectDataset(str(root))


def test_missing_list_file(root):
    with pytest.raises(InputError, match=r'list file .*list\.txt does not exist'):
        SalientObjectDataset(str(root), ann_file='list.txt')


def test_no_image(root):
    for path in (root / 'images').iterdir():
        path.unlink()
    with pytest.raises(InputError, match='no salient image in .*images'):
        SalientObjectDataset(str(root))


def test_two_images_of_one_name(root):
    (root / 'images' / 'twin.jpg').touch()
    (root / 'images' / 'twin.png').touch()
    with pytest.raises(
        InputError, match='twin.jpg and twin.png have the same name but .*: rename one'
    ):
        SalientObjectDataset(str(root))


def test_pairs_are_held_out_for_a_test(root):
    train = SalientObjectDataset(str(root), hold_out=4)
    held = SalientObjectDataset(str(root), hold_out=4, test_mode=True)
    assert names(train) == ['s1.png', 's2.png', 's3.png', 's5.png']
    assert names(held) == ['s0.png', 's4.png']
    with pytest.raises(InputError, match='hold_out must be a whole number of at least 1'):
        SalientObjectDataset(str(root), hold_out=-1)


def test_images_and_masks_in_one_folder(tmp_path):
    for name in ('a.jpg', 'a.png', 'b.JPG', 'b.png'):
        (tmp_path / name).touch()
    dataset = SalientObjectDataset(str(tmp_path), data_prefix=dict(img='', mask='.'))
    pairs = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [(p['img_path'][-5:], p['mask_path'][-5:]) for p in pairs] == [
        ('a.jpg', 'a.png'), ('b.JPG', 'b.png'),
    ]  # fmt: skip
    (tmp_path / 'c.jpg').touch()
    with pytest.raises(InputError, match=r'c\.jpg has no mask c\.png'):
        SalientObjectDataset(str(tmp_path), data_prefix=dict(img='', mask=''))


def test_level_of_masks(root):
    mask = np.zeros((40, 48), np.uint8)
    mask[3:9, 4:8] = 1
    image = cv2.imread(str(root / 'images' / 's0.png'))
    cv2.imwrite(str(root / 'masks' / 's0.png'), cv2.resize(mask, image.shape[1::-1]))
    load = dict(pipeline=[dict(type='mmboxcaseg.LoadPatchImage')])
    seen = SalientObjectDataset(str(root), level=0, **load)[0]['gt_seg_map']
    assert seen.any() and seen.max() == 1
    with pytest.raises(InputError, match='has no pixel above 127'):
        SalientObjectDataset(str(root), **load)[0]
    with pytest.raises(InputError, match='level must be in 0 to 254, not 255'):
        SalientObjectDataset(str(root), level=255)


@pytest.mark.parametrize('kind', ['images', 'masks'])
def test_links_that_lead_out_are_followed_where_that_is_asked_for(root, monkeypatch, kind):
    file = root / kind / 's2.png'
    file.rename(root / 's2.png')
    file.symlink_to('../s2.png')
    (root / kind / 's3.png').rename(root / kind / 'own.bin')
    (root / kind / 's3.png').symlink_to('own.bin')  # stays inside
    with pytest.raises(InputError, match=f'{kind}/s2.png is or lies behind a link .* git-annex'):
        SalientObjectDataset(str(root))
    monkeypatch.setenv('MMBOXCASEG_FOLLOW_LINKS', '1')
    assert len(SalientObjectDataset(str(root))) == 6
