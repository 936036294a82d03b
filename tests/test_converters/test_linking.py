import os

import pytest

from mmboxcaseg.converters.linking import check_apart, link_files
from mmboxcaseg.errors import InputError


@pytest.fixture
def sources(tmp_path):
    paths = [tmp_path / 'in' / name for name in ('a.jpg', 'b.jpg')]
    paths[0].parent.mkdir()
    for path in paths:
        path.write_text(path.name)
    return paths


def test_links_take_no_room_and_a_second_call_changes_nothing(sources, tmp_path):
    out = tmp_path / 'new' / 'out'
    assert link_files(sources, out) == 0
    assert link_files(sources, out) == 0
    for source in sources:
        assert (out / source.name).samefile(source)
        assert source.stat().st_nlink == 2
    assert len(list(out.iterdir())) == 2


def test_copies_where_there_are_no_links(sources, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(18, 'Invalid cross-device link')

    monkeypatch.setattr(os, 'link', refuse)
    out = tmp_path / 'out'
    assert link_files(sources, out) == 2
    before = [(out / source.name).stat() for source in sources]
    assert link_files(sources, out) == 0
    assert [(out / source.name).stat() for source in sources] == before
    for source in sources:
        assert (out / source.name).read_bytes() == source.read_bytes()
        assert source.stat().st_nlink == 1
    assert len(list(out.iterdir())) == 2


def test_a_copy_that_fails_leaves_nothing(sources, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    for name in ('link', 'replace'):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(InputError, match='cannot write .*/out/a.jpg: No space left on device'):
        link_files(sources, tmp_path / 'out')
    assert not list((tmp_path / 'out').iterdir())


def test_symbolic_links_lead_to_the_file(sources, tmp_path):
    link = tmp_path / 'linked' / 'a.jpg'
    link.parent.mkdir()
    link.symlink_to('../in/a.jpg')
    link_files([link], tmp_path / 'deep' / 'out')
    assert not (tmp_path / 'deep' / 'out' / 'a.jpg').is_symlink()
    assert (tmp_path / 'deep' / 'out' / 'a.jpg').samefile(sources[0])


@pytest.mark.parametrize('content', ['other', 'longer than it was'])
def test_another_file_is_not_overwritten(sources, tmp_path, content):
    target = tmp_path / 'out' / 'b.jpg'
    target.parent.mkdir()
    target.write_text(content)
    with pytest.raises(InputError, match=f'{target} is there and differs from {sources[1]}'):
        link_files(sources, target.parent)
    assert target.read_text() == content


def test_what_cannot_be_written_is_named(sources, tmp_path):
    for out in (sources[0], sources[0] / 'out'):
        with pytest.raises(InputError, match=f'cannot make folder {out}: '):
            link_files(sources, out)
    broken = tmp_path / 'out' / 'a.jpg'
    broken.parent.mkdir()
    broken.symlink_to('nowhere')
    with pytest.raises(InputError, match=f'cannot write {broken}: '):
        link_files(sources, broken.parent)


def test_size_and_time_do_not_make_files_the_same(sources, tmp_path):
    target = tmp_path / 'out' / 'a.jpg'
    target.parent.mkdir()
    target.write_text('b.jpg')
    for path in (sources[0], target):
        os.utime(path, (1, 1))
    with pytest.raises(InputError, match=f'{target} is there and differs from {sources[0]}'):
        link_files(sources, target.parent)


def test_output_is_apart_from_inputs(tmp_path):
    voc, sbd = tmp_path / 'voc', tmp_path / 'sbd'
    (voc / 'images').mkdir(parents=True)
    (tmp_path / 'link').symlink_to(voc)
    for out in (voc, voc / 'images', voc / 'new' / 'deep', tmp_path / 'link' / 'images'):
        with pytest.raises(InputError, match=f'{out} is or lies in {voc}, which holds the data'):
            check_apart(out, (sbd, voc))
    for out in (tmp_path, tmp_path / 'voc2', tmp_path / 'out'):
        check_apart(out, (sbd, voc))
