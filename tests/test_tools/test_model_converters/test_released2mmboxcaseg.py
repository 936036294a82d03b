"""The converter from its command line, and whether its output computes what the release does.

The release's network is built here from plain torch layers, under the names of its checkpoints.
"""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmboxcaseg.apis import init_model
from mmboxcaseg.engine.checkpoint import check_resumable, load_checkpoint_file
from mmboxcaseg.errors import InputError

ROOT = Path(__file__).parents[3]
TOOL = ROOT / 'tools' / 'model_converters' / 'released2mmboxcaseg.py'
RELEASED = ROOT / 'configs' / 'boxcaseg' / 'hrnet_w48_voc_released.py'
TINY = dict(planes=8, blocks=(2, 1, 1, 2), modules=(1, 2, 1), widths=(4, 8, 16, 32))
W48 = dict(planes=64, blocks=(4, 4, 4, 4), modules=(1, 4, 3), widths=(48, 96, 192, 384))
TINY_CONFIG = """
_base_ = '{base}'
channels = 60
model = dict(
    backbone=dict(
        extra=dict(
            stage1=dict(num_blocks=(2,), num_channels=(8,)),
            stage2=dict(num_blocks=(1, 1), num_channels=(4, 8)),
            stage3=dict(num_modules=2, num_blocks=(1, 1, 1), num_channels=(4, 8, 16)),
            stage4=dict(num_modules=1, num_blocks=(2, 2, 2, 2), num_channels=(4, 8, 16, 32)),
        ),
    ),
    weak_head=dict(in_channels=channels),
    salient_head=dict(in_channels=channels),
    transferred_head=dict(in_channels=channels),
)
"""


def conv_norm(inputs, outputs, kernel=3, stride=1, relu=False):
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *[nn.ReLU()] * relu)


def resize(x, size):
    return F.interpolate(x, size, mode='bilinear', align_corners=False)


class Block(nn.Module):
    """Residual block of the ResNets: two 3x3 convolutions, or 1x1, 3x3, 1x1."""

    def __init__(self, inputs, planes, bottleneck=False):
        super().__init__()
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        outputs = 4 * planes if bottleneck else planes
        sizes = [inputs, *[planes] * (len(kernels) - 1), outputs]
        self.count = len(kernels)
        for number, kernel in enumerate(kernels, start=1):
            conv, norm = conv_norm(sizes[number - 1], sizes[number], kernel)
            self.add_module(f'conv{number}', conv)
            self.add_module(f'bn{number}', norm)
        if inputs != outputs:
            self.downsample = conv_norm(inputs, outputs, 1)

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f'bn{number}')(getattr(self, f'conv{number}')(y))
            y = y.relu() if number < self.count else y
        return (y + (self.downsample(x) if hasattr(self, 'downsample') else x)).relu()


class Module(nn.Module):
    """Branches of one resolution each, then every branch from the sum of all."""

    def __init__(self, widths, blocks):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*[Block(width, width) for _ in range(blocks)]) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self.path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    @staticmethod
    def path(widths, source, target):
        if source == target:
            return None
        if source > target:
            return conv_norm(widths[source], widths[target], 1)
        steps = [
            conv_norm(widths[source], widths[source], stride=2, relu=True)
            for _ in range(target - source - 1)
        ]
        return nn.Sequential(*steps, conv_norm(widths[source], widths[target], stride=2))

    def forward(self, xs):
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        fused = []
        for target, row in enumerate(self.fuse_layers):
            size = xs[target].shape[-2:]
            terms = [x if path is None else path(x) for path, x in zip(row, xs, strict=True)]
            fused.append(sum(resize(t, size) if t.shape[-2:] != size else t for t in terms).relu())
        return fused


class Transfer(nn.Module):
    def __init__(self, features, scalar_shape):
        super().__init__()
        self.fc1 = nn.Linear(features, 4 * features)
        self.fc2 = nn.Linear(4 * features, features)
        self.k = nn.Parameter(torch.ones(scalar_shape))
        self.b = nn.Parameter(torch.zeros(scalar_shape))

    def forward(self, conv):
        hidden = F.leaky_relu(self.fc1(conv.weight.flatten(1)), 0.1)
        return self.fc2(hidden).view_as(conv.weight), self.k * conv.bias + self.b


def head(channels):
    return nn.Sequential(
        nn.Conv2d(channels, channels, 1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, 1, 1),
    )


class Released(nn.Module):
    """The release's network, with random weights and the statistics of a random batch."""

    def __init__(self, planes, blocks, modules, widths, scalar_shape=(1,)):
        super().__init__()
        self.conv1, self.bn1 = conv_norm(3, 64, stride=2)
        self.conv2, self.bn2 = conv_norm(64, 64, stride=2)
        self.layer1 = nn.Sequential(
            *[Block(4 * planes if i else 64, planes, bottleneck=True) for i in range(blocks[0])]
        )
        self.transition1 = nn.ModuleList(
            [
                conv_norm(4 * planes, widths[0], relu=True),
                nn.Sequential(conv_norm(4 * planes, widths[1], stride=2, relu=True)),
            ]
        )
        for stage in (2, 3, 4):
            if stage > 2:
                # A new branch from the last one; the old ones go on as they are.
                new = nn.Sequential(
                    conv_norm(widths[stage - 2], widths[stage - 1], stride=2, relu=True)
                )
                self.add_module(
                    f'transition{stage - 1}', nn.ModuleList([*[None] * (stage - 1), new])
                )
            stack = [Module(widths[:stage], blocks[stage - 1]) for _ in range(modules[stage - 2])]
            self.add_module(f'stage{stage}', nn.Sequential(*stack))
        channels = sum(widths)
        self.last_layer = head(channels)
        self.fcn = head(channels)
        self.transfer1 = Transfer(channels, scalar_shape)
        self.transfer_bn = nn.BatchNorm2d(channels)
        self.transfer2 = Transfer(channels, scalar_shape)
        self.apply(randomize)
        # In training mode: the norm layers keep the statistics of this batch, without which the
        # sums over a hundred layers would vanish or grow without bound.
        self(torch.rand(2, 3, 64, 64) - 0.5)

    def features(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer1(self.bn2(self.conv2(x)).relu())
        xs = self.stage2([transition(x) for transition in self.transition1])
        xs = self.stage3([*xs, self.transition2[-1](xs[-1])])
        xs = self.stage4([*xs, self.transition3[-1](xs[-1])])
        return torch.cat([resize(x, xs[0].shape[-2:]) for x in xs], dim=1)

    @torch.no_grad()
    def forward(self, x, alpha=0.7):
        """Logits (N, 1, H, W) of the weak head and of the fusion."""
        features = self.features(x)
        weight1, bias1 = self.transfer1(self.last_layer[0])
        weight2, bias2 = self.transfer2(self.last_layer[3])
        hidden = self.transfer_bn(F.conv2d(features, weight1, bias1)).relu()
        transferred = F.conv2d(hidden, weight2, bias2)
        fused = alpha * self.fcn(features) + (1 - alpha) * transferred
        size = x.shape[-2:]
        return dict(weak=resize(self.last_layer(features), size), fused=resize(fused, size))


def randomize(module):
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight)
        if module.bias is not None:
            nn.init.normal_(module.bias, std=0.2)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.normal_(module.bias, std=0.2)
        module.momentum = 1.0
    elif isinstance(module, Transfer):
        nn.init.constant_(module.k, 1.5)
        nn.init.constant_(module.b, -0.4)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the tool in this process; returns exit code, stdout and stderr."""

    def run(*args, tool=TOOL):
        monkeypatch.setattr(sys, 'argv', [str(tool), *map(str, args)])
        try:
            runpy.run_path(str(tool), run_name='__main__')
            code = 0
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text(TINY_CONFIG.format(base=RELEASED))
    return path


@pytest.fixture
def paths(tmp_path, config):
    """Arguments of a conversion at tiny widths."""
    return tmp_path / 'src.pth', tmp_path / 'new' / 'dst.pth', '--config', config


def assert_same_logits(network, config, checkpoint, shape):
    """Compare the two networks on uint8 images (N, 3, H, W) in BGR, each with its own steps."""
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    mean = torch.tensor([102.9801, 115.9465, 122.7717]).view(3, 1, 1) / 255
    expected = network.eval().double()(images.flip(1).double() / 255 - mean)

    # Double, in which no probability rounds to 1.
    model = init_model(config, checkpoint).double()
    inputs = model.data_preprocessor(dict(inputs=list(images)))['inputs'].double()
    with torch.no_grad():
        maps = model.probability_maps(inputs, list(expected))
    for name, logits in expected.items():
        assert logits.std() > 0.1 and logits.abs().max() < 15
        torch.testing.assert_close(torch.logit(maps[name]), logits, rtol=0, atol=1e-4)


def test_same_logits_at_tiny_widths(paths, run):
    src, dst, _, config = paths
    network = Released(**TINY)
    torch.save(network.state_dict(), src)
    code, out, _ = run(*paths)
    assert code == 0
    assert f'{dst}: {len(network.state_dict())} weights' in out
    assert_same_logits(network, config, dst, (2, 3, 64, 96))


def test_same_logits_at_w48(tmp_path, run):
    network = Released(**W48)
    torch.save(dict(state_dict=network.state_dict()), tmp_path / 'src.pth')
    assert run(tmp_path / 'src.pth', tmp_path / 'dst.pth')[0] == 0
    assert_same_logits(network, RELEASED, tmp_path / 'dst.pth', (1, 3, 64, 64))


def prefixed(weights, *prefixes):
    """The same weights, the names in turn under each of the prefixes."""
    return {
        prefixes[index % len(prefixes)] + name: value
        for index, (name, value) in enumerate(weights.items())
    }


@pytest.mark.parametrize(
    'wrap',
    [
        pytest.param(lambda weights: weights, id='bare'),
        pytest.param(
            lambda weights: dict(
                state_dict=prefixed(weights, 'module.'),
                optimizer=dict(state={0: dict(momentum_buffer=torch.ones(3))}, param_groups=[]),
                epoch=40,
            ),
            id='of a training',
        ),
        pytest.param(lambda weights: prefixed(weights, 'model.'), id='model'),
        pytest.param(
            lambda weights: dict(state_dict=prefixed(weights, 'module.model.')),
            id='module.model',
        ),
        pytest.param(lambda weights: prefixed(weights, 'model.module.'), id='model.module'),
        pytest.param(lambda weights: prefixed(weights, '', 'module.module.', 'model.'), id='mixed'),
    ],
)
def test_wrappers_and_prefixes(paths, run, wrap):
    network = Released(**TINY)
    run(*save(paths, network.state_dict()))
    expected = load_checkpoint_file(paths[1])
    assert run(*save(paths, wrap(network.state_dict())))[0] == 0
    converted = load_checkpoint_file(paths[1])
    assert converted.keys() == {'state_dict', 'meta'}
    assert_equal(converted['state_dict'], expected['state_dict'])


def save(paths, checkpoint, **options):
    torch.save(checkpoint, paths[0], **options)
    return paths


def assert_equal(weights, expected):
    assert weights.keys() == expected.keys()
    for name, value in weights.items():
        assert value.dtype == expected[name].dtype, name
        assert torch.equal(value, expected[name]), name


def test_every_weight_is_that_of_its_namesake(paths, run):
    weights = Released(**TINY).state_dict()
    run(*save(paths, weights))
    converted = load_checkpoint_file(paths[1])['state_dict']
    assert len(converted) == len(weights)
    for theirs, ours in {
        'conv1.weight': 'backbone.conv1.weight',
        'stage3.1.fuse_layers.2.0.0.1.running_var': (
            'backbone.stage3.1.fuse_layers.2.0.0.1.running_var'
        ),
        'last_layer.3.bias': 'weak_head.conv2.bias',
        'fcn.1.running_mean': 'salient_head.norm.running_mean',
        'transfer1.fc2.bias': 'transferred_head.transfer1.fc2.bias',
        'transfer2.k': 'transferred_head.transfer2.k',
        'transfer_bn.weight': 'transferred_head.norm.weight',
    }.items():
        assert torch.equal(converted[ours], weights[theirs]), theirs


def test_what_an_old_torch_wrote(paths, run):
    """No counters of batches, the file not a zip, numbers without a dimension."""
    network = Released(**TINY, scalar_shape=())
    weights = {
        name: value
        for name, value in network.state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    assert weights['transfer1.k'].shape == ()
    assert run(*save(paths, weights, _use_new_zipfile_serialization=False))[0] == 0
    converted = load_checkpoint_file(paths[1])['state_dict']
    assert converted['backbone.bn1.num_batches_tracked'] == 0
    assert converted['transferred_head.transfer1.k'].shape == (1,)
    assert_same_logits(network, paths[3], paths[1], (1, 3, 64, 64))


def test_half_precision(paths, run):
    network = Released(**TINY).half()
    assert run(*save(paths, network.state_dict()))[0] == 0
    converted = load_checkpoint_file(paths[1])['state_dict']
    assert {value.dtype for value in converted.values()} == {torch.float32, torch.int64}
    assert_same_logits(network, paths[3], paths[1], (1, 3, 64, 64))


def without(*names):
    return lambda weights: {k: v for k, v in weights.items() if not k.startswith(names)}


def renamed(old, new):
    return lambda weights: {new if k == old else k: v for k, v in weights.items()}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (without('fcn.3.bias'), r'\(1 missing: fcn\.3\.bias\); give .* --config$'),
        (
            without('last_layer', 'fcn', 'transfer'),
            r'\(32 missing: last_layer\.0\.\S+, .* and 27 more\)',
        ),
        (
            renamed('fcn.0.bias', 'fcn.0.offset'),
            r'\(1 missing: fcn\.0\.bias; 1 left over: fcn\.0\.offset\)',
        ),
        (
            lambda weights: weights | {f'module.classifier.{n}': torch.ones(1) for n in range(7)},
            r'\(7 left over: (module\.classifier\.[0-4],? ){5}and 2 more\)',
        ),
        (
            lambda weights: weights | {'fcn.3.weight': torch.ones(1, 30, 1, 1)},
            r'\(1 of another shape: fcn\.3\.weight \(1, 30, 1, 1\) instead of \(1, 60, 1, 1\)\)',
        ),
        (
            lambda weights: weights | {'transfer1.k': torch.ones(2)},
            r'transfer1\.k \(2,\) instead of \(1,\)',
        ),
        (
            lambda weights: weights | {'bn1.bias': weights['bn1.bias'].long()},
            r'\(1 of another type: bn1\.bias int64 instead of float32\)',
        ),
        (
            lambda weights: {k: v.to(torch.float32) for k, v in weights.items()},
            r'of another type: bn1\.num_batches_tracked float32 instead of int64, ',
        ),
        (
            lambda weights: weights | {'bn1.bias': weights['bn1.bias'].to(torch.int8)},
            r'src\.pth holds the weight bn1\.bias as int8, strided: save dense',
        ),
        (
            lambda weights: weights | {'module.bn1.bias': weights['bn1.bias']},
            r'it has bn1\.bias twice, as bn1\.bias and as module\.bn1\.bias',
        ),
        (
            lambda weights: weights | {'bn1.bias': torch.full((64,), torch.nan)},
            r'src\.pth holds NaN',
        ),
        (lambda weights: [1, 2], r'src\.pth is not a checkpoint: it holds no state dict'),
        (lambda weights: dict(state_dict=weights, args=Path('x')), r'src\.pth is refused: .*Path'),
    ],
)
def test_partial_matches_and_other_files_are_refused(paths, run, change, message):
    assert_refused(run(*save(paths, change(Released(**TINY).state_dict()))), message)
    assert not paths[1].exists()


def assert_refused(result, message):
    code, _, err = result
    assert code == 2
    sentence = err.strip().splitlines()[-1]
    assert sentence.startswith('error: ')
    assert re.search(message, sentence), sentence
    assert 'Traceback' not in err


def test_other_widths_are_refused(paths, run):
    src, dst = save(paths, Released(**TINY).state_dict())[:2]
    assert_refused(
        run(src, dst), rf'{src} does not fit .*{RELEASED.name}: .* missing: .* of another shape: '
    )


def test_paths_are_checked(paths, run):
    src, dst, _, config = save(paths, Released(**TINY).state_dict())
    for path, message in [(src, 'src.pth is an input file'), (config, 'tiny.py is an input file')]:
        before = path.read_bytes()
        assert_refused(run(src, path, '--config', config), message)
        assert path.read_bytes() == before
    assert_refused(run(src, dst.with_suffix('.json')), r'its name must end in \.pth')
    assert_refused(run(src, dst, '--config', 'none.py'), 'there is no config file none.py')
    assert_refused(run('none.pth', dst), 'there is no checkpoint file none.pth')
    other = config.with_name('other.py')
    other.write_text("model = dict(type='mmboxcaseg.MILLoss')")
    assert_refused(run(src, dst, '--config', other), 'other.py is not the config of a BoxCaseg')


def test_convert_twice_gives_the_same_file(paths, run):
    save(paths, Released(**TINY).state_dict())
    run(*paths)
    first = paths[1].read_bytes()
    run(*paths)
    assert paths[1].read_bytes() == first
    assert [path.name for path in paths[1].parent.iterdir()] == ['dst.pth']


def test_result_is_tested_and_not_resumed(paths, run, data_root):
    src, dst, _, config = save(paths, Released(**TINY).state_dict())
    run(*paths)
    metrics = dst.with_name('metrics.json')
    loader = dict(
        batch_size=4,
        num_workers=0,
        persistent_workers=False,
        dataset=dict(
            data_root=str(data_root / 'coco'),
            ann_file='annotations/instances.json',
            data_prefix=dict(img='train'),
        ),
    )
    config.write_text(
        f'{config.read_text()}\ntest_dataloader = dict(**{loader})\nlog_level = "ERROR"\n'
    )
    test = [config, dst, '--out', metrics, '--work-dir', dst.parent]
    assert run(*test, tool=ROOT / 'tools' / 'test.py')[0] == 0
    assert 0 < json.loads(metrics.read_text())['fused/mIoU'] <= 1
    with pytest.raises(InputError, match='holds no message_hub and no optimizer'):
        check_resumable(load_checkpoint_file(dst), dst)


def test_as_a_command(paths):
    command = [sys.executable, str(TOOL), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert re.fullmatch(r'error: .*src\.pth.*', done.stderr.strip().splitlines()[-1])
