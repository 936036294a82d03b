import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from mmboxcaseg import cli, config_path
from mmboxcaseg.engine import steps
from mmboxcaseg.engine.checkpoint import load_checkpoint_file
from mmboxcaseg.engine.config import load_config
from mmboxcaseg.engine.distributed import end_with_parent
from mmboxcaseg.engine.steps import Step
from mmboxcaseg.testing import shrink

TOOL = Path(__file__).parents[2] / 'tools' / 'self_train.py'


@pytest.fixture(scope='module')
def shrunk(data_root, tmp_path_factory):
    """A folder with configs of a first and of a next round, in miniature."""
    folder = tmp_path_factory.mktemp('configs')
    network = {
        'model.backbone': dict(_delete_=True, type='ResNet', depth=18, norm_eval=False),
        'model.neck.in_channels': [64, 128, 256, 512],
        'model.neck.out_channels': 4,
        'model.salient_head.in_channels': 16,
        'train_dataloader.batch_size': 4,
        'train_cfg.max_epochs': 1,
    }
    boxes = 'train_dataloader.dataset.datasets.BoxInstanceDataset'
    later = {'train_dataloader.sampler.batch_size': 4, f'{boxes}.min_quality': 0.0}
    for name, source, options in (
        ('first.py', '12e_coco-mini.py', network),
        ('next.py', '3e_coco-mini-proxies.py', {**network, **later}),
    ):
        path = config_path(f'prompted/prompted-boxcaseg_effnet-lite0_1xb16-{source}')
        config = load_config(path, options)
        shrink(config, data_root, folder)
        config.load_from = 'work_dirs/first/epoch_1.pth' if name == 'next.py' else None
        config.work_dir = None
        config.log_level = 'INFO'
        config.dump(folder / name)
    return folder


@pytest.fixture
def configs(shrunk, tmp_path):
    return [Path(shutil.copy(shrunk / name, tmp_path)) for name in ('first.py', 'next.py')]


@pytest.fixture
def self_train(run, monkeypatch, tmp_path):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.chdir(tmp_path)
    return run


# As the commands that they are the steps take a minute for their imports.
@pytest.mark.parametrize('as_commands', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_rounds_teach_each_other(self_train, configs, monkeypatch, as_commands):
    if not as_commands:
        monkeypatch.setattr(steps, '_run', run_forked)
    code, out, err = self_train(*configs, '--seed', 3, '--work-dir', 'out')
    assert code == 0, err
    proxies = json.loads(Path('out/round1/proxy.json').read_text())['annotations']
    assert all(0 <= proxy['quality'] <= 1 for proxy in proxies)
    assert "proxy_file='out/round1/proxy.json'" in Path('out/round2.py').read_text()
    # The network of the first round is trained on.
    assert "load_from = 'out/round1/epoch_1.pth'" in Path('out/round2.py').read_text()
    log = min(Path('out/round2').glob('*/*.log'))
    assert 'Load checkpoint from out/round1/epoch_1.pth' in log.read_text()
    assert 'seed=3' in Path('out/round2.py').read_text()
    assert 'fused/mIoU' in json.loads(Path('out/round2/metrics.json').read_text())
    first = load_checkpoint_file('out/round1/epoch_1.pth')['state_dict']
    second = load_checkpoint_file('out/round2/epoch_1.pth')['state_dict']
    assert first['backbone.conv1.weight'].shape[1] == 5
    assert not torch.equal(first['backbone.conv1.weight'], second['backbone.conv1.weight'])

    first, second, final = (
        [a['quality'] for a in json.loads(Path('out', name).read_text())['annotations']]
        for name in ('round1/proxy.json', 'round2/proxy.json', 'proxy.json')
    )
    expected = [(a * b) ** 0.5 for a, b in zip(first, second, strict=True)]
    assert final == pytest.approx(expected)

    # What is done stays; what is lost is made again, and nothing else.
    before = Path('out/round2/epoch_1.pth').stat().st_mtime_ns
    Path('out/round2/metrics.json').unlink()
    code, out, err = self_train(*configs, '--seed', 3, '--work-dir', 'out')
    assert code == 0, err
    assert out.count('== ') == 1
    assert Path('out/round2/metrics.json').is_file()
    assert Path('out/round2/epoch_1.pth').stat().st_mtime_ns == before


def run_forked(command):
    """Run a step of the rounds in a process that has imported all: 60 s become 6."""
    if process := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    end_with_parent()
    try:
        cli.main(command[3:])
    except SystemExit as error:
        os._exit(error.code or 0)
    os._exit(0)


def self_train_forked(configs, work_dir):
    steps._run = run_forked
    cli.main(['self-train', *map(str, configs), '--work-dir', str(work_dir)])


@pytest.mark.slow
def test_rounds_survive_kills(configs, tmp_path, seconds_of, survives_kills):
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    for path in configs:
        load_config(path, {'train_cfg.max_epochs': 2}).dump(path)
    seconds = seconds_of(self_train_forked, (configs, whole))

    def check():
        for name in ('proxy.json', 'round1/proxy.json', 'round2/proxy.json'):
            assert (killed / name).read_bytes() == (whole / name).read_bytes()
        metrics = [json.loads((d / 'round2/metrics.json').read_text()) for d in (killed, whole)]
        assert metrics[0] == metrics[1]
        weights, others = (
            load_checkpoint_file(d / 'round2/epoch_2.pth')['state_dict'] for d in (killed, whole)
        )
        assert all(torch.equal(weights[name], others[name]) for name in others)
        assert not list(killed.glob('*/*.shards'))

    args = (configs, killed)
    # Of its own: the configs of two rounds. Those of its steps are in other processes.
    survives_kills(self_train_forked, args, seconds, 2, check, lambda: shutil.rmtree(killed))


@pytest.mark.slow
def test_true_masks_of_the_boxes_change_nothing(self_train, configs, data_root):
    source = data_root / 'coco' / 'annotations' / 'instances.json'
    coco = json.loads(source.read_text())
    for annotation in coco['annotations']:
        del annotation['segmentation']
    Path('boxes.json').write_text(json.dumps(coco))
    weights = []
    for ann_file in (source, Path('boxes.json').resolve()):
        boxes = 'train_dataloader.dataset.datasets.BoxInstanceDataset.ann_file'
        load_config(configs[1], {boxes: str(ann_file)}).dump(configs[1])
        code, _, err = self_train(*configs, '--work-dir', ann_file.stem)
        assert code == 0, err
        checkpoint = load_checkpoint_file(f'{ann_file.stem}/round2/epoch_1.pth')
        weights.append(checkpoint['state_dict'])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_dry_run_names_every_step(self_train, configs):
    code, out, _ = self_train(*configs, '--rounds', 3, '--force-amp', '--dry-run')
    assert code == 0
    calls = [shlex.split(line) for line in out.splitlines() if '-m mmboxcaseg' in line]
    rounds = ['train', 'generate'] * 2
    last = ['train', 'test', 'generate', 'combine-quality']
    assert [words[3] for words in calls] == [*rounds, *last]
    *networks, combine = calls
    assert all('--force-amp' in words for words in networks)
    folder = 'work_dirs/self_train'
    files = [f'{folder}/round{number}/proxy.json' for number in (1, 2, 3)]
    assert combine[4:] == [*files, '--out', f'{folder}/proxy.json']
    assert not Path('work_dirs').exists()
    # A config may be named once for each round, too.
    assert self_train(*configs, configs[1], '--force-amp', '--dry-run')[1] == out


@pytest.mark.parametrize(
    ('rounds', 'reason'),
    [(0, '--rounds must be a whole number of at least 1'), (1, '--rounds 1: there are 2 configs')],
)
def test_number_of_rounds(self_train, configs, rounds, reason):
    code, _, err = self_train(*configs, '--rounds', rounds, '--dry-run')
    assert code == 2 and reason in err


def test_each_round_goes_on_from_the_one_before(self_train, configs, monkeypatch):
    """With the calls left out: what the configs of three rounds name."""
    monkeypatch.setattr(Step, 'run', lambda step: None)
    code, _, err = self_train(*configs, '--rounds', 3, '--work-dir', 'out')
    assert code == 0, err
    first, second, third = (load_config(f'out/round{number}.py') for number in (1, 2, 3))
    assert first.load_from is None
    for config, before in ((second, 'out/round1'), (third, 'out/round2')):
        assert config.load_from == f'{before}/epoch_1.pth'
        boxes = config.train_dataloader.dataset.datasets[0]
        assert boxes.proxy_file == f'{before}/proxy.json'


def test_boxes_without_true_masks(self_train, configs, data_root, tmp_path):
    """With no val, neither val nor test data are looked at, and nothing is scored."""
    for path in configs:
        text = path.read_text()
        assert text.count('with_segmentation=True') >= 2
        path.write_text(text.replace('with_segmentation=True', "ann_file_of='nothing'"))
    code, out, err = self_train(
        *configs, '--dry-run', '--cfg-options', 'val_dataloader=None', 'train_cfg.max_epochs=2'
    )
    assert code == 0, err
    calls = [shlex.split(line)[3] for line in out.splitlines() if '-m mmboxcaseg' in line]
    assert calls == ['train', 'generate', 'train', 'generate', 'combine-quality']
    assert 'round1/epoch_2.pth' in out


def test_wrong_order_is_refused(self_train, configs):
    code, _, err = self_train(configs[0], configs[0])
    assert code == 2
    assert 'first.py is no later round: none of its training sets has a proxy_file' in err
    assert not Path('work_dirs').exists()


def test_without_a_first_round_the_shipped_network_draws_its_masks(
    self_train, configs, tmp_path, monkeypatch
):
    weights = tmp_path / 'shipped.pth'
    weights.write_text('weights')
    shipped = str(configs[0]), weights
    monkeypatch.setattr('mmboxcaseg.apis.self_training.or_shipped', lambda *_: shipped)
    monkeypatch.setattr(Step, 'run', lambda step: None)
    code, out, err = self_train(configs[1], '--work-dir', 'out')
    assert code == 0, err
    done = re.findall('== out/(.*)', out)
    assert done == [
        'round0: proxy masks',
        *(f'round1: {x}' for x in ('train', 'test', 'proxy masks')),
    ]
    config = load_config('out/round1.py')
    assert config.load_from == str(weights)
    boxes = config.train_dataloader.dataset.datasets[0]
    assert boxes.proxy_file == 'out/round0/proxy.json'
    # Another network than the shipped one cannot be trained on.
    with configs[1].open('a') as file:
        file.write('model = dict(backbone=dict(depth=34))\n')
    code, _, err = self_train(configs[1], '--work-dir', 'other')
    assert code == 2 and 'next.py trains the network of' in err and 'has another model' in err


def test_another_network_is_not_trained_on(self_train, configs):
    with configs[1].open('a') as file:
        file.write('model = dict(backbone=dict(depth=34))\n')
    code, _, err = self_train(*configs)
    assert code == 2
    assert re.search('next.py trains the network of .*first.py on, but has another model', err)


def test_config_without_views_is_refused(self_train, configs):
    configs[0].write_text(configs[0].read_text() + '\ntta_pipeline = None\n')
    code, _, err = self_train(*configs)
    assert code == 2
    assert 'first.py has no tta_pipeline' in err


def test_views_that_show_less_than_the_slack_are_refused(self_train, configs):
    code, _, err = self_train(*configs, '--cfg-options', 'model.test_cfg.slack=0.1')
    assert code == 2
    assert 'a slack of 0.1, but a BoxPatch of' in err and 'has a margin of 0.08' in err
    assert not Path('work_dirs').exists()


def test_another_config_in_its_place_is_refused(self_train, configs):
    Path('out').mkdir()
    Path('out/round2.py').write_text('model = None\n')
    code, _, err = self_train(*configs, '--work-dir', 'out')
    assert code == 2
    assert 'out/round2 holds a training with another config' in err
    assert not Path('out/round1').exists()
