from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.spatial.distance import cdist

from mmboxcaseg.converters import leakage

TOOL = Path(__file__).parents[3] / 'tools' / 'dataset_converters' / 'check_leakage.py'


def photograph(seed):
    """A blurred noise of 96x72: like a photograph it has most of its energy in coarse detail."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((96, 72), Image.Resampling.BICUBIC)


@pytest.fixture
def folders(tmp_path):
    for folder, seeds in (('a', range(4)), ('b/deep', range(4, 7))):
        (tmp_path / folder).mkdir(parents=True)
        for seed in seeds:
            photograph(seed).save(tmp_path / folder / f'{seed}.jpg')
    return tmp_path / 'a', tmp_path / 'b'


def test_different_images_pass(folders, run):
    code, out, _ = run(*folders)
    assert code == 0
    assert out == '0 pairs of 4 and 3 images differ in 50 or fewer of 256 bits\n'


def test_copies_are_found(folders, run):
    a, b = folders
    photograph(0).resize((48, 36)).save(b / 'scaled.png')
    photograph(1).convert('L').save(b / 'deep' / 'grey.jpg', quality=40)
    ImageOps.mirror(photograph(2)).save(b / 'mirrored.PNG')
    code, out, _ = run(a, b)
    assert code == 1
    lines = [line.split('\t') for line in out.splitlines()[:-1]]
    assert {tuple(line[1:]) for line in lines} == {
        (f'{a}/0.jpg', f'{b}/scaled.png'),
        (f'{a}/1.jpg', f'{b}/deep/grey.jpg'),
        (f'{a}/2.jpg', f'{b}/mirrored.PNG  mirrored'),
    }
    distances = [int(line[0]) for line in lines]
    assert distances == sorted(distances) and max(distances) < 50
    assert out.splitlines()[-1].startswith('3 pairs of 4 and 6 images differ in 50 or fewer')
    assert out.splitlines()[-1].endswith('look at them')


def test_distance(folders, run):
    a, b = folders
    (b / '0.jpg').write_bytes((a / '0.jpg').read_bytes())
    code, out, _ = run(a, b, '--distance', 0)
    assert code == 1
    assert out.splitlines()[0] == f'0\t{a}/0.jpg\t{b}/0.jpg'
    # By chance about half of the bits agree.
    assert int(run(a, b, '--distance', 127)[1].splitlines()[-1].split()[0]) > 1


@pytest.mark.parametrize('block', [1, 40, 10**6])
def test_pairs_are_those_of_scipy(block, monkeypatch):
    monkeypatch.setattr(leakage, 'BLOCK', block)
    rng = np.random.default_rng(0)
    a, b = rng.random((17, 64)) > 0.5, rng.random((23, 64)) > 0.5
    a[5] = b[7]
    distances = np.rint(cdist(a, b, 'hamming') * 64)
    for distance in (0, 20, 28):
        expected = {(i, j, distances[i, j]) for i, j in np.argwhere(distances <= distance)}
        pairs = list(leakage.near_pairs(a, b, distance))
        assert len(pairs) == len(expected) > 0
        assert set(pairs) == expected


def test_bad_input_is_one_sentence(folders, run, tmp_path):
    a, b = folders
    (tmp_path / 'empty').mkdir()
    for args, words in (
        ((a, tmp_path / 'none'), f'folder {tmp_path}/none does not exist'),
        ((a, tmp_path / 'empty'), f'no image in {tmp_path}/empty'),
        ((a, a / '..' / 'a'), f'folder {a} belongs to {a} and to {a}/../a, whose images'),
        ((a, b, '--distance', -1), '--distance must be in 0 to 127, not -1'),
        ((a, b, '--distance', 128), '--distance must be in 0 to 127, not 128'),
    ):
        code, _, err = run(*args)
        assert code == 2
        assert words in err.splitlines()[-1]
    (b / 'broken.jpg').write_bytes((a / '0.jpg').read_bytes()[:300])
    code, out, err = run(a, b)
    assert (code, out) == (2, '')
    assert err.splitlines()[-1] == (
        f'error: {b}/broken.jpg cannot be decoded: replace it or remove it from the set'
    )


def test_linked_folders_are_looked_at(folders, run, tmp_path):
    a, b = folders
    (tmp_path / 'far').mkdir()
    photograph(0).save(tmp_path / 'far' / 'copy.jpg')
    (b / 'link').symlink_to('../far')
    (b / 'deep' / 'back').symlink_to(b)
    (tmp_path / 'far' / 'loop').symlink_to('.')
    code, out, _ = run(a, b)
    assert code == 1
    assert out.splitlines()[0].split('\t')[1:] == [f'{a}/0.jpg', f'{b}/link/copy.jpg']
    assert out.splitlines()[-1].startswith('1 pairs of 4 and 4 images')


def test_other_image_formats_are_read_and_other_files_counted(folders, run):
    a, b = folders
    for name in ('tall.tif', 'deep/still.GIF'):
        photograph(0).save(b / name)
    for name in ('notes.txt', 'deep/more.json'):
        (b / name).write_text('x')
    code, out, _ = run(a, b)
    assert code == 1
    assert f'{b}: 2 files are no images and are skipped, such as {b}/deep/more.json\n' in out
    assert '2 pairs of 4 and 5 images' in out


def test_folders_that_share_one_are_refused(folders, run):
    a, b = folders
    (a / 'link').symlink_to(b / 'deep')
    for pair in ((b, b / 'deep'), (b / 'deep', b), (a, b)):
        code, out, err = run(*pair)
        assert (code, out) == (2, '')
        assert f'error: folder {b}/deep belongs to {pair[0]} and to {pair[1]}, whose' in err


def test_links_that_lead_nowhere_are_refused(folders, run):
    a, b = folders
    (b / 'gone').symlink_to('none')
    code, _, err = run(a, b)
    assert code == 2
    assert f'{b}/gone is a link that leads nowhere' in err


def test_no_failure_looks_like_a_pair(folders, run, bomb, monkeypatch):
    a, b = folders
    (b / 'bomb.png').write_bytes(bomb)
    code, _, err = run(a, b)
    assert code == 2
    assert err.splitlines()[-1].startswith(f'error: {b}/bomb.png cannot be decoded')
    (b / 'bomb.png').unlink()

    def fail(*args, **kwargs):
        raise MemoryError('no room')

    monkeypatch.setattr(np, 'argwhere', fail)
    code, _, err = run(a, b)
    assert code == 2
    assert err.splitlines()[-1] == 'error: could not look: MemoryError: no room'


def test_images_of_16_bits_are_compared_by_what_they_show(folders, run):
    """Pillow alone makes them white, so that all are alike."""
    a, b = folders
    for seed, folder in ((0, b), (7, b), (8, a)):
        deep = 16 * np.asarray(photograph(seed).convert('L')).astype(np.uint16) + 300
        Image.fromarray(deep).save(folder / f'deep{seed}.png')
    code, out, _ = run(a, b)
    assert code == 1
    assert [line.split('\t')[1:] for line in out.splitlines()[:-1]] == [
        [f'{a}/0.jpg', f'{b}/deep0.png']
    ]


def test_images_over_the_limit_are_named(folders, run, monkeypatch):
    a, b = folders
    # Pillow's own limit is no reason to call a file broken.
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert run(a, b)[0] == 0
    code, _, err = run(a, b, '--max-pixels', 6911)
    assert code == 2 and '0.jpg has 96x72 pixels, more than the 6911 that are read' in err


def test_turned_copies(folders, run):
    a, b = folders
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph(0).save(b / 'turned.jpg', exif=exif)
    assert run(a, b)[0] == 1
    assert run(a, b, '--exif')[0] == 0
