"""Images that lie in a zip or a tar."""

import io
import json
import multiprocessing
import os
import struct
import tarfile
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmboxcaseg import archives
from mmboxcaseg.archives import check_folder, file_names, files_below, is_file, is_folder, state
from mmboxcaseg.coco import load_coco
from mmboxcaseg.coco.checks import check_images, image_paths
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import link_file, opening, read_bytes
from mmboxcaseg.images import ImageBackend, ImageReader, read_image

READER = ImageReader()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Two photographs, one in a folder of its own, and the file of their boxes."""
    folder = tmp_path_factory.mktemp('archives') / 'photos'
    (folder / 'sub').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ('a.bmp', 'sub/b.png'):
        cv2.imwrite(str(folder / name), rng.integers(0, 99, (90, 60, 3), np.uint8))
    images = [dict(id=i, file_name=n, width=60, height=90) for i, n in enumerate(NAMES)]
    boxes = [dict(id=i, image_id=i, category_id=1, bbox=[2, 3, 40, 50]) for i in range(2)]
    coco = dict(images=images, annotations=boxes, categories=[dict(id=1, name='cat')])
    (folder.parent / 'boxes.json').write_text(json.dumps(coco))
    return folder


NAMES = ('a.bmp', 'sub/b.png')


def pack(folder, path, method=zipfile.ZIP_DEFLATED, prefix=''):
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w', method) as archive:
            for name in NAMES:
                archive.write(folder / name, prefix + name)
    else:
        with tarfile.open(path, 'w') as archive:
            archive.add(folder, prefix or '.')
    return path


KINDS = [('x.zip', zipfile.ZIP_STORED), ('x.zip', zipfile.ZIP_DEFLATED), ('x.tar', None)]


@pytest.mark.parametrize(('name', 'method'), KINDS)
def test_an_archive_stands_where_a_folder_stands(folder, tmp_path, name, method):
    packed = pack(folder, tmp_path / name, method)
    assert sorted(files_below(packed)) == sorted(NAMES)
    assert file_names(packed) == {'a.bmp'}
    assert file_names(packed / 'sub') == {'b.png'}
    assert is_folder(packed) and is_folder(packed / 'sub')
    assert not is_folder(packed / 'none') and not is_folder(packed / 'a.bmp')
    assert is_file(packed / 'sub' / 'b.png') and not is_file(packed / 'sub')
    coco = load_coco(folder.parent / 'boxes.json')
    check_images(coco, packed, READER)
    for path in image_paths(coco.images, packed, 'boxes.json').values():
        plain = folder / Path(path).relative_to(packed)
        assert read_bytes(path) == read_bytes(plain)
        assert READER.header(path) == READER.header(plain)
        assert (read_image(path) == read_image(plain)).all()
        assert ImageBackend().get(path) == plain.read_bytes()


def test_a_folder_within_an_archive(folder, tmp_path):
    """As in COCO's own train2017.zip."""
    packed = pack(folder, tmp_path / 'x.zip', prefix='train/')
    coco = load_coco(folder.parent / 'boxes.json')
    assert len(image_paths(coco.images, packed / 'train', 'boxes.json')) == 2
    with pytest.raises(InputError, match=r'does not exist: train/a.bmp lies in .*x.zip'):
        image_paths(coco.images, packed, 'boxes.json')
    with pytest.raises(InputError, match=r'image folder .*x.zip/val does not exist'):
        image_paths(coco.images, packed / 'val', 'boxes.json')


@pytest.mark.parametrize(('name', 'method'), KINDS)
def test_parts_of_a_file_are_read_as_of_any_file(folder, tmp_path, name, method):
    packed = pack(folder, tmp_path / name, method)
    data = (folder / 'a.bmp').read_bytes()
    with opening(packed / 'a.bmp') as file:
        assert file.read(4) == data[:4]
        assert file.tell() == 4
        assert file.seek(-10, os.SEEK_END) == len(data) - 10
        assert file.read(99) == data[-10:] and file.read(5) == b''
        file.seek(0)
        file.seek(7, os.SEEK_CUR)
        assert io.BufferedReader(file).read(20) == data[7:27]


def same(path_and_data):
    path, data = path_and_data
    return all(read_bytes(path) == data for _ in range(50))


@pytest.mark.parametrize(('name', 'method'), KINDS)
def test_threads_and_forked_processes_read_at_once(folder, tmp_path, name, method):
    packed = pack(folder, tmp_path / name, method)
    wanted = [(packed / n, (folder / n).read_bytes()) for n in NAMES] * 2
    assert same(wanted[0])
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(same, wanted))
    with multiprocessing.get_context('fork').Pool(2) as pool:
        assert all(pool.map(same, wanted))


def test_an_archive_is_listed_once_and_again_when_it_is_another(folder, tmp_path, monkeypatch):
    listed = []

    class Counted(archives.Archive):
        def __init__(self, path):
            listed.append(path)
            super().__init__(path)

    monkeypatch.setattr(archives, 'Archive', Counted)
    packed = pack(folder, tmp_path / 'x.tar')
    for _ in range(5):
        read_bytes(packed / 'a.bmp')
    assert len(listed) == 1
    before = state(packed / 'a.bmp')
    os.utime(packed, (1, 1))
    assert state(packed / 'a.bmp') != before
    with pytest.raises(FileNotFoundError, match='gone.bmp'):
        state(packed / 'gone.bmp')
    packed.unlink()
    with zipfile.ZipFile(packed, 'w') as archive:  # by its content, whatever it is called
        archive.writestr('a.bmp', b'new')
    assert read_bytes(packed / 'a.bmp') == b'new'
    assert len(listed) == 3  # for each state


@pytest.mark.parametrize('mode', ['gz', 'bz2', 'xz'])
def test_a_tar_that_is_compressed_as_a_whole_is_refused(folder, tmp_path, mode):
    path = tmp_path / f'x.tar.{mode}'
    with tarfile.open(path, f'w:{mode}') as archive:
        archive.add(folder, '.')
    with pytest.raises(InputError, match='compressed as a whole .* pack it anew as .tar or .zip'):
        check_folder(path)


def test_links_in_a_folder_that_lead_nowhere(folder, tmp_path):
    here = tmp_path / 'here'
    here.mkdir()
    (here / 'link.jpg').symlink_to(next(path for path in folder.rglob('*') if path.is_file()))
    (here / 'folder').symlink_to(folder)
    (here / 'loop.jpg').symlink_to('loop.jpg')
    (here / 'nowhere.jpg').symlink_to('none')
    assert file_names(here) == {'link.jpg'}


def test_what_is_no_archive(tmp_path):
    path = tmp_path / 'boxes.json'
    path.write_text('{}')
    assert not is_folder(path)
    with pytest.raises(InputError, match='neither a folder of images nor a zip or a tar of them'):
        check_folder(path)
    with pytest.raises(InputError, match='image folder .*none.zip does not exist'):
        check_folder(tmp_path / 'none.zip')
    with pytest.raises(InputError, match='cannot read .*none.zip/a.jpg: No such file'):
        read_bytes(tmp_path / 'none.zip' / 'a.jpg')


def test_names_that_climb_links_and_devices(folder, tmp_path):
    """What is no file of its own under a plain name is not read, and leads nowhere."""
    (tmp_path / 'secret.bmp').write_bytes((folder / 'a.bmp').read_bytes())
    with tarfile.open(tmp_path / 'x.tar', 'w') as archive:
        for name, type_, target in (
            ('soft.bmp', tarfile.SYMTYPE, '../secret.bmp'),
            ('hard.bmp', tarfile.LNKTYPE, 'secret.bmp'),
            ('zero.bmp', tarfile.CHRTYPE, ''),
            ('pipe.bmp', tarfile.FIFOTYPE, ''),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = type_, target
            archive.addfile(info)
        for name in ('../secret.bmp', '/etc/a.bmp', './sub/../b.bmp'):
            archive.addfile(tarfile.TarInfo(name))
    for name in ('soft.bmp', 'hard.bmp', 'zero.bmp', 'pipe.bmp'):
        with pytest.raises(InputError, match='cannot read .*: it is a link or a device'):
            read_bytes(tmp_path / 'x.tar' / name)
    names = {'soft.bmp', 'hard.bmp', 'zero.bmp', 'pipe.bmp', 'b.bmp'}
    assert set(files_below(tmp_path / 'x.tar')) == names
    image = dict(id=1, file_name='../secret.bmp', width=60, height=90)
    coco = dict(images=[image], annotations=[], categories=[])
    (tmp_path / 'boxes.json').write_text(json.dumps(coco))
    with pytest.raises(InputError, match='leads out of'):
        image_paths(load_coco(tmp_path / 'boxes.json').images, tmp_path / 'x.tar', 'boxes.json')


def test_bombs(tmp_path, monkeypatch):
    path = tmp_path / 'x.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.bmp', bytes(10_000_000))
    assert path.stat().st_size < 20_000
    # What is said is the limit, whatever comes out.
    data = path.read_bytes()
    size = (10_000_000).to_bytes(4, 'little')
    assert data.count(size) == 2
    path.write_bytes(data.replace(size, (1000).to_bytes(4, 'little')))
    with pytest.raises(InputError, match='broken in its archive'):
        read_bytes(path / 'a.bmp')
    path.write_bytes(data)
    monkeypatch.setattr(archives, '_MOST_UNPACKED', 9_999_999)
    os.utime(path, (1, 1))
    with pytest.raises(InputError, match='it would become 10000000 bytes: unpack the archive'):
        read_bytes(path / 'a.bmp')


@pytest.mark.parametrize(('method', 'text'), [(zipfile.ZIP_BZIP2, 'neither stored nor deflated')])
def test_methods_that_are_not_read(folder, tmp_path, method, text):
    with pytest.raises(InputError, match=text):
        read_bytes(pack(folder, tmp_path / 'x.zip', method) / 'a.bmp')


@pytest.mark.parametrize(('size', 'start'), [(2**40, 0), (2**64 - 1, 0), (9, 2**64 - 1)])
def test_files_that_end_behind_the_end_of_their_zip(tmp_path, size, start):
    """Sizes and places of ZIP64; what is asked for so large is memory."""
    path = tmp_path / 'x.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a.bmp', b'123456789')
    data = bytearray(path.read_bytes())
    entry, end = data.find(b'PK\x01\x02'), data.find(b'PK\x05\x06')
    large = struct.pack('<HHQQQ', 1, 24, size, size, start)
    struct.pack_into('<I', data, end + 12, end - entry + len(large))
    struct.pack_into('<IIHH', data, entry + 20, 2**32 - 1, 2**32 - 1, 5, len(large))
    struct.pack_into('<I', data, entry + 42, 2**32 - 1)
    data[entry + 51 : entry + 51] = large
    path.write_bytes(data)
    assert file_names(path) == {'a.bmp'}
    with pytest.raises(InputError, match='a.bmp: it ends behind the end of its archive'):
        read_bytes(path / 'a.bmp')


def test_a_name_of_many_folders_takes_no_memory_of_its_square(tmp_path):
    path = tmp_path / 'x.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a/' * 10_000 + 'b.bmp', b'')
    tracemalloc.start()
    assert is_folder(path / 'a' / 'a') and not is_folder(path / 'a' / 'b')
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10e6  # the folders above it are 100 MB


def test_encrypted(folder, tmp_path):
    path = pack(folder, tmp_path / 'x.zip')
    data = bytearray(path.read_bytes())
    place = data.index(b'PK\1\2')
    data[place + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match='it is encrypted'):
        read_bytes(path / 'a.bmp')


@pytest.mark.parametrize(('name', 'method'), KINDS)
def test_archives_that_are_cut_off_or_changed(folder, tmp_path, name, method):
    """Every file is read as it was, or refused in one sentence."""
    whole = pack(folder, tmp_path / name, method).read_bytes()
    wanted = {n: (folder / n).read_bytes() for n in NAMES}
    path = tmp_path / f'broken{name[1:]}'
    refused = 0
    for length in (*range(0, len(whole), len(whole) // 40), len(whole) - 1):
        path.unlink(missing_ok=True)
        path.write_bytes(whole[:length])
        for n, data in wanted.items():
            try:
                check_folder(path)
                assert read_bytes(path / n) == data
            except InputError as error:
                refused += 1
                assert str(path) in str(error)
    assert refused > 40
    rng = np.random.default_rng(0)
    for place in rng.integers(len(whole), size=60):
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.integers(8)
        path.unlink()
        path.write_bytes(changed)
        for n, data in wanted.items():
            try:
                check_folder(path)
                read = read_bytes(path / n)
                # What is stored has no more to tell a flipped bit than a file in a folder.
                assert read == data or (len(read) == len(data) and method != zipfile.ZIP_DEFLATED)
            except InputError as error:
                assert str(path) in str(error)


def test_images_of_archives_are_copied_where_those_of_folders_are_linked(folder, tmp_path):
    packed = pack(folder, tmp_path / 'x.zip')
    for _ in range(2):
        link_file(packed / 'a.bmp', tmp_path / 'a.bmp')
        assert (tmp_path / 'a.bmp').read_bytes() == (folder / 'a.bmp').read_bytes()
    (tmp_path / 'a.bmp').write_bytes(b'other')
    with pytest.raises(InputError, match='is there and differs'):
        link_file(packed / 'a.bmp', tmp_path / 'a.bmp')
