import os
import pickle
import shutil
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn

from mmboxcaseg.engine.checkpoint import (
    allow_checkpoint_types,
    check_fits,
    check_kind,
    check_resumable,
    check_shares_weights,
    load_checkpoint_file,
    load_model_weights,
)
from mmboxcaseg.errors import InputError


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.line = nn.Linear(2, 1)

    def forward(self, x, y, mode='loss'):
        error = (self.line(self.norm(x)) - y).pow(2).mean()
        return dict(loss=error) if mode == 'loss' else list(x)


class Points(torch.utils.data.Dataset):
    metainfo = dict(classes=('point',), palette=[(1, 2, 3)])

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.tensor([index, 1.0]), torch.tensor([2.0 * index])


def make_runner(work_dir, **config):
    loader = dict(
        batch_size=2,
        dataset=Points(),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    return Runner(
        Line(),
        str(work_dir),
        train_dataloader=loader,
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1), clip_grad=dict(max_norm=1.0)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, end=3, by_epoch=False),
            dict(type='OneCycleLR', eta_max=0.1, total_steps=8, by_epoch=False),
            dict(type='PolyLR', power=0.9, end=4, by_epoch=True, convert_to_iter_based=True),
        ],
        train_cfg=dict(by_epoch=True, max_epochs=2),
        custom_hooks=[EMAHook()],
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        experiment_name=work_dir.name,
        log_level='ERROR',
        **config,
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    # Everything that mmengine puts in a checkpoint: EMA, optimizer, schedulers, message hub.
    work_dir = tmp_path_factory.mktemp('trained')
    runner = make_runner(work_dir)
    runner.message_hub.update_info('best_score', np.float32(0.5))
    runner.message_hub.update_scalar('val/count', np.int64(3))
    runner.train()
    return work_dir / 'epoch_2.pth'


def test_checkpoint_of_runner_is_loaded(trained):
    checkpoint = load_checkpoint_file(trained)
    hub = checkpoint['message_hub']
    losses = hub['log_scalars']['train/loss']
    assert isinstance(losses, HistoryBuffer)
    assert len(losses.data[0]) == 4
    assert losses.statistics('mean') == pytest.approx(losses.data[0].mean())
    assert hub['runtime_info']['best_score'] == np.float32(0.5)
    assert checkpoint['meta']['epoch'] == 2
    check_resumable(checkpoint, trained)


def test_resumed_run_ends_with_the_same_weights(trained, tmp_path):
    allow_checkpoint_types()
    make_runner(tmp_path, load_from=str(trained.parent / 'epoch_1.pth'), resume=True).train()
    ended = load_checkpoint_file(tmp_path / 'epoch_2.pth')
    expected = load_checkpoint_file(trained)
    for key in ('state_dict', 'ema_state_dict'):
        assert ended[key].keys() == expected[key].keys()
        assert all(torch.equal(ended[key][name], expected[key][name]) for name in ended[key])


def test_allowing_twice_changes_nothing():
    allow_checkpoint_types()
    allowed = set(torch.serialization.get_safe_globals())
    allow_checkpoint_types()
    assert set(torch.serialization.get_safe_globals()) == allowed


class Getattr:
    """Pickled as a call of the builtin getattr."""

    def __init__(self, *args):
        self.args = args

    def __reduce__(self):
        return getattr, self.args


class Command:
    """Pickled as a call that deletes a folder."""

    def __reduce__(self):
        return shutil.rmtree, ('no-such-folder',)


@pytest.mark.parametrize(
    ('content', 'named'),
    [
        (Command(), 'shutil.rmtree'),
        (nn.Identity(), 'torch.nn.modules.linear.Identity'),
        (Getattr(HistoryBuffer, '__init__'), '__init__'),
        (Getattr(np.ndarray, 'tofile'), 'tofile'),
    ],
    ids=['command', 'class', 'method', 'numpy'],
)
def test_other_types_are_refused_by_name(content, named, tmp_path):
    torch.save(dict(state_dict={'w': torch.zeros(1)}, extra=content), tmp_path / 'bad.pth')
    with pytest.raises(InputError, match=rf'bad\.pth .*{named}') as error:
        load_checkpoint_file(tmp_path / 'bad.pth')
    assert '\n' not in str(error.value)


def test_names_of_numpy_1_are_allowed(tmp_path):
    content = dict(state_dict={'w': torch.zeros(1)}, best=np.float64(0.25), all=np.arange(3))
    torch.save(content, tmp_path / 'new.pth')
    with (
        zipfile.ZipFile(tmp_path / 'new.pth') as new,
        zipfile.ZipFile(tmp_path / 'old.pth', 'w') as old,
    ):
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b'numpy._core.', b'numpy.core.'))
    checkpoint = load_checkpoint_file(tmp_path / 'old.pth')
    assert checkpoint['best'] == 0.25
    assert checkpoint['all'].tolist() == [0, 1, 2]


@pytest.mark.parametrize('content', [b'', b'hello', b'PK\x03\x04half a zip'])
def test_no_checkpoint(content, tmp_path):
    path = tmp_path / 'x.pth'
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'x\.pth is not a checkpoint'):
        load_checkpoint_file(path)


def test_half_a_checkpoint(trained, tmp_path):
    path = tmp_path / 'half.pth'
    content = trained.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r'half\.pth is not a checkpoint, or was cut off'):
        load_checkpoint_file(path)


def rewrite(path, **changes):
    """Write an archive of torch's anew; by the ends of their names entries get other contents."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    kind = changes.pop('kind', zipfile.ZIP_STORED)
    with zipfile.ZipFile(path, 'w', kind) as archive:
        for name, content in entries:
            archive.writestr(name, changes.get(name.rpartition('/')[2], content))


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    (tmp_path / 'a.pth').write_text('version https://git-lfs.github.com/spec/v1\n')
    with pytest.raises(InputError, match=r'a\.pth is not the file but its Git LFS pointer: get it'):
        load_checkpoint_file(tmp_path / 'a.pth')


def test_checkpoint_cut_at_any_byte_is_noticed(tmp_path):
    path = tmp_path / 'cut.pth'
    torch.save(dict(state_dict=dict(a=torch.arange(3.0))), path)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r'cut\.pth is not a checkpoint, or was cut off'):
            load_checkpoint_file(path)


def test_a_bit_of_a_weight_is_noticed(tmp_path):
    path = tmp_path / 'flip.pth'
    torch.save(dict(state_dict=dict(a=torch.arange(3.0))), path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(3.0).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'flip\.pth is damaged, for its part flip/data/0 does'):
        load_checkpoint_file(path)


def test_packed_checkpoint_is_not_unpacked(tmp_path, monkeypatch):
    """Two megabytes may become two gigabytes."""
    path = tmp_path / 'bomb.pth'
    torch.save(dict(state_dict=dict(a=torch.zeros(1_000_000))), path)
    rewrite(path, kind=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(torch, 'load', None)
    with pytest.raises(InputError, match=r'bomb\.pth is packed, and may take any memory'):
        load_checkpoint_file(path)


def test_tensors_that_are_larger_than_their_file(tmp_path):
    path = tmp_path / 'x.pth'
    large = torch.zeros(1).expand(10**6, 10**6)
    for content in (
        dict(state_dict=dict(a=large)),
        dict(state_dict=dict(a=torch.zeros(2)), optimizer=dict(state=[dict(step=(large,))])),
    ):
        torch.save(content, path)
        with pytest.raises(InputError, match='a tensor of 1000000000000 numbers of which it stor'):
            load_checkpoint_file(path)
    # Parts of one storage are as large as they say.
    torch.save(dict(a=large[:1, :1], b=torch.zeros(4)[1:3].view(2, 1).expand(2, 2)), path)
    assert load_checkpoint_file(path)['state_dict']['b'].shape == (2, 2)


@pytest.mark.parametrize(
    'content', [[1, 2], {}, {'state_dict': {'epoch': 3}}, {'a': 'b'}, {7: torch.zeros(1)}]
)
def test_no_state_dict(content, tmp_path):
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(InputError, match='it holds no state dict'):
        load_checkpoint_file(tmp_path / 'x.pth')


def test_weights_under_another_key_are_named(tmp_path):
    torch.save(dict(model=nn.Linear(2, 1).state_dict(), epoch=3), tmp_path / 'x.pth')
    with pytest.raises(InputError, match=r"no state dict but the keys 'model', 'epoch'; give"):
        load_checkpoint_file(tmp_path / 'x.pth')


@pytest.mark.parametrize(
    ('change', 'kind'),
    [
        (lambda weight: weight.to_sparse(), 'float32, sparse_coo'),
        (lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), 'qint8, strided'),
        (lambda weight: weight.to(torch.int8), 'int8, strided'),
        (lambda weight: weight.to(torch.complex64), 'complex64, strided'),
        (lambda weight: weight.to(torch.float8_e4m3fn), 'float8_e4m3fn, strided'),
        (lambda weight: weight.to('meta'), 'float32, strided without data'),
    ],
)
@pytest.mark.filterwarnings('ignore:.*quantize_per_tensor:UserWarning')
def test_weights_that_are_not_plain_numbers(tmp_path, change, kind):
    weights = dict(count=torch.zeros(2, dtype=torch.int64), weight=change(torch.eye(2)))
    torch.save(weights, tmp_path / 'x.pth')
    with pytest.raises(InputError, match=rf'x\.pth holds the weight weight as {kind}: save dense'):
        load_checkpoint_file(tmp_path / 'x.pth')


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite(tmp_path, value):
    torch.save(
        dict(a=torch.zeros(2, dtype=torch.int64), b=torch.tensor([1, value])), tmp_path / 'x'
    )
    with pytest.raises(InputError, match=r'NaN or infinity in 1 of its weights \(such as b\)'):
        load_checkpoint_file(tmp_path / 'x')


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match='there is no checkpoint file'):
        load_checkpoint_file(tmp_path / 'x.pth')


def test_bare_state_dict(tmp_path):
    weights = nn.Linear(2, 1).state_dict()
    torch.save(weights, tmp_path / 'x.pth')
    checkpoint = load_checkpoint_file(tmp_path / 'x.pth')
    assert torch.equal(checkpoint['state_dict']['weight'], weights['weight'])
    with pytest.raises(InputError, match='no meta and no message_hub and no optimizer'):
        check_resumable(checkpoint, 'x.pth')


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        ({'weight': (1, 2)}, r'1 weights are missing in it \(such as bias\)'),
        ({'weight': (1, 2), 'bias': (1,), 'x': (3,)}, r'1 are left over \(such as x\)'),
        ({'weight': (3, 2), 'bias': (1,)}, r'such as weight: \(3, 2\), not \(1, 2\)'),
        ({'module.weight': (1, 2), 'module.bias': (1,)}, None),
    ],
)
def test_check_fits(weights, message):
    checkpoint = dict(state_dict={name: torch.zeros(shape) for name, shape in weights.items()})
    model = nn.Linear(2, 1)
    if message is None:
        check_fits(model, checkpoint, 'x.pth')
    else:
        with pytest.raises(InputError, match=message):
            check_fits(model, checkpoint, 'x.pth')


def test_fine_tuning_needs_one_weight_that_fits():
    model = nn.Linear(2, 1)
    check_shares_weights(model, dict(state_dict={'weight': torch.zeros(1, 2)}), 'x.pth')
    # A single number fits any network's last layer.
    with pytest.raises(InputError, match='not one of its 1 weights fits'):
        check_shares_weights(model, dict(state_dict={'bias': torch.zeros(1)}), 'x.pth')
    with pytest.raises(InputError, match=r'not one of its 1 weights fits \(such as bias\)'):
        check_shares_weights(model, dict(state_dict={'bias': torch.zeros(2)}), 'x.pth')


def test_load_model_weights(tmp_path):
    weights = OrderedDict(weight=torch.tensor([[1.0, 2.0]]), bias=torch.tensor([3.0]))
    torch.save(dict(state_dict=weights, meta=dict(epoch=7)), tmp_path / 'x.pth')
    model = nn.Linear(2, 1)
    assert load_model_weights(model, tmp_path / 'x.pth')['meta'] == dict(epoch=7)
    assert model(torch.tensor([10.0, 100.0])).item() == 213


BOXCASEG = "model = dict(type='BoxCaseg', backbone=dict(type='HRNet')"
OWN = dict(type='mmboxcaseg.BoxPrompt')
OTHERS = dict(type='mmboxcaseg.BoxPrompt', own=False, others=True)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, None),
        ('no config', None),
        ("lr = 1\nmodel = dict(type='mmboxcaseg.BoxCaseg', backbone=dict(type='mmseg.HRNet'), "
         "prompt=dict(own=True, type='mmboxcaseg.BoxPrompt'), alpha=[-1, None])", None),
        ("model = {'type': 'BoxCaseg', 'backbone': {'type': 'HRNet'}, 'prompt': True}", None),
        (f'{BOXCASEG}, prompt=False, neighbours=True)',
         r'x.pth is .* prompt is told .*: \(False, True\), not \(True, False\); give the config'),
        (f'{BOXCASEG}, prompt=dict(others=True))',
         r': \(True, True\), not \(True, False\)'),
        (f'{BOXCASEG})', r': \(False, False\), not'),
        ("model = dict(type='BoxCaseg', backbone=dict(type='ResNet'), prompt=True)",
         'its backbone is ResNet, not HRNet'),
        ("model = dict(type='MaskRCNN', backbone=dict(type='R'))", 'is MaskRCNN, not BoxCaseg'),
        # What is no literal is not looked at, and nothing of it runs.
        ("model = dict(type='MaskRCNN', x=print('ran'))", None),
        ('model = ' + '(' * 500 + ')' * 500, None),
    ],
)  # fmt: skip
def test_check_kind(text, message, box_caseg_cfg, capsys):
    model = MODELS.build(box_caseg_cfg(prompt=OWN))
    checkpoint = dict(state_dict=model.state_dict(), meta=dict(cfg=text))
    if message is None:
        check_kind(model, checkpoint, 'x.pth')
    else:
        with pytest.raises(InputError, match=message):
            check_kind(model, checkpoint, 'x.pth')
    assert capsys.readouterr().out == ''


def test_a_fourth_channel_of_another_kind(box_caseg_cfg):
    """The text as mmengine's Runner writes it is read."""
    config = Config(dict(model=box_caseg_cfg(prompt=OTHERS)))
    model = MODELS.build(config.model)
    checkpoint = dict(state_dict=model.state_dict(), meta=dict(cfg=config.pretty_text))
    check_fits(MODELS.build(box_caseg_cfg(prompt=OWN)), checkpoint, 'x.pth')  # the same shapes
    check_kind(model, checkpoint, 'x.pth')
    with pytest.raises(InputError, match='another kind of network'):
        check_kind(MODELS.build(box_caseg_cfg(prompt=OWN)), checkpoint, 'x.pth')


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.mark.parametrize('before', [{}, {'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD': '1'}])
def test_no_loader_runs_code(before, tmp_path, monkeypatch):
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    torch.save(Payload(tmp_path / 'ran'), tmp_path / 'checkpoint.pth')

    allow_checkpoint_types()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'checkpoint.pth', weights_only=False)
    assert not (tmp_path / 'ran').exists()


def test_a_program_that_loads_a_file_may_load_its_own_as_before(trained, monkeypatch):
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', raising=False)
    load_checkpoint_file(trained)
    assert 'TORCH_FORCE_WEIGHTS_ONLY_LOAD' not in os.environ
