"""The tool from its command line, and whether what it writes is the same network."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from mmboxcaseg.engine.checkpoint import check_kind, load_checkpoint_file, load_model_weights
from mmboxcaseg.errors import InputError

TOOL = Path(__file__).parents[3] / 'tools' / 'model_converters' / 'publish_model.py'


@pytest.fixture
def model():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def trained(model, tmp_path):
    """A checkpoint of mmengine's form, of a process of several."""
    torch.save(
        dict(
            meta=dict(
                cfg="model = dict(type='Sequential', backbone=dict(type='Other'))\nseed = 5\n",
                dataset_meta=dict(classes=('cat',)),
                time='today',
            ),
            state_dict={f'module.{name}': value for name, value in model.state_dict().items()},
            optimizer=dict(state={}, param_groups=[]),
            message_hub={},
        ),
        tmp_path / 'epoch_1.pth',
    )
    return tmp_path / 'epoch_1.pth'


def test_weights_alone_in_half_precision(run, model, trained, tmp_path):
    out = tmp_path / 'new' / 'out.pth'
    code, said, err = run(trained, out)
    assert code == 0, err
    sha256, size = hashlib.sha256(out.read_bytes()).hexdigest(), out.stat().st_size
    assert said == f'{out}: {size / 1e6:.1f} MB, SHA-256 {sha256}\n'
    checkpoint = load_checkpoint_file(out)
    assert checkpoint.keys() == {'meta', 'state_dict'}
    assert checkpoint['meta'].keys() == {'cfg', 'dataset_meta'}
    assert checkpoint['meta']['dataset_meta'] == dict(classes=('cat',))
    weights = model.state_dict()
    assert checkpoint['state_dict'].keys() == weights.keys()
    for name, value in checkpoint['state_dict'].items():
        half = weights[name].half() if weights[name].is_floating_point() else weights[name]
        assert value.dtype == half.dtype and torch.equal(value, half)
    assert [path.name for path in out.parent.iterdir()] == ['out.pth']


def test_loads_as_single_precision_and_only_into_its_kind(run, model, trained, tmp_path):
    run(trained, tmp_path / 'out.pth')
    half = model[0].weight.detach().half()
    with pytest.raises(InputError, match='its backbone is Other, not NoneType'):
        load_model_weights(model, tmp_path / 'out.pth')
    checkpoint = load_checkpoint_file(tmp_path / 'out.pth')
    check_kind(model, checkpoint, 'out.pth', parts=('model',))
    model.load_state_dict(checkpoint['state_dict'])
    assert model[0].weight.dtype == torch.float32
    assert torch.equal(model[0].weight, half.float())


def test_same_weights_same_bytes(run, trained, tmp_path):
    for name in ('a.pth', 'b.pth'):
        run(trained, tmp_path / name)
    assert (tmp_path / 'a.pth').read_bytes() == (tmp_path / 'b.pth').read_bytes()


def test_bare_weights_say_nothing_of_their_kind(run, model, tmp_path):
    torch.save(model.state_dict(), tmp_path / 'bare.pth')
    assert run(tmp_path / 'bare.pth', tmp_path / 'out.pth')[0] == 0
    assert load_checkpoint_file(tmp_path / 'out.pth')['meta'] == {}


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (float('nan'), r'epoch_1\.pth holds NaN or infinity in 1 of its weights \(such as a\)'),
        (7e4, r'epoch_1\.pth has 1 weights \(such as a\) that are too large for half precision'),
    ],
)
def test_weights_that_cannot_be_handed_on(run, tmp_path, value, message):
    torch.save(dict(a=torch.tensor([1, value])), tmp_path / 'epoch_1.pth')
    code, out, err = run(tmp_path / 'epoch_1.pth', tmp_path / 'out.pth')
    assert (code, out, err.count('\n')) == (2, '', 1)
    assert re.search(message, err)
    assert [path.name for path in tmp_path.iterdir()] == ['epoch_1.pth']


def test_the_checkpoint_itself_is_not_overwritten(run, trained):
    before = trained.read_bytes()
    code, _, err = run(trained, trained)
    assert code == 2 and 'is an input file' in err
    assert trained.read_bytes() == before
