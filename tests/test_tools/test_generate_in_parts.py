"""Runs of tools/generate_proxy_masks.py over several shards: shared, interrupted, mixed."""

import hashlib
import json
import multiprocessing
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import mmboxcaseg
from mmboxcaseg import cli
from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.apis.proxy_generation import ProxyGenerator
from mmboxcaseg.coco.shards import SHARD_IMAGES, ShardFolder
from mmboxcaseg.testing import TINY_CONFIG

TOOLS = Path(__file__).parents[2] / 'tools'
SHARDS = 4
#: The manifest, the shards, the raw masks, the result.
REPLACES = 1 + SHARDS + 2


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A folder with config, checkpoint, boxes and images of four shards, the last one small."""
    root = tmp_path_factory.mktemp('parts')
    (root / 'tiny.py').write_text(TINY_CONFIG)
    torch.manual_seed(0)
    torch.save(dict(state_dict=init_model(root / 'tiny.py').state_dict()), root / 'tiny.pth')
    rng = np.random.default_rng(0)
    images = []
    (root / 'img').mkdir()
    for id_ in range((SHARDS - 1) * SHARD_IMAGES + 5):
        image = cv2.GaussianBlur(rng.integers(0, 255, (20, 24, 3), np.uint8), (5, 5), 0)
        cv2.imwrite(str(root / 'img' / f'{id_}.png'), image)
        images.append(dict(id=id_, file_name=f'{id_}.png', width=24, height=20))
    annotations = [
        dict(
            id=id_,
            image_id=int(rng.integers(len(images))),
            category_id=1,
            bbox=[*rng.uniform(0, 10, 2), *rng.uniform(3, 12, 2)],
        )
        for id_ in range(2 * len(images))
    ]
    coco = dict(images=images, annotations=annotations, categories=[dict(id=1, name='cat')])
    (root / 'boxes.json').write_text(json.dumps(coco))
    return root


def arguments(root, folder, *more):
    return [
        *(root / 'tiny.py', root / 'tiny.pth', '--ann', root / 'boxes.json'),
        *('--images', root / 'img', '--out', folder / 'proxy.json'),
        *('--raw-out', folder / 'raw.json', '--device', 'cpu', '--batch-size', 16, *more),
    ]


def run(args):
    sys.argv = ['generate_proxy_masks.py', *map(str, args)]
    try:
        runpy.run_path(str(TOOLS / 'generate_proxy_masks.py'), run_name='__main__')
    except SystemExit as error:
        return error.code
    return 0


@pytest.fixture(autouse=True)
def _argv(monkeypatch):
    monkeypatch.setattr(sys, 'argv', sys.argv)


@pytest.fixture(scope='module')
def expected(root, tmp_path_factory):
    """What one process without workers writes."""
    folder = tmp_path_factory.mktemp('expected')
    argv = sys.argv
    assert run(arguments(root, folder, '--workers', 0)) == 0
    sys.argv = argv
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(folder):
    return {path.name: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_result_is_complete(expected):
    assert sorted(expected) == ['proxy.json', 'raw.json']
    annotations = json.loads(expected['proxy.json'])['annotations']
    assert len(annotations) == 2 * ((SHARDS - 1) * SHARD_IMAGES + 5)
    assert [a['id'] for a in annotations] == list(range(len(annotations)))
    assert len({a['segmentation']['counts'] for a in annotations}) > len(annotations) / 4


@pytest.mark.parametrize('workers', [1, 2])
def test_workers_change_nothing(root, expected, tmp_path, workers):
    assert run(arguments(root, tmp_path, '--workers', workers)) == 0
    assert written(tmp_path) == expected


@pytest.mark.parametrize(
    ('processes', 'workers', 'threads'),
    [
        (2, 2, 1),
        pytest.param(3, 0, 2, marks=pytest.mark.slow),
        pytest.param(1, 0, 3, marks=pytest.mark.slow),
        pytest.param(1, 2, 1, marks=pytest.mark.slow),
        pytest.param(2, 0, 2, marks=pytest.mark.slow),
        pytest.param(3, 2, 1, marks=pytest.mark.slow),
    ],
)
def test_processes_and_threads_change_nothing(
    root, expected, tmp_path, free_port, processes, workers, threads
):
    config, checkpoint, *more = map(str, arguments(root, tmp_path, '--workers', workers))
    environment = dict(
        os.environ,
        PYTHON=sys.executable,
        PORT=free_port,
        OMP_NUM_THREADS=str(threads),
    )
    script = TOOLS / 'dist_generate_proxy_masks.sh'
    done = subprocess.run(
        ['bash', script, config, checkpoint, str(processes), *more],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert written(tmp_path) == expected
    report = re.search('time in the network: (.*)', done.stdout)[1]
    assert report.count('%') == processes
    assert done.stdout.count('proxy.json: ') == 1


@pytest.mark.slow  # three processes that import torch
def test_error_of_several_processes_is_one_sentence(root, tmp_path, free_port):
    config, checkpoint, *more = map(str, arguments(root, tmp_path, '--batch-size', 0))
    done = subprocess.run(
        ['bash', TOOLS / 'dist_generate_proxy_masks.sh', config, checkpoint, '2', *more],
        env=dict(os.environ, PYTHON=sys.executable, PORT=free_port),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count('error: ') == 1
    assert 'Traceback' not in done.stderr


def run_and_be_killed(args, replaces, before):
    """Run the tool; end by SIGKILL when it renames for the nth time, before or after that."""
    torch.set_num_threads(1)
    replace = os.replace
    left = replaces

    def kill_at_last(*paths):
        nonlocal left
        left -= 1
        if left == 0:
            if not before:
                replace(*paths)
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)

    os.replace = kill_at_last
    os._exit(run(args))


def interrupt(root, folder, replaces, before=True, workers=2):
    """Start a run that is killed."""
    args = arguments(root, folder, '--workers', workers)
    process = multiprocessing.get_context('fork').Process(
        target=run_and_be_killed, args=(args, replaces, before)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ('replaces', 'before'),
    [
        *[(1, True), (1, False), (3, True), (3, False), (1 + SHARDS, False)],
        *[(REPLACES - 1, False), (REPLACES, True), (REPLACES, False)],
    ],
)
def test_killed_run_goes_on(root, expected, tmp_path, monkeypatch, replaces, before):
    interrupt(root, tmp_path, replaces, before)
    assert (tmp_path / 'proxy.json').exists() == (replaces == REPLACES and not before)
    finished = min(max(replaces - 1 - before, 0), SHARDS)
    assert len(list(tmp_path.glob('*/*.jsonl'))) == finished

    started = []
    generate = ProxyGenerator.run

    def spy(self, folder, shards):
        started.extend(shards)
        return generate(self, folder, shards)

    monkeypatch.setattr(ProxyGenerator, 'run', spy)
    assert run(arguments(root, tmp_path, '--workers', 0)) == 0
    assert started == list(range(finished, SHARDS))
    assert written(tmp_path) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(expected)


def run_and_be_killed_predicting(args, batches):
    """Run the tool; end by SIGKILL when the network is to predict its nth batch."""
    torch.set_num_threads(1)
    left = batches

    def die_at_last(self, packed):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return predict_packed(self, packed)

    predict_packed = BoxCasegPredictor.predict_packed
    BoxCasegPredictor.predict_packed = die_at_last
    os._exit(run(args))


@pytest.mark.parametrize('workers', [0, 2])
def test_run_that_is_killed_again_and_again_ends_with_the_same_bytes(
    root, expected, tmp_path, workers
):
    args = arguments(root, tmp_path, '--workers', workers)
    # Some die in their first shard and leave nothing, some have finished another one.
    for batches in (1, 30, 2, 90, 7):
        process = multiprocessing.get_context('fork').Process(
            target=run_and_be_killed_predicting, args=(args, batches)
        )
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (tmp_path / 'proxy.json').exists()
    assert list(tmp_path.glob('*/*.jsonl'))
    assert run(arguments(root, tmp_path, '--workers', 0)) == 0
    assert written(tmp_path) == expected


def be_one_of_several(args, environment, replaces):
    """As one of the processes that torchrun starts; with ``replaces``, be killed as above."""
    os.environ.update(environment)
    if replaces:
        run_and_be_killed(args, replaces, before=True)
    torch.set_num_threads(1)
    os._exit(run(args))


def run_together(root, folder, port, processes, replaces=0):
    """Run so many processes; if the first of them dies, end the others as torchrun does."""
    args = arguments(root, folder, '--workers', 1, '--launcher', 'pytorch')
    environment = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE=str(processes))
    context = multiprocessing.get_context('fork')
    started = []
    for rank in range(processes):
        own = dict(environment, RANK=str(rank), LOCAL_RANK=str(rank))
        own_args = (args, own, 0 if rank else replaces)
        started.append(context.Process(target=be_one_of_several, args=own_args))
        started[-1].start()
    if replaces:
        started[0].join(60)
        for process in started:
            process.kill()
    for process in started:
        process.join(60)
    return [process.exitcode for process in started]


def test_machines_that_are_lost_and_added_change_nothing(root, expected, tmp_path, free_port):
    """Three, of which one is lost; two, of which one is lost too; and three again."""
    # The first of three does two of the four shards: it dies before the second of them is there,
    # and then, as one of two, before the first of those that are left.
    for processes, replaces in ((3, 3), (2, 1)):
        codes = run_together(root, tmp_path, free_port, processes, replaces)
        assert codes[0] == -signal.SIGKILL
        assert not (tmp_path / 'proxy.json').exists()
    finished = len(list(tmp_path.glob('*/*.jsonl')))
    assert 0 < finished < SHARDS
    assert run_together(root, tmp_path, free_port, 3) == [0, 0, 0]
    assert written(tmp_path) == expected


def ip(*words):
    subprocess.run(['ip', *words], check=True, capture_output=True)


@pytest.fixture
def hosts():
    """Two network namespaces with a cable between them; their names and addresses."""
    if os.geteuid() or not shutil.which('ip'):
        pytest.skip('needs root and ip')
    names = [f'mmboxcaseg-{os.getpid()}-{side}' for side in 'ab']
    try:
        try:
            for name in names:
                ip('netns', 'add', name)
        except subprocess.CalledProcessError:
            pytest.skip('needs root and ip')
        ends = 'type', 'veth', 'peer', 'name', 'cable', 'netns'
        ip('link', 'add', 'cable', 'netns', names[0], *ends, names[1])
        for number, name in enumerate(names, 1):
            ip('-n', name, 'addr', 'add', f'10.231.7.{number}/24', 'dev', 'cable')
            for device in ('cable', 'lo'):
                ip('-n', name, 'link', 'set', device, 'up')
        yield names
    finally:
        for name in names:
            subprocess.run(['ip', 'netns', 'delete', name], capture_output=True)


def start_host(root, folder, name, rank):
    """Start torchrun on one of two machines, in a working directory of its own."""
    own = folder / name
    own.mkdir(exist_ok=True)
    environment = dict(
        os.environ,
        **dict(NNODES='2', NODE_RANK=str(rank), MASTER_ADDR='10.231.7.1', PORT='29517'),
        **dict(PYTHON=sys.executable, OMP_NUM_THREADS='1', GLOO_SOCKET_IFNAME='cable'),
    )
    config, checkpoint, *more = map(str, arguments(root, folder, '--workers', 1))
    script = TOOLS / 'dist_generate_proxy_masks.sh'
    return subprocess.Popen(
        ['ip', 'netns', 'exec', name, 'bash', script, config, checkpoint, '1', *more],
        env=environment,
        cwd=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_two_hosts_of_which_one_is_lost(root, expected, tmp_path, hosts):
    first = [start_host(root, tmp_path, name, rank) for rank, name in enumerate(hosts)]
    while not list(tmp_path.glob('*/*.jsonl')):
        assert first[1].poll() is None
        time.sleep(0.001)
    # The second machine is lost: what runs on it, and its cable.
    ip('-n', hosts[1], 'link', 'set', 'cable', 'down')
    first[1].kill()
    first[0].terminate()  # as a person would, who sees that it waits
    assert [process.wait(120) != 0 for process in first] == [True, True]
    ip('-n', hosts[1], 'link', 'set', 'cable', 'up')
    assert not (tmp_path / 'proxy.json').exists()
    second = [start_host(root, tmp_path, name, rank) for rank, name in enumerate(hosts)]
    said = [process.communicate(timeout=300)[0] for process in second]
    assert [process.returncode for process in second] == [0, 0], said
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert files == expected


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The shards that were made, by whichever process."""
    write = ShardFolder.write

    def note(self, shard, *content):
        write(self, shard, *content)
        with open(tmp_path / 'made', 'a') as file:
            file.write(f'{shard}\n')

    monkeypatch.setattr(ShardFolder, 'write', note)
    return lambda: sorted(map(int, (tmp_path / 'made').read_text().split()))


def share(root, folder, replaces=0):
    """Start a call that shares the work; with ``replaces``, it is killed as above."""
    args = arguments(root, folder, '--workers', 1, '--shared')
    target, *more = (run_and_be_killed, replaces, True) if replaces else (be_one_of_several, {}, 0)
    process = multiprocessing.get_context('fork').Process(target=target, args=(args, *more))
    process.start()
    return process


def test_calls_that_share_may_be_lost_or_come_late(root, expected, tmp_path, made, capsys):
    out = tmp_path / 'out'
    # It dies with a shard of its own; so does the next one, beside others.
    lost = share(root, out, replaces=2)
    lost.join()
    assert lost.exitcode == -signal.SIGKILL and list(out.glob('*/*.lock'))
    calls = [share(root, out, replaces=1), share(root, out)]
    while not list(out.glob('*/*.jsonl')):
        time.sleep(0.001)
    calls.append(share(root, out))
    for process in calls:
        process.join()
    assert [process.exitcode for process in calls] == [-signal.SIGKILL, 0, 0]
    # Had the lost one gone last, a further call would have done its part.
    assert run(arguments(root, out, '--workers', 0, '--shared')) == 0
    assert made() == list(range(SHARDS))  # each once
    files = written(out)
    manifest = json.loads(files.pop('manifest.json'))
    assert manifest['result'] == hashlib.sha256(files['proxy.json']).hexdigest()
    assert {name: data for name, data in files.items() if name[0] != '.'} == expected

    capsys.readouterr()
    assert run(arguments(root, out, '--workers', 0, '--shared')) == 0
    assert 'finished before; to make it anew, delete' in capsys.readouterr().out
    assert run(arguments(root, out, '--workers', 0, '--shared', '--batch-size', 8)) == 2
    assert 'was made with another batch size' in capsys.readouterr().err
    assert made() == list(range(SHARDS))


def test_shared_takes_no_launcher(root, tmp_path, capsys):
    assert run(arguments(root, tmp_path, '--shared', '--launcher', 'pytorch')) == 2
    assert '--shared is for calls without a launcher' in capsys.readouterr().err


@pytest.fixture(scope='module')
def several(root, tmp_path_factory):
    """The boxes in three files of a folder, and what is made of each alone."""
    coco = json.loads((root / 'boxes.json').read_text())
    given, alone = root / 'several', tmp_path_factory.mktemp('alone')
    given.mkdir()
    expected = {}
    for number in range(3):
        own = [image for image in coco['images'] if image['id'] % 3 == number]
        ids = {image['id'] for image in own}
        annotations = [a for a in coco['annotations'] if a['image_id'] in ids]
        file = given / f'{number}.json'
        file.write_text(json.dumps(coco | dict(images=own, annotations=annotations)))
        argv = sys.argv
        options = '--ann', file, '--raw-out', alone / f'raw{number}.json', '--workers', 0
        assert run([*arguments(root, alone), *options, '--out', alone / file.name]) == 0
        sys.argv = argv
        expected[f'out/{number}.json'] = (alone / file.name).read_bytes()
        expected[f'raw/{number}.json'] = (alone / f'raw{number}.json').read_bytes()
    return given, expected


def of_several(root, folder, given, *more):
    out = '--out', folder / 'out', '--raw-out', folder / 'raw', '--ann', *given
    return [*arguments(root, folder, '--workers', 0), *out, *more]


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.glob('*/*.json')
        if path.is_file()
    }


def test_several_files_are_masked_as_each_alone(root, several, tmp_path, capsys):
    given, expected = several
    assert run(of_several(root, tmp_path, [given])) == 0
    assert files_of(tmp_path) == expected
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(f'{tmp_path}/out/') for line in lines) == 3
    # Written out they are the same files, and nothing is left to do.
    assert run(of_several(root, tmp_path, sorted(given.iterdir()))) == 0
    assert capsys.readouterr().out.count('finished before') == 3
    (tmp_path / 'raw' / '1.json').unlink()
    assert run(of_several(root, tmp_path, [given])) == 2
    assert '1.json was finished without' in capsys.readouterr().err


def test_several_files_that_are_killed_go_on(root, several, tmp_path, made):
    given, expected = several
    # A manifest, two shards, two results and the manifest again of each file: in the second one.
    process = multiprocessing.get_context('fork').Process(
        target=run_and_be_killed, args=(of_several(root, tmp_path, [given]), 6 + 3, True)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert (tmp_path / 'out' / '0.json').is_file() and not (tmp_path / 'out' / '1.json').exists()
    assert run(of_several(root, tmp_path, [given], '--shared')) == 0
    assert files_of(tmp_path) == expected
    assert made() == sorted([0, 1] * 3)


def test_what_is_wrong_with_several_files_is_told_first(root, several, tmp_path, capsys):
    given, _ = several
    bad = tmp_path / '9.json'
    bad.write_text('{}')
    for files, options, message in (
        ([given, bad], (), '9.json is not a COCO file'),
        ([given, given / '1.json'], (), '2 annotation files are named 1.json'),
        ([given], ('--out', tmp_path / 'x.json'), 'x.json is no folder'),
        ([given], ('--raw-out', tmp_path / 'out'), '--out and --raw-out are both'),
        ([given], ('--out', given), 'is an input file'),
        ([tmp_path / 'raw'], (), 'raw holds no .json file'),
    ):
        (tmp_path / 'raw').mkdir(exist_ok=True)
        assert run(of_several(root, tmp_path, files, *options)) == 2
        assert message in capsys.readouterr().err
        assert not list(tmp_path.glob('*/*.json'))


def generate(args):
    torch.set_num_threads(1)
    cli.main(['generate', *map(str, args)])


@pytest.mark.slow
def test_generation_survives_kills(root, expected, tmp_path, seconds_of, survives_kills):
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    seconds = seconds_of(generate, (arguments(root, whole, '--workers', 2),))

    def check():
        assert written(killed) == expected

    args = (arguments(root, killed, '--workers', 2),)
    survives_kills(generate, args, seconds, REPLACES, check, lambda: shutil.rmtree(killed))


@pytest.mark.slow
@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_generation_that_is_asked_to_end(root, expected, tmp_path, processes, number, code):
    args = arguments(root, tmp_path, '--workers', 2)
    process = processes(generate, (args,))
    while not list(tmp_path.glob('*/*.jsonl')):
        assert process.is_alive()
        time.sleep(0.001)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == code
    assert not list(tmp_path.rglob('*.tmp')) and not (tmp_path / 'proxy.json').exists()
    assert run(arguments(root, tmp_path, '--workers', 0)) == 0
    assert written(tmp_path) == expected


def change_boxes(root):
    coco = json.loads((root / 'boxes.json').read_text())
    coco['annotations'][0]['bbox'][0] += 1
    (root / 'boxes.json').write_text(json.dumps(coco))


def change_checkpoint(root):
    weights = torch.load(root / 'tiny.pth')
    next(iter(weights['state_dict'].values())).mul_(1.5)
    torch.save(weights, root / 'tiny.pth')


@pytest.fixture(scope='module')
def interrupted(root, tmp_path_factory):
    """A copy of the root and, in it, a run that was killed at its third shard."""
    folder = tmp_path_factory.mktemp('interrupted') / 'root'
    shutil.copytree(root, folder)
    interrupt(folder, folder, 4)
    return folder


@pytest.mark.parametrize(
    ('edit', 'options', 'name'),
    [
        (change_boxes, (), 'annotation file'),
        (change_checkpoint, (), 'checkpoint'),
        (lambda root: os.utime(root / 'img' / '3.png'), (), 'state of the images'),
        (None, ('--cfg-options', 'model.alpha=0.4'), 'config'),
        (None, ('--batch-size', 8), 'batch size'),
        (None, (), 'version of mmboxcaseg'),
    ],
)
def test_mix_is_refused(interrupted, tmp_path, monkeypatch, capsys, edit, options, name):
    folder = tmp_path / 'root'
    shutil.copytree(interrupted, folder)
    if edit:
        edit(folder)
    if 'version' in name:
        monkeypatch.setattr(mmboxcaseg, '__version__', '99')
    before = written(folder)
    assert len(list(folder.glob('*/*.jsonl'))) == 2
    assert run(arguments(folder, folder, *options)) == 2
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert f'interrupted run with another {name}: ' in sentence
    assert 'delete the folder to start afresh' in sentence
    after = written(folder)
    # What the killed run had left half-written is gone, nothing else.
    assert after == {key: value for key, value in before.items() if '.tmp' not in key}

    shutil.rmtree(folder / 'proxy.json.shards')
    assert run(arguments(folder, folder, *options, '--workers', 0)) == 0
    assert (folder / 'proxy.json').exists()


def test_unchanged_copy_goes_on(interrupted, expected, tmp_path):
    folder = tmp_path / 'root'
    shutil.copytree(interrupted, folder)
    assert run(arguments(folder, folder, '--workers', 1)) == 0
    assert (folder / 'proxy.json').read_bytes() == expected['proxy.json']
