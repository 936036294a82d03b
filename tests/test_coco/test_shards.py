import fcntl
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mmboxcaseg.coco import shards
from mmboxcaseg.coco.annotations import tell_left_out
from mmboxcaseg.coco.groups import ImageGroups
from mmboxcaseg.coco.proxies import summarize_agreement
from mmboxcaseg.coco.shards import SHARD_IMAGES, ShardFolder
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import encode_rle

IMAGES = 2 * SHARD_IMAGES + 5
MANIFEST = dict(checkpoint='1', config='2')


@pytest.fixture
def content():
    """Boxes in no order of images; the last two images have none."""
    rng = np.random.default_rng(0)
    images = [dict(id=i, file_name=f'é{i}.png', width=9, height=9) for i in range(IMAGES)]
    annotations = [
        dict(id=i, image_id=int(rng.integers(IMAGES - 2)), category_id=1, bbox=[0, 0, 2, i % 3])
        for i in range(500)
    ]
    return dict(images=images, annotations=annotations, info='ü', categories=[dict(id=1, name='x')])


@pytest.fixture
def groups(as_coco, content):
    return ImageGroups(as_coco(content))


@pytest.fixture
def folder(tmp_path, groups):
    return ShardFolder(tmp_path / 'out.json', groups)


def finish(folder):
    """Write every shard, the last one first; returns the proxies and the raw results."""
    empty = encode_rle(np.zeros((9, 9), bool))
    proxies, raw = {}, {}
    for shard in reversed(range(len(folder))):
        annotations = [a for i in folder.images(shard) for a in folder.groups.annotations(i)]
        proxies[shard] = [
            a.content() | dict(segmentation=empty, box_agreement=a.id // 10 / 50, text='é\n')
            for a in annotations
        ]
        raw[shard] = [dict(ann_id=a.id, text='\n') for a in annotations if a.id % 2]
        folder.write(shard, proxies[shard], raw[shard])
    return [[entry for shard in sorted(part) for entry in part[shard]] for part in (proxies, raw)]


def write_one(folder, shard):
    """Write a shard without raw masks."""
    count = folder.groups.span(folder.images(shard).start, folder.images(shard).stop)
    folder.write(shard, [{}] * (count.stop - count.start), [])


def test_joined_file_is_the_one_written_from_memory(tmp_path, content, folder, as_coco):
    folder.open(MANIFEST)
    proxies, raw = finish(folder)
    folder.join_proxies(tmp_path / 'out.json')
    folder.join_raw(tmp_path / 'raw.json')
    # In the order of the file, which is that of the ids.
    expected = content | dict(annotations=sorted(proxies, key=lambda proxy: proxy['id']))
    assert (tmp_path / 'out.json').read_text() == json.dumps(expected)
    assert (tmp_path / 'raw.json').read_text() == json.dumps(raw)
    agreement = [p['box_agreement'] for p in proxies if p['bbox'][3] > 0]
    left_out = tell_left_out(as_coco(content).annotations)
    assert left_out.endswith('whose box has no area')
    assert folder.summarize() == summarize_agreement(agreement, agreement.count(0), left_out)
    assert agreement.count(0) > 1
    folder.remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out.json', 'raw.json']


def test_shards_cover_the_images(folder, groups):
    assert [i for shard in range(len(folder)) for i in folder.images(shard)] == list(range(IMAGES))
    assert len(folder.images(0)) == SHARD_IMAGES
    assert sum(map(folder.num_boxes, range(len(folder)))) == groups.num_boxes.sum()


def test_half_written_shard_is_none(folder):
    folder.open(MANIFEST)
    aside = folder.path / '000001.jsonl.0123456789abcdef.tmp'
    aside.write_text('{"id": 1')
    assert not folder.is_done(1)
    folder.open(MANIFEST)
    assert not aside.exists()
    write_one(folder, 1)
    assert [folder.is_done(shard) for shard in range(3)] == [False, True, False]


def test_no_raw_mask_is_an_empty_list(tmp_path, folder):
    folder.open(MANIFEST)
    for shard in range(len(folder)):
        write_one(folder, shard)
    folder.join_raw(tmp_path / 'raw.json')
    assert (tmp_path / 'raw.json').read_text() == '[]'


@pytest.mark.parametrize(
    ('manifest', 'names'),
    [
        (dict(MANIFEST, config='3'), 'another config:'),
        (dict(checkpoint='0', config='3'), 'another checkpoint and another config:'),
        (dict(MANIFEST, device='cpu'), 'another device:'),
    ],
)
def test_other_manifest_is_refused(folder, manifest, names):
    folder.open(MANIFEST)
    write_one(folder, 0)
    with pytest.raises(InputError, match=f'{names} .* delete the folder to start afresh'):
        folder.open(manifest)
    folder.open(MANIFEST)
    assert folder.is_done(0)


def damage(kind, path):
    content = path.read_bytes()
    path.unlink()
    if kind == 'a folder':
        path.mkdir()
    elif kind == 'a link':
        other = path.with_name('other')
        other.write_bytes(content)
        path.symlink_to(other)
    elif kind == 'a pipe':
        os.mkfifo(path)
    elif kind == 'of another number':
        shutil.copy(path.with_name('000002.jsonl'), path)
    elif kind == 'longer':
        path.write_bytes(content + b'{}\n')
    elif kind == 'a bit':
        path.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])


@pytest.mark.parametrize(
    'kind', ['a folder', 'a link', 'a pipe', 'of another number', 'longer', 'a bit']
)
def test_damaged_shard_is_named(folder, kind):
    folder.open(MANIFEST)
    finish(folder)
    damage(kind, folder.path / '000001.jsonl')
    sentence = '000001.jsonl is damaged: delete this file and call again'
    for use in (folder.open, folder.join_raw, folder.join_proxies):
        with pytest.raises(InputError, match=sentence):
            use(MANIFEST if use == folder.open else folder.path.with_name('joined.json'))
    with pytest.raises(InputError, match=sentence):
        folder.summarize()
    assert [path.name for path in folder.path.parent.iterdir()] == ['out.json.shards']


def test_shard_cut_at_any_byte_is_noticed(folder):
    folder.open(MANIFEST)
    write_one(folder, 2)
    folder.write(2, [{}] * len(folder.proxies(2)), [dict(ann_id=1), dict(ann_id=2)])
    folder.open(MANIFEST)
    path = folder.path / '000002.jsonl'
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match='000002.jsonl is damaged'):
            folder.open(MANIFEST)


def test_one_run_at_a_time(folder, held_elsewhere):
    folder.open(MANIFEST)
    folder._lock.close()
    with held_elsewhere(folder.path / '.lock'):
        with pytest.raises(
            InputError, match=r'another call is at work on .*out\.json\.shards: wait'
        ):
            folder.open(MANIFEST)
    folder.open(MANIFEST)


def test_those_that_share_keep_others_out(folder, held_elsewhere, monkeypatch):
    assert folder.open(MANIFEST, shared=True)
    folder._lock.close()
    with held_elsewhere(folder.path / '.lock', shared=True):
        with pytest.raises(InputError, match='another call is at work'):
            folder.open(MANIFEST)
        assert folder.open(MANIFEST, shared=True)
        # Nothing is finished, but somebody is at work with the other settings.
        with pytest.raises(InputError, match='another checkpoint'):
            folder.open(MANIFEST | dict(checkpoint='other'), shared=True)
    monkeypatch.setattr(shards, '_PATIENCE', 0.2)
    with held_elsewhere(folder.path / '.lock'):
        with pytest.raises(InputError, match='another call is at work'):
            folder.open(MANIFEST, shared=True)


@pytest.mark.parametrize('kind', [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_the_first_one_lets_in_those_that_share(folder, kind):
    assert folder.open(MANIFEST, shared=True)
    code = 'import fcntl, sys; fcntl.lockf(open(sys.argv[1], "a+b"), int(sys.argv[2]))'
    command = [sys.executable, '-S', '-c', code, folder.path / '.lock', str(kind | fcntl.LOCK_NB)]
    is_in = not subprocess.run(command, capture_output=True).returncode
    assert is_in == (kind == fcntl.LOCK_SH)


def test_who_looks_at_the_folder_alone_is_waited_for(folder, held_elsewhere, monkeypatch):
    folder.open(MANIFEST)
    folder._lock.close()
    with held_elsewhere(folder.path / '.lock') as holder:
        # What comes next in the waiting is that the other one ends.
        monkeypatch.setattr(shards.time, 'sleep', lambda _: (holder.stdin.close(), holder.wait()))
        assert folder.open(MANIFEST, shared=True)


def test_each_shard_is_taken_by_one(folder, held_elsewhere):
    folder.open(MANIFEST, shared=True)
    write_one(folder, 0)
    with held_elsewhere(folder.path / '000002.lock'):
        assert list(folder.take([0, 1, 2])) == [1]
    taking = folder.take([0, 1, 2])
    taken = {next(taking)}
    assert {*taken, *taking} == {1, 2}
    for shard in (1, 2):
        write_one(folder, shard)
    assert list(folder.take([0, 1, 2])) == []


def test_of_a_call_that_is_lost_meanwhile_others_do_the_shard(folder, held_elsewhere):
    folder.open(MANIFEST, shared=True)
    with held_elsewhere(folder.path / '000001.lock') as lost:
        taking = folder.take([0, 1, 2])
        taken = [next(taking), next(taking)]
        assert sorted(taken) == [0, 2]
        lost.stdin.close()
        lost.wait()
        assert list(taking) == [1]


def test_one_of_those_that_share_joins(tmp_path, folder, held_elsewhere):
    folder.open(MANIFEST, shared=True)
    assert not folder.may_join()
    finish(folder)
    with held_elsewhere(folder.path / '.join'):
        assert not folder.may_join()
    assert folder.may_join()
    folder.join_proxies(tmp_path / 'out.json')
    folder.finish()
    # Others saw all shards before this one removed them.
    assert not list(folder.path.glob('*.jsonl'))
    assert sorted(path.name for path in folder.path.glob('[!.]*')) == ['manifest.json']
    late = ShardFolder(tmp_path / 'out.json', folder.groups)
    late.is_done = lambda shard: True
    assert not late.may_join()


def test_what_is_finished_is_left(tmp_path, folder):
    folder.open(MANIFEST)
    finish(folder)
    folder.join_proxies(tmp_path / 'out.json')
    folder.finish()
    assert not folder.open(MANIFEST) and not folder.open(MANIFEST, shared=True)
    with pytest.raises(InputError, match='out.json was made with another checkpoint: delete'):
        folder.open(MANIFEST | dict(checkpoint='other'))
    (tmp_path / 'out.json').write_text('{}')
    assert folder.open(MANIFEST)
    assert json.loads((folder.path / 'manifest.json').read_text()) == MANIFEST
    assert not folder.is_done(0)


def test_asides_of_a_users_folder_stay(folder):
    folder.path.mkdir()
    for name in ('mine.tmp', '.lock'):
        (folder.path / name).touch()
    with pytest.raises(InputError, match='is in the way: it holds no shards'):
        folder.open(MANIFEST)
    assert sorted(path.name for path in folder.path.iterdir()) == ['.lock', 'mine.tmp']


def test_planted_links_are_not_followed(tmp_path, folder):
    victim = tmp_path / 'victim'
    victim.mkdir()
    folder.path.symlink_to(victim)
    with pytest.raises(InputError, match='is in the way: it is a link, remove it'):
        folder.open(MANIFEST)
    assert list(victim.iterdir()) == []
    folder.path.unlink()
    folder.path.mkdir()
    for name in ('.lock', 'manifest.json', '000000.jsonl'):
        (folder.path / name).symlink_to(victim / name)
        with pytest.raises(InputError):
            folder.open(MANIFEST)
        (folder.path / name).unlink()
        assert list(victim.iterdir()) == []


@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda path: (path.mkdir(), (path / 'mine').touch()), 'is in the way: it holds no shards'),
        *[
            (
                lambda path, text=text: (path.mkdir(), (path / 'manifest.json').write_text(text)),
                'manifest.json cannot be read: delete the folder',
            )
            for text in ('[]', '1', '"checkpoint"', '[' * 100_000)
        ],
        (
            lambda path: (path / 'manifest.json').mkdir(parents=True),
            'manifest.json cannot be read: delete the folder',
        ),
        (lambda path: path.touch(), 'cannot make folder .*out.json.shards: File exists'),
        (
            lambda path: (path.mkdir(), (path / 'manifest.json').write_text('{')),
            'manifest.json cannot be read: delete the folder',
        ),
    ],
)
def test_other_folder_is_refused(folder, edit, message):
    edit(folder.path)
    with pytest.raises(InputError) as error:
        folder.open(MANIFEST)
    assert re.search(message, str(error.value))


def test_what_is_not_ours_stays(folder):
    folder.open(MANIFEST)
    (folder.path / 'mine').touch()
    folder.remove()
    assert [path.name for path in folder.path.iterdir()] == ['mine']


def test_failed_join_leaves_nothing(tmp_path, folder):
    folder.open(MANIFEST)
    finish(folder)
    (tmp_path / 'out.json').mkdir()
    with pytest.raises(InputError, match='cannot write .*out.json'):
        folder.join_proxies(tmp_path / 'out.json')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out.json', 'out.json.shards']


def test_other_settings_where_nothing_is_finished(folder):
    """A run that failed before its first shard is in nobody's way."""
    folder.open(MANIFEST)
    folder.open(MANIFEST | dict(checkpoint='other'))
    write_one(folder, 0)
    with pytest.raises(InputError, match='with another checkpoint: go on'):
        folder.open(MANIFEST)
    folder.open(MANIFEST | dict(checkpoint='other'))
