import codecs
import gzip
import json
import os
import re
import signal
import stat
import subprocess
import sys

import pytest

from mmboxcaseg import fileio
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import (
    check_inside,
    check_output,
    read_bytes,
    read_text,
    remove_asides,
    remove_asides_of,
    replacing,
    replacing_folder,
    write_bytes,
    write_json,
)

CONTENT = dict(a=[1, 2.5, 'é'])


def test_check_output(tmp_path):
    check_output(tmp_path / 'new' / 'folder' / 'out.json')
    assert (tmp_path / 'new' / 'folder').is_dir()
    with pytest.raises(InputError, match='it is a folder'):
        check_output(tmp_path)
    file = tmp_path / 'file'
    file.touch()
    with pytest.raises(InputError, match=re.escape(f'cannot make folder {file}')):
        check_output(file / 'out.json')


def test_check_output_leaves_what_is_there(tmp_path):
    path = tmp_path / 'out.json'
    check_output(path)
    assert list(tmp_path.iterdir()) == []
    path.write_text('old')
    check_output(path)
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_check_output_refuses_inputs_and_other_suffixes(tmp_path):
    path, link = tmp_path / 'in.json', tmp_path / 'link.json'
    path.touch()
    link.symlink_to(path)
    for out in (path, link, tmp_path / '..' / tmp_path.name / 'in.json'):
        with pytest.raises(InputError, match='is an input file'):
            check_output(out, inputs=['other.json', str(path)])
    with pytest.raises(InputError, match=r'model\.pth: its name must end in \.json'):
        check_output(tmp_path / 'model.pth')
    with pytest.raises(InputError, match=r'must end in \.jpg or \.png'):
        check_output(path, suffixes=('.jpg', '.png'))
    check_output(tmp_path / 'A.PNG', suffixes=('.jpg', '.png'))


def test_check_output_tries_to_write():
    # os.access calls it writable to root.
    with pytest.raises(InputError, match=r'cannot write /proc/out\.json: '):
        check_output('/proc/out.json')


def test_write_json_refuses_in_one_sentence_and_leaves_nothing(tmp_path):
    folder = tmp_path / 'folder.json'
    (folder / 'full').mkdir(parents=True)
    for path in (folder, tmp_path / 'none' / 'out.json', tmp_path / ('x' * 300)):
        with pytest.raises(InputError, match=f'cannot write {path}: '):
            write_json(CONTENT, path)
    assert list(tmp_path.iterdir()) == [folder]


def test_write_json_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / 'out.json'
    write_json(CONTENT, path)
    assert json.loads(path.read_text()) == CONTENT
    with pytest.raises(TypeError):
        write_json(dict(a=object()), path)
    assert json.loads(path.read_text()) == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ['out.json']


def test_file_is_there_when_it_is_whole_and_on_the_disk(tmp_path, monkeypatch):
    path = tmp_path / 'out.json'
    synced = []
    sync = os.fsync
    monkeypatch.setattr(os, 'fsync', lambda fd: (synced.append(os.fstat(fd).st_size), sync(fd)))
    with replacing(path) as file:
        file.write(b'half')
        assert not path.exists()
        file.write(b' and half')
    assert path.read_bytes() == b'half and half'
    assert synced == [len(b'half and half')]
    assert list(tmp_path.iterdir()) == [path]


def test_file_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / 'plain').touch()
    write_bytes(b'', tmp_path / 'out')
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ('plain', 'out')]
    assert modes[0] == modes[1]


def test_aside_is_nobody_elses(tmp_path, monkeypatch):
    """A link in the place of the file aside is not followed, and what is there stays."""
    monkeypatch.setattr('mmboxcaseg.fileio.secrets.token_hex', lambda count: 'known')
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    link = tmp_path / 'out.known.tmp'
    for target in (victim, tmp_path / 'nowhere'):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with pytest.raises(InputError, match='cannot write .*out: File exists'):
            write_bytes(b'theirs', tmp_path / 'out')
        assert victim.read_text() == 'mine' and not (tmp_path / 'nowhere').exists()


def test_names_aside_differ(tmp_path):
    names = set()
    for _ in range(3):
        with replacing(tmp_path / 'out'):
            (aside,) = set(tmp_path.glob('*.tmp'))
            names.add(aside.name)
    assert len(names) == 3


def test_asides_of_killed_runs_are_removed_and_nothing_else(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / 'a[1].json'):
        (aside,) = tmp_path.iterdir()
        raise KeyboardInterrupt
    others = ['a[1].json', 'a[1].json.mine.tmp', aside.name.replace('a[1]', 'a1'), 'x.tmp']
    for name in (aside.name, *others):
        (tmp_path / name).touch()
    remove_asides(tmp_path / 'a[1].json')
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_what_a_run_at_work_writes_stays(tmp_path, held_elsewhere):
    aside = tmp_path / 'out.json.0123456789abcdef.tmp'
    aside.touch()
    with held_elsewhere(aside):
        check_output(tmp_path / 'out.json')
        remove_asides_of(tmp_path, '.json')
        assert aside.exists()
    remove_asides_of(tmp_path, '.pth')
    assert aside.exists()
    check_output(tmp_path / 'out.json')
    assert not aside.exists()


def test_asides_that_are_links_or_pipes_are_not_opened(tmp_path):
    link, pipe = (tmp_path / f'out.json.{digit * 16}.tmp' for digit in '01')
    link.symlink_to(tmp_path / 'victim')
    os.mkfifo(pipe)
    check_output(tmp_path / 'out.json')
    assert not (tmp_path / 'victim').exists()


@pytest.mark.parametrize('name', ['../out.png', '{root}/out.png', 'in/../../out.png'])
def test_names_that_lead_out_of_a_folder(tmp_path, monkeypatch, name):
    (tmp_path / 'img' / 'in').mkdir(parents=True)
    name = name.format(root=tmp_path)
    for follow in ('0', '1'):
        monkeypatch.setenv('MMBOXCASEG_FOLLOW_LINKS', follow)
        with pytest.raises(InputError, match=r'^image 1 leads out of .*img: correct its name, or'):
            check_inside(tmp_path / 'img', name, 'image 1')
    check_inside('/', name.replace('..', 'x'), 'image 1')


@pytest.mark.parametrize('name', ['a.png', 'in/a.png', 'in/../a.png', '{root}/img/a.png', 'x\0y'])
def test_names_that_stay_in_a_folder(tmp_path, name):
    (tmp_path / 'img' / 'in').mkdir(parents=True)
    (tmp_path / 'link').symlink_to('img')
    for folder in ('img', 'link'):  # the user's own choice
        check_inside(tmp_path / folder, name.format(root=tmp_path), 'image 1')


def test_links_that_lead_out_of_a_folder(tmp_path, monkeypatch):
    for folder in ('img', 'other'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'a.png').touch()
    (tmp_path / 'img' / 'file.png').symlink_to('../other/a.png')
    (tmp_path / 'img' / 'folder').symlink_to(tmp_path / 'other')
    (tmp_path / 'img' / 'own.png').symlink_to('a.png')
    check_inside(tmp_path / 'img', 'own.png', 'image 1')
    for name in ('file.png', 'folder/a.png'):
        with pytest.raises(InputError, match='img to .*a.png: set MMBOXCASEG_FOLLOW_LINKS=1 .*DVC'):
            check_inside(tmp_path / 'img', name, 'image 1')
        with monkeypatch.context() as patch:
            patch.setenv('MMBOXCASEG_FOLLOW_LINKS', '1')
            check_inside(tmp_path / 'img', name, 'image 1')


def test_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / 'out'
    with replacing_folder(folder) as part:
        (part / 'new').touch()
        assert not folder.exists()
    assert [path.name for path in folder.iterdir()] == ['new']
    with pytest.raises(ZeroDivisionError), replacing_folder(folder) as part:
        (part / 'newer').touch()
        raise ZeroDivisionError
    assert [path.name for path in folder.iterdir()] == ['new']
    with replacing_folder(folder) as part:
        (part / 'newer').touch()
    assert [path.name for path in folder.iterdir()] == ['newer']
    assert list(tmp_path.iterdir()) == [folder]
    assert stat.S_IMODE(folder.stat().st_mode) != 0o700


def test_what_killed_runs_left_of_a_folder_goes(tmp_path, held_elsewhere):
    code = (
        'import os, sys; from mmboxcaseg.fileio import replacing_folder\n'
        'with replacing_folder(sys.argv[1]) as part:\n'
        '    (part / "half").touch(); os.kill(os.getpid(), 9)'
    )
    folder = tmp_path / 'out'
    ended = subprocess.run([sys.executable, '-c', code, folder])
    assert ended.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert (left / 'part' / 'half').exists() and left.name.startswith('out.')
    # Others' folders, whatever they are called, and one of a run that is at work.
    for name in ('out.mine', f'out.{"0" * 16}.tmp', f'other.{"0" * 16}.tmp'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'mine').touch()
    (tmp_path / f'out.{"2" * 16}.tmp').symlink_to('out.mine')
    (tmp_path / f'out.{"3" * 16}.tmp').mkdir()  # was killed before anything was in it
    at_work = tmp_path / f'out.{"1" * 16}.tmp'
    (at_work / 'part').mkdir(parents=True)
    kept = {path.name for path in tmp_path.iterdir()} - {left.name, f'out.{"3" * 16}.tmp'}
    with held_elsewhere(at_work / '.lock'), replacing_folder(folder) as part:
        (part / 'new').touch()
    assert {path.name for path in tmp_path.iterdir()} == kept | {'out'}
    assert [path.name for path in folder.iterdir()] == ['new']
    assert (tmp_path / 'out.mine' / 'mine').exists()


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
def test_text_is_utf8(tmp_path, encoding):
    path = tmp_path / 'a.txt'
    path.write_bytes('Zoé 猫\n'.encode(encoding))
    assert read_text(path) == 'Zoé 猫\n'


@pytest.mark.parametrize(
    ('data', 'message'),
    [
        (
            'Zoé,café'.encode('latin-1'),
            'not UTF-8 text but probably Latin-1 or another old encoding: save',
        ),
        ('图像,类别'.encode('gbk'), 'not UTF-8 text but probably GBK: save'),
        ('cat'.encode('utf-16'), 'not UTF-8 text but UTF-16: save'),
        ('cat'.encode('utf-16-le'), 'not UTF-8 text but UTF-16: save'),
        ('cat'.encode('utf-16-be'), 'not UTF-8 text but UTF-16: save'),
        ('{"a": 1}'.encode('utf-16-le'), 'not UTF-8 text but UTF-16: save'),
        ('{"a": 1}'.encode('utf-16-be'), 'not UTF-8 text but UTF-16: save'),
        *(('cat'.encode(f'utf-32{end}'), 'but UTF-32: save') for end in ('', '-le', '-be')),
        (codecs.BOM_UTF32_BE + 'cat'.encode('utf-32-be'), 'but UTF-32: save'),
        (b'\0\0\1\0\xff', 'is no text file'),
        ('кот'.encode('cp1251'), 'but probably Latin-1 or another old encoding: save'),
        (b'\x28\xb5\x2f\xfdcat', r'is compressed \(zstd\): unpack it first'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'Git LFS pointer: get it with git lfs'),
        (gzip.compress(b'cat', mtime=0), r'is compressed \(gzip\): unpack it first'),
        (b'PK\x03\x04', r'is compressed \(ZIP\): unpack'),
        (b'\x89PNG\r\n\x1a\n', 'is no text file'),
    ],
)
def test_other_text_is_named(tmp_path, data, message):
    path = tmp_path / 'a.txt'
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_text(path)


def test_what_windows_lacks(tmp_path, monkeypatch):
    """It stands for it: no module of locks, and fewer ways to open a file."""
    monkeypatch.setattr(fileio, 'fcntl', None)
    for name in ('O_NOFOLLOW', 'O_NONBLOCK'):
        monkeypatch.delattr(fileio.os, name)
    path = tmp_path / 'x.json'
    check_output(path)
    write_json([1], path)
    assert read_bytes(path) == b'[1]'
    with fileio.lock(tmp_path / '.lock', tmp_path), fileio.lock(tmp_path / '.lock', tmp_path):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == ['.lock', 'x.json']
