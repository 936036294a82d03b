import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmboxcaseg import cli
from mmboxcaseg.datasets import SalientObjectDataset
from mmboxcaseg.images import read_mask

TOOL = Path(__file__).parents[3] / 'tools' / 'dataset_converters' / 'duts_single.py'
# 20x30 pixels: 600, so 18 are the default's smallest object. Slices y1, y2, x1, x2.
MASKS = dict(
    one=[(5, 15, 5, 25)],
    two=[(0, 10, 0, 10), (12, 20, 12, 20)],
    speck=[(5, 15, 5, 15), (18, 19, 18, 21)],  # 3 pixels of 100
    spot=[(5, 15, 5, 15), (18, 19, 18, 22)],  # 4 pixels of 100
    corner=[(0, 10, 0, 10), (10, 20, 10, 20)],  # they touch at a corner
    small=[(0, 1, 0, 17)],
    least=[(0, 2, 0, 9)],
)
KEPT = ['corner', 'least', 'one', 'speck']


def write_pair(root, name, parts, value=255, folders=('DUTS-TR-Image', 'DUTS-TR-Mask')):
    mask = np.zeros((20, 30), np.uint8)
    for y1, y2, x1, x2 in parts:
        mask[y1:y2, x1:x2] = value
    for folder, suffix, pixels in zip(
        folders, ('jpg', 'png'), (np.dstack([mask] * 3), mask), strict=True
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(root / folder / f'{name}.{suffix}'), pixels)


@pytest.fixture
def duts(tmp_path):
    for name, parts in MASKS.items():
        write_pair(tmp_path / 'DUTS-TR', name, parts)
    return tmp_path / 'DUTS-TR'


def names(path):
    return [line.removesuffix('.jpg') for line in path.read_text().splitlines()]


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*.*')}


def test_keeps_masks_of_one_object(duts, run, tmp_path):
    out = tmp_path / 'out'
    code, text, _ = run(duts, out, '--subsets')
    assert code == 0
    assert names(out / 'single.txt') == KEPT
    assert sorted(path.name for path in (out / 'images').iterdir()) == [f'{n}.jpg' for n in KEPT]
    assert sorted(path.name for path in (out / 'masks').iterdir()) == [f'{n}.png' for n in KEPT]
    assert (out / 'images' / 'one.jpg').samefile(duts / 'DUTS-TR-Image' / 'one.jpg')
    assert (out / 'masks' / 'one.png').samefile(duts / 'DUTS-TR-Mask' / 'one.png')
    assert '4 of 7 images' in text and '7991 of the 10553' in text
    assert 'refused: 1 have a small object, 2 have several objects' in text


@pytest.mark.parametrize(
    'options, kept',
    [
        (['--max-rest', '0.04'], [*KEPT, 'spot']),
        (['--max-rest', '0'], ['corner', 'least', 'one']),
        (['--max-rest', '1', '--min-area', '0'], [*MASKS]),
        (['--min-area', '0'], [*KEPT, 'small']),
        (['--min-area', '0.031'], ['corner', 'one', 'speck']),
    ],
)
def test_thresholds(duts, run, tmp_path, options, kept):
    run(duts, tmp_path / 'out', '--subsets', *options)
    assert names(tmp_path / 'out' / 'single.txt') == sorted(kept)


@pytest.mark.parametrize('level, code', [(127, 0), (199, 0), (200, 2)])
def test_level(run, tmp_path, level, code):
    write_pair(tmp_path / 'in', 'grey', MASKS['one'], value=200)
    assert run(tmp_path / 'in', tmp_path / 'out', '--level', level)[0] == code


def test_what_is_written_loads(duts, run, tmp_path):
    run(duts, tmp_path / 'out', '--subsets', 2)
    assert len(SalientObjectDataset(data_root=str(tmp_path / 'out'))) == 4
    for name, count in (('single.txt', 4), ('salient_2.txt', 2)):
        dataset = SalientObjectDataset(data_root=str(tmp_path / 'out'), ann_file=name)
        assert len(dataset) == count


def test_subsets_are_nested_and_drawn_by_seed(run, tmp_path):
    for index in range(30):
        write_pair(tmp_path / 'in', f'{index:02d}', MASKS['one'], folders=('images', 'masks'))
    sizes = (5, 10, 20, 40)
    lists = []
    for seed in (0, 1):
        out = tmp_path / str(seed)
        _, text, _ = run(tmp_path / 'in', out, '--seed', seed, '--subsets', *sizes)
        assert 'salient_40.txt: not written, there are only 30 images' in text
        assert not (out / 'salient_40.txt').exists()
        lists.append([names(out / f'salient_{size}.txt') for size in sizes[:3]])
        assert [len(set(list_)) for list_ in lists[-1]] == [5, 10, 20]
        assert set(lists[-1][0]) < set(lists[-1][1]) < set(lists[-1][2])
        assert all(list_ == sorted(list_) for list_ in lists[-1])
    assert lists[0] != lists[1]


def test_a_given_list_is_not_filtered(duts, run, tmp_path):
    # With and without suffix, in any order; masks that were not asked for may be broken.
    (tmp_path / 'list.txt').write_text('\ufefftwo\none.jpg\n\n')  # with a BOM
    (duts / 'DUTS-TR-Mask' / 'small.png').write_text('broken')
    code, text, _ = run(duts, tmp_path / 'out', '--list', tmp_path / 'list.txt', '--subsets', 1)
    assert code == 0
    assert names(tmp_path / 'out' / 'single.txt') == ['two', 'one']
    assert '2 of 2 images' in text
    assert len(names(tmp_path / 'out' / 'salient_1.txt')) == 1
    assert len(list((tmp_path / 'out' / 'images').iterdir())) == 2


def test_a_second_run_changes_nothing(duts, run, tmp_path):
    out = tmp_path / 'out'
    run(duts, out, '--subsets', 2)
    before = content(out)
    assert len(before) == 4 + 4 + 3  # the list, a subset, the names of subsets
    assert run(duts, out, '--subsets', 2)[0] == 0
    assert content(out) == before
    assert {path.stat().st_nlink for path in out.glob('*/*')} == {2}


def test_goes_on_after_an_interruption(duts, run, tmp_path):
    run(duts, tmp_path / 'out')
    half = tmp_path / 'half'
    (half / 'images').mkdir(parents=True)
    (half / 'images' / 'one.jpg').hardlink_to(duts / 'DUTS-TR-Image' / 'one.jpg')
    (half / 'images' / 'speck.jpg.1.tmp').write_text('half')
    assert run(duts, half)[0] == 0
    (half / 'images' / 'speck.jpg.1.tmp').unlink()
    assert content(half) == content(tmp_path / 'out')


def test_other_images_in_the_output_folder_are_refused(duts, run, tmp_path):
    # Without a list file training would read them too.
    out = tmp_path / 'out'
    run(duts, out, '--min-area', 0)
    code, _, err = run(duts, out)
    assert code == 2
    assert f'{out}/images holds 1 files that are not kept now, such as small.jpg: remove' in err
    assert names(out / 'single.txt') == sorted([*KEPT, 'small'])


def break_and_run(duts, run, tmp_path, break_it, *options):
    break_it(duts)
    code, _, err = run(duts, tmp_path / 'out', *options)
    assert not list((tmp_path / 'out').glob('*/*'))
    return code, err.splitlines()[-1]


def write(path, content=b'broken'):
    return lambda root: (root / path).write_bytes(content)


def cut(path, count):
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[:-count])


@pytest.mark.parametrize(
    'break_it, words',
    [
        (lambda root: os.rename(root / 'DUTS-TR-Image', root / 'x'), 'it has neither DUTS-TR-Im'),
        (lambda root: os.rename(root / 'DUTS-TR-Mask', root / 'x'), 'DUTS-TR-Mask does not exist'),
        (lambda root: (root / 'DUTS-TR-Mask/one.png').unlink(), 'one.jpg has no mask one.png'),
        (
            lambda root: (root / 'DUTS-TR-Image/one.jpg').unlink(),
            'mask {}/DUTS-TR-Mask/one.png has',
        ),
        (write('DUTS-TR-Mask/one.png'), 'one.png cannot be decoded'),
        (write('DUTS-TR-Mask/one.png', b''), 'one.png cannot be decoded'),
        (write('DUTS-TR-Image/one.jpg'), 'one.jpg cannot be read as an image'),
        (cut('DUTS-TR-Image/one.jpg', 2), 'one.jpg cannot be read as an image or is cut off'),
        (cut('DUTS-TR-Image/one.jpg', 90), 'one.jpg cannot be read as an image or is cut off'),
        (cut('DUTS-TR-Mask/one.png', 30), 'one.png cannot be'),
        (
            lambda root: write_pair(root, 'one', []),
            'one.png has no pixel above 127: are its values',
        ),
        (
            lambda root: cv2.imwrite(
                str(root / 'DUTS-TR-Mask/one.png'), np.full((30, 20), 255, np.uint8)
            ),
            'one.png has another size than image {}/DUTS-TR-Image/one.jpg',
        ),
    ],
)
def test_bad_data_is_one_sentence(duts, run, tmp_path, break_it, words):
    code, err = break_and_run(duts, run, tmp_path, break_it)
    assert code == 2
    assert words.format(duts) in err


@pytest.mark.parametrize(
    'options, words',
    [
        (['--level', 255], '--level must be in 0 to 254, not 255'),
        (['--max-rest', -1], '--max-rest must be in [0, 1], not -1'),
        (['--min-area', 'nan'], '--min-area must be in [0, 1], not nan'),
        (['--min-area', 1], 'all 7 images of {} are refused (5 have a small object, 2 have sev'),
        (['--subsets', 0], '--subsets must be a whole number of at least 1, not 0'),
        (['--seed', -1], '--seed must be 0 or more, not -1'),
        (['--list', 'none.txt'], 'none.txt does not exist'),
    ],
)
def test_bad_options_are_one_sentence(duts, run, tmp_path, options, words):
    code, err = break_and_run(duts, run, tmp_path, lambda root: None, *options)
    assert code == 2
    assert words.format(duts) in err


@pytest.mark.parametrize(
    'text, words',
    [
        (b'one\nnone\n', 'image none of {} is not in'),
        (b'one\none.jpg\n', 'names image one twice'),
        (b'\n', 'no salient image'),
        (b'\xff\xfe', '{} is not UTF-8 text but UTF-16'),
    ],
)
def test_bad_lists_are_one_sentence(duts, run, tmp_path, text, words):
    path = tmp_path / 'list.txt'
    path.write_bytes(text)
    code, err = break_and_run(duts, run, tmp_path, lambda root: None, '--list', path)
    assert code == 2
    assert words.format(path) in err


def test_inputs_are_not_overwritten(duts, run, tmp_path):
    before = content(duts)
    code, _, err = run(duts, duts)
    assert code == 2 and 'DUTS-TR, which holds the data to read: give another' in err
    code, _, err = run(duts, duts / 'DUTS-TR-Image')
    assert code == 2 and 'DUTS-TR, which holds the data to read: give another' in err
    (tmp_path / 'out').mkdir()
    given = tmp_path / 'out' / 'single.txt'
    given.write_text('one\n')
    code, _, err = run(duts, tmp_path / 'out', '--list', given)
    assert code == 2 and 'single.txt is an input file: give another output file' in err
    assert content(duts) == before
    assert given.read_text() == 'one\n'


def test_listed_files_are_read_too(duts, run, tmp_path):
    (tmp_path / 'list.txt').write_text('two\none\n')
    for name in ('Image/one.jpg', 'Mask/two.png'):
        path = duts / f'DUTS-TR-{name}'
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        code, _, err = run(duts, tmp_path / 'out', '--list', tmp_path / 'list.txt')
        assert code == 2
        assert f'{path} cannot be' in err.splitlines()[-1]
        path.write_bytes(whole)


def test_a_coloured_mask_is_what_training_makes_of_it(run, tmp_path):
    # In grey red is 76, green 150 and blue 29: of three objects training sees the green one.
    write_pair(tmp_path / 'in', 'colours', [])
    mask = np.zeros((20, 30, 3), np.uint8)
    for channel in range(3):
        mask[5:15, 10 * channel + 1 : 10 * channel + 8, channel] = 255
    path = tmp_path / 'in' / 'DUTS-TR-Mask' / 'colours.png'
    cv2.imwrite(str(path), mask)
    assert read_mask(str(path)).sum() == 10 * 7
    assert run(tmp_path / 'in', tmp_path / 'out', '--subsets')[0] == 0
    mask[..., 1] = 0
    cv2.imwrite(str(path), mask)
    assert run(tmp_path / 'in', tmp_path / 'other', '--subsets')[0] == 2


def test_subsets_of_an_earlier_run_are_removed(duts, run, tmp_path):
    out = tmp_path / 'out'
    run(duts, out, '--subsets', 2, 3, '--seed', 1)
    (out / 'salient_4.txt').write_text('made by hand')
    with (out / 'drawn.txt').open('a') as record:
        record.write('single.txt\n../DUTS-TR/DUTS-TR-Image/one.jpg\n')
    code, text, _ = run(duts, out, '--subsets', 2, 9, '--seed', 2)
    assert code == 0
    assert f'{out}/salient_3.txt: removed, it was drawn by an earlier run' in text
    lists = ['drawn.txt', 'salient_2.txt', 'salient_4.txt', 'single.txt']
    assert sorted(path.name for path in out.glob('*.txt')) == lists
    assert (out / 'drawn.txt').read_text() == 'salient_2.txt\n'
    assert len(list((duts / 'DUTS-TR-Image').iterdir())) == len(MASKS)


def test_files_that_training_does_not_read_may_lie_in_the_output_folder(duts, run, tmp_path):
    out = tmp_path / 'out'
    run(duts, out)
    for name in ('images/.DS_Store', 'masks/.DS_Store', 'masks/Thumbs.db'):
        (out / name).write_text('x')
    assert run(duts, out)[0] == 0
    (out / 'images' / 'other.JPG').write_text('x')
    assert run(duts, out)[0] == 2


def convert(duts, out):
    cli.main(['convert', 'duts-single', str(duts), str(out), '--subsets', '2', '3'])


@pytest.mark.slow
def test_conversion_survives_kills(duts, tmp_path, seconds_of, survives_kills):
    for number in range(60):
        write_pair(duts, f'more{number}', MASKS['one'])
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    seconds = seconds_of(convert, (duts, whole))

    def check():
        assert content(killed) == content(whole)

    # Three lists, the list of lists, and nothing else is renamed: images are linked.
    survives_kills(convert, (duts, killed), seconds, 4, check, lambda: shutil.rmtree(killed))


def test_masks_of_0_and_1_are_written_as_training_reads_them(run, tmp_path):
    """Those that training reads alike stay hard links, and no file of the source changes."""
    write_pair(tmp_path / 'in', 'low', MASKS['one'], value=1)
    write_pair(tmp_path / 'in', 'high', MASKS['one'])
    before = content(tmp_path / 'in')
    for _ in range(2):
        code, out, _ = run(tmp_path / 'in', tmp_path / 'out', '--level', 0, '--subsets')
        assert code == 0 and '1 masks were written anew as 0 and 255' in out
    masks = [tmp_path / 'out' / 'masks' / f'{name}.png' for name in ('low', 'high')]
    expected = np.zeros((20, 30), bool)
    expected[5:15, 5:25] = True
    for mask in masks:
        assert np.array_equal(read_mask(mask), expected)
    assert masks[1].samefile(tmp_path / 'in' / 'DUTS-TR-Mask' / 'high.png')
    assert content(tmp_path / 'in') == before


def test_images_and_masks_in_one_folder(run, tmp_path):
    write_pair(tmp_path / 'in', 'a', MASKS['one'], folders=('Imgs', 'Imgs'))
    assert run(tmp_path / 'in', tmp_path / 'out', '--subsets')[0] == 0
    assert names(tmp_path / 'out' / 'single.txt') == ['a']
