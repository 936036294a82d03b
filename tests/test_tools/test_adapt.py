import json
import shlex
from pathlib import Path

import pytest
import torch

from mmboxcaseg import config_path
from mmboxcaseg.apis import init_model
from mmboxcaseg.apis.self_training import ADAPT_CONFIG
from mmboxcaseg.cli import main
from mmboxcaseg.engine.checkpoint import load_checkpoint_file
from mmboxcaseg.engine.config import build_model, load_config
from mmboxcaseg.engine.steps import Step
from mmboxcaseg.testing import shrink

TOOL = Path(__file__).parents[2] / 'tools' / 'adapt.py'
SET = 'train_dataloader.dataset.dataset'


@pytest.fixture(scope='module')
def shrunk(data_root, tmp_path_factory):
    """A folder with the config in miniature, with `first.py` and `first.pth`, a network for it."""
    folder = tmp_path_factory.mktemp('shipped')
    options = {
        'model.backbone.pretrained': False,
        'model.data_preprocessor.sizes': (),
        'train_dataloader.batch_size': 4,
        'train_dataloader.dataset.times': 1,
        'train_cfg.max_epochs': 1,
    }
    config = load_config(config_path(ADAPT_CONFIG), options)
    shrink(config, data_root, folder)
    config.update(work_dir=None, log_level='INFO', load_from='work_dirs/first/epoch_1.pth')
    # Of boxes that are not there: those of the command line take their place.
    config.train_dataloader.dataset.dataset.ann_file = 'nothing.json'
    config.dump(folder / 'adapt.py')
    torch.manual_seed(0)
    model = build_model(config)
    model.init_weights()
    for name, value in model.state_dict().items():
        if name.endswith('running_mean'):
            value.normal_(std=0.1)  # as of a trained network, and not all zeros
    torch.save(dict(state_dict=model.state_dict()), folder / 'first.pth')
    config.train_dataloader = None
    config.dump(folder / 'first.py')
    return folder


@pytest.fixture
def boxes(data_root, tmp_path):
    coco = json.loads((data_root / 'coco/annotations/instances.json').read_text())
    for annotation in coco['annotations']:
        del annotation['segmentation'], annotation['quality'], annotation['box_agreement']
    path = tmp_path / 'boxes.json'
    path.write_text(json.dumps(coco))
    return path


@pytest.fixture
def adapt(run, shrunk, boxes, data_root, monkeypatch, tmp_path):
    """Call the tool with the boxes, their images, the small config and a shipped network for it."""
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.chdir(tmp_path)
    shipped = str(shrunk / 'first.py'), shrunk / 'first.pth'
    monkeypatch.setattr('mmboxcaseg.apis.self_training.or_shipped', lambda *_: shipped)

    def adapt(*options, boxes=boxes, images=data_root / 'coco' / 'train', min_quality=0.0):
        words = [boxes, '--images', images, '--out', 'out', '--config', shrunk / 'adapt.py']
        return run(*words, *options, '--cfg-options', f'{SET}.min_quality={min_quality}')

    return adapt


def annotations(path):
    return json.loads(Path(path).read_text())['annotations']


def test_goes_on_from_the_shipped_network(adapt, shrunk):
    code, out, err = adapt('--seed', 3)
    assert code == 0, err
    assert out.endswith(
        'out: proxy.json has the masks, network.py and network.pth are the network\n'
    )
    log = min(Path('out/round1').glob('*/*.log')).read_text()
    assert f'Load checkpoint from {shrunk / "first.pth"}' in log
    assert 'of out/round0/proxy.json have a quality above 0.0 and supervise' in log

    # It is trained, but its norms have the statistics that they had.
    first = load_checkpoint_file(shrunk / 'first.pth')['state_dict']
    last = load_checkpoint_file('out/round1/epoch_1.pth')['state_dict']
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert {name.split('.')[0] for name in changed} == {'backbone', 'neck', 'salient_head'}
    assert not any('running' in name for name in changed)

    # The masks are the last round's, and both networks rate them.
    before, after, final = (
        annotations(Path('out', name))
        for name in ('round0/proxy.json', 'round1/proxy.json', 'proxy.json')
    )
    assert [a['segmentation'] for a in final] == [a['segmentation'] for a in after]
    expected = [(a['quality'] * b['quality']) ** 0.5 for a, b in zip(before, after, strict=True)]
    assert [a['quality'] for a in final] == pytest.approx(expected)
    assert [a['quality'] for a in before] != [a['quality'] for a in after]

    # What is written is a config and a checkpoint of it.
    network = init_model('out/network.py', 'out/network.pth').state_dict()
    assert all(torch.equal(last[name].half().to(v.dtype), v) for name, v in network.items())

    # What is done stays; what is lost is made again, and nothing else.
    Path('out/network.pth').unlink()
    code, out, err = adapt('--seed', 3)
    assert code == 0, err
    assert out.count('== ') == 1 and Path('out/network.pth').is_file()


def test_true_masks_are_kept_and_taught_by(adapt, boxes, monkeypatch):
    """Those of the network, whose weights are random, are not good enough; steps run in here."""
    monkeypatch.setattr(Step, 'run', lambda step: main(step.command[3:]))
    coco = json.loads(boxes.read_text())
    polygon = [[4.5, 5, 24, 5, 14, 21]]
    coco['annotations'][1]['segmentation'] = polygon
    boxes.write_text(json.dumps(coco))
    code, _, err = adapt('--keep-masks', min_quality=0.99)
    assert code == 0, err
    log = min(Path('out/round1').glob('*/*.log')).read_text()
    assert '1 of 12 proxy masks of out/round0/proxy.json have a quality above 0.99' in log
    for name in ('round0/proxy.json', 'round1/proxy.json', 'proxy.json'):
        quality = [a['quality'] for a in annotations(Path('out', name))]
        assert [value == 1 for value in quality] == [False, True] + 10 * [False]
        assert annotations(Path('out', name))[1]['segmentation'] == polygon


def test_rounds_follow_each_other(adapt, boxes, data_root, monkeypatch):
    """With the calls left out: what the configs name."""
    monkeypatch.setattr(Step, 'run', lambda step: None)
    code, _, err = adapt('--rounds', 2)
    assert code == 0, err
    first, second = (load_config(f'out/round{number}.py') for number in (1, 2))
    assert first.load_from.endswith('first.pth')
    assert second.load_from == 'out/round1/epoch_1.pth'
    for config, before in ((first, 'out/round0'), (second, 'out/round1')):
        own = config.train_dataloader.dataset.dataset
        assert own.proxy_file == f'{before}/proxy.json'
        assert own.ann_file == str(boxes) and not own.data_root
        assert own.data_prefix.img == str(data_root / 'coco' / 'train')
    assert load_config('out/network.py').load_from == second.load_from


def test_dry_run_names_every_step(adapt, shrunk):
    code, out, err = adapt('--dry-run', '--force-amp')
    assert code == 0, err
    calls = [shlex.split(line)[3:] for line in out.splitlines() if '-m mmboxcaseg' in line]
    names = ['generate', 'train', 'generate', 'combine-quality', 'publish-model']
    assert [words[0] for words in calls] == names
    assert calls[0][1:3] == ['out/round0.py', str(shrunk / 'first.pth')]
    assert all('--force-amp' in words for words in calls[:3])
    assert not Path('out').exists()


def test_the_shipped_network_draws_with_the_settings_of_the_rounds(adapt, monkeypatch):
    monkeypatch.setattr(Step, 'run', lambda step: None)
    code, _, err = adapt('--cfg-options', 'model.test_cfg.slack=0.1')
    assert code == 0, err
    for number in (0, 1):
        assert load_config(f'out/round{number}.py').model.test_cfg.slack == 0.1


def test_no_boxes(adapt, boxes):
    boxes.write_text(json.dumps(json.loads(boxes.read_text()) | dict(annotations=[])))
    code, _, err = adapt()
    assert (code, err.count('\n')) == (2, 1) and 'boxes.json holds no box to learn from' in err
    assert not Path('out').exists()


def test_no_images(adapt, tmp_path):
    code, _, err = adapt(images=tmp_path / 'pictures')
    assert (code, err.count('\n')) == (2, 1)
    assert f'image folder {tmp_path / "pictures"} does not exist: give the one' in err
    (tmp_path / 'pictures').mkdir()
    code, _, err = adapt(images=tmp_path / 'pictures')
    assert (code, err.count('\n')) == (2, 1) and '001.png' in err
    assert not Path('out').exists()


def test_no_mask_is_good_enough(adapt):
    """Those of a network with random weights are not."""
    code, _, err = adapt(min_quality=0.99)
    reason = 'out/round0/proxy.json has no mask of a quality above 0.99: lower min_quality'
    assert code == 2 and reason in err
    assert not Path('out/round1').exists()


def test_boxes_are_not_overwritten(adapt, boxes):
    Path('out').mkdir()
    own = boxes.rename('out/proxy.json')
    code, _, err = adapt(boxes=own)
    assert code == 2 and 'out/proxy.json is an input file' in err
    assert len(annotations(own)) == 12


def test_a_config_without_masks_is_refused(adapt, shrunk, tmp_path):
    config = load_config(shrunk / 'adapt.py')
    del config.train_dataloader.dataset.dataset['proxy_file']
    config.dump(tmp_path / 'own.py')
    code, _, err = adapt('--config', tmp_path / 'own.py')
    assert code == 2 and 'own.py is no later round: none of its training sets has a' in err


@pytest.mark.parametrize('rounds', [0, -1])
def test_number_of_rounds(adapt, rounds):
    code, _, err = adapt('--rounds', rounds)
    assert code == 2 and '--rounds must be a whole number of at least 1' in err
