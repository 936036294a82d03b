"""The two tools from their command lines, on a tiny network and a tiny set."""

import json
import os
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
from mmcv.transforms import LoadImageFromFile
from torch.utils.data import DataLoader

from mmboxcaseg import cli, errors
from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.engine.checkpoint import load_checkpoint_file
from mmboxcaseg.evaluation import mask_iou
from mmboxcaseg.models import BoxCaseg

ROOT = Path(__file__).parent.parent.parent

CONFIG = """
_base_ = '{root}/configs/boxcaseg/hrnet_w18s_coco-mini.py'
norm_cfg = dict(type='SyncBN')
head = dict(type='mmboxcaseg.PatchHead', in_channels=24, norm_cfg=norm_cfg)
model = dict(
    backbone=dict(
        _delete_=True, type='ResNet', depth=18, base_channels=8, num_stages=2, strides=(1, 2),
        dilations=(1, 1), out_indices=(0, 1), norm_cfg=norm_cfg, norm_eval=False,
    ),
    weak_head=dict(_delete_=True, **head),
    salient_head=dict(_delete_=True, **head),
    transferred_head=dict(_delete_=True, **dict(head, type='mmboxcaseg.TransferredHead')),
)
train_dataloader = dict(batch_size=4, num_workers=0, sampler=dict(batch_size=4, ratio=(2, 2)),
    dataset=dict(datasets=[
        dict(
            type='mmboxcaseg.BoxInstanceDataset', data_root='{data}', ann_file='ann.json',
            data_prefix=dict(img='images'), pipeline=[
                dict(type='mmboxcaseg.LoadPatchImage'),
                dict(type='mmboxcaseg.RandomBoxPatch', size=16),
                dict(type='mmboxcaseg.PackPatchInputs'),
            ],
        ),
        dict(
            type='mmboxcaseg.SalientObjectDataset', data_root='{data}', pipeline=[
                dict(type='mmboxcaseg.LoadPatchImage'),
                dict(type='mmboxcaseg.RandomBoxPatch', size=16),
                dict(type='mmboxcaseg.PackPatchInputs'),
            ],
        ),
    ]),
)
val_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(
    data_root='{data}', ann_file='ann.json', data_prefix=dict(img='images'), pipeline=[
        dict(type='mmboxcaseg.LoadPatchImage'),
        dict(type='mmboxcaseg.BoxPatch', size=16),
        dict(type='mmboxcaseg.PackPatchInputs'),
    ],
))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=3, val_interval=10)
default_hooks = dict(
    checkpoint=dict(type='mmboxcaseg.AtomicCheckpointHook', max_keep_ckpts=-1),
    logger=dict(interval=1),
)
log_level = 'WARNING'
"""


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tiny')
    (folder / 'images').mkdir()
    (folder / 'masks').mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(8):
        name = f'{index}.png'
        cv2.imwrite(
            str(folder / 'images' / name), rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        )
        mask = np.zeros((24, 24), np.uint8)
        mask[6:18, 4:20] = 255
        cv2.imwrite(str(folder / 'masks' / name), mask)
        images.append(dict(id=index, file_name=name, width=24, height=24))
        annotations.append(
            dict(
                id=index, image_id=index, category_id=1, bbox=[4, 6, 16, 12], area=192, iscrowd=0,
                segmentation=[[4, 6, 20, 6, 20, 18, 4, 18]],
            )
        )  # fmt: skip
    coco = dict(images=images, annotations=annotations, categories=[dict(id=1, name='thing')])
    (folder / 'ann.json').write_text(json.dumps(coco))
    path = folder / 'tiny.py'
    path.write_text(CONFIG.format(root=ROOT, data=folder))
    return path


def run_tool(monkeypatch, tool, *args):
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, args)])
    runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')


@pytest.fixture(scope='module')
def trained(config, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('trained')
    with pytest.MonkeyPatch.context() as monkeypatch:
        run_tool(monkeypatch, 'train.py', config, '--work-dir', work_dir)
    return work_dir


def same_weights(path, other):
    weights, others = (load_checkpoint_file(p)['state_dict'] for p in (path, other))
    return weights.keys() == others.keys() and all(
        torch.equal(weights[name], others[name]) for name in weights
    )


def test_resumed_training_ends_with_the_same_weights(config, trained, tmp_path, monkeypatch):
    shutil.copy(trained / 'epoch_2.pth', tmp_path)
    # The work dir was moved since.
    (tmp_path / 'last_checkpoint').write_text('/where/it/was/epoch_2.pth')
    run_tool(monkeypatch, 'train.py', config, '--work-dir', tmp_path, '--resume')
    assert same_weights(tmp_path / 'epoch_3.pth', trained / 'epoch_3.pth')
    assert not same_weights(tmp_path / 'epoch_2.pth', trained / 'epoch_3.pth')


def test_training_resumes_where_the_clock_was_set_back(config, trained, tmp_path, monkeypatch):
    shutil.copy(trained / 'epoch_2.pth', tmp_path)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    now = time.time
    monkeypatch.setattr(time, 'time', lambda: now() - 1e6)
    run_tool(monkeypatch, 'train.py', config, '--work-dir', tmp_path, '--resume')
    assert same_weights(tmp_path / 'epoch_3.pth', trained / 'epoch_3.pth')


def test_a_work_dir_has_one_training_at_a_time(
    config, tmp_path, monkeypatch, capsys, held_elsewhere
):
    with held_elsewhere(tmp_path / '.train.lock'), pytest.raises(SystemExit) as error:
        run_tool(monkeypatch, 'train.py', config, '--work-dir', tmp_path)
    assert error.value.code == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence == f'error: another call is at work on {tmp_path}: wait for it'
    assert [path.name for path in tmp_path.iterdir()] == ['.train.lock']


def test_what_a_killed_run_left_of_a_checkpoint_goes(config, trained, tmp_path, monkeypatch):
    shutil.copy(trained / 'epoch_2.pth', tmp_path)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    for name in ('epoch_3.pth', 'epoch_9.pth', 'last_checkpoint'):
        (tmp_path / f'{name}.0123456789abcdef.tmp').write_text('half')
    (tmp_path / 'mine.tmp').touch()
    run_tool(monkeypatch, 'train.py', config, '--work-dir', tmp_path, '--resume')
    assert [path.name for path in tmp_path.glob('*.tmp')] == ['mine.tmp']


def test_training_in_mixed_precision(config, trained, tmp_path, monkeypatch):
    run_tool(monkeypatch, 'train.py', config, '--work-dir', tmp_path, '--force-amp')
    weights = load_checkpoint_file(tmp_path / 'epoch_3.pth')['state_dict']
    assert all(value.isfinite().all() for value in weights.values())
    assert torch.bfloat16 not in {value.dtype for value in weights.values()}
    assert not same_weights(tmp_path / 'epoch_3.pth', trained / 'epoch_3.pth')


def test_amp_of_a_cpu_without_instructions(config, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: dict(avx2=True), raising=False)
    run_tool(monkeypatch, 'train.py', config, '--work-dir', tmp_path, '--amp')
    assert capsys.readouterr().out.count('--amp: this CPU has no bfloat16 instructions') == 1
    assert same_weights(tmp_path / 'epoch_3.pth', trained / 'epoch_3.pth')


def test_learning_rate_of_another_batch_size(config, tmp_path, monkeypatch, capsys):
    scaled = '--cfg-options', 'auto_scale_lr.base_batch_size=8'
    run_tool(monkeypatch, 'train.py', config, '--work-dir', tmp_path, *scaled)
    warning = 'is for 8 images at a time, and this run has 4: --auto-scale-lr scales it'
    assert capsys.readouterr().out.count(warning) == 1
    run_tool(monkeypatch, 'train.py', config, '--work-dir', tmp_path, *scaled, '--auto-scale-lr')
    assert warning not in capsys.readouterr().out


VIEWS = """
_base_ = '{config}'
model = dict(prompt=dict(type='mmboxcaseg.BoxPrompt'))
tta_model = dict(type='mmboxcaseg.BoxCasegTTAModel')
tta_pipeline = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='mmboxcaseg.BoxPatch', size=16, margin=margin) for margin in (0.1, 0.5)],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='mmboxcaseg.PackPatchInputs')],
    ]),
]
"""


def test_views_and_half_precision(config, tmp_path, monkeypatch):
    """Scores of tools/test.py --tta and --force-amp are those of the predictor's masks."""
    path = tmp_path / 'views.py'
    path.write_text(VIEWS.format(config=config))
    model = init_model(path)
    with torch.no_grad():
        model.backbone.conv1.weight[:, 3].normal_()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'views.pth')
    half = []
    maps = BoxCaseg.probability_maps

    def spy(self, *args, **boxes):
        half.append(torch.is_autocast_enabled('cpu'))
        return maps(self, *args, **boxes)

    monkeypatch.setattr(BoxCaseg, 'probability_maps', spy)
    scores = {}
    slack = ('--tta', '--cfg-options', 'model.test_cfg.slack=0.1')
    for options in ((), ('--tta',), ('--force-amp',), ('--tta', '--force-amp'), slack):
        out = tmp_path / 'metrics.json'
        arguments = (path, tmp_path / 'views.pth', '--work-dir', tmp_path / 'log', '--out', out)
        run_tool(monkeypatch, 'test.py', *arguments, *options)
        assert set(half) == {'--force-amp' in options}
        half.clear()
        predictor = BoxCasegPredictor(
            model,
            tta='--tta' in options,
            amp='--force-amp' in options,
            slack=0.1 if options == slack else None,
        )
        true_mask = np.zeros((24, 24), bool)
        true_mask[6:18, 4:20] = True
        ious = []
        for index in range(8):
            predictor.set_image(cv2.imread(str(config.parent / 'images' / f'{index}.png')))
            ious.append(mask_iou(predictor.predict([4, 6, 20, 18])[0][0], true_mask))
        half.clear()
        scores[options] = json.loads(out.read_text())['fused/mIoU']
        # A batch of another size may round a pixel differently.
        assert scores[options] == pytest.approx(np.mean(ious), abs=0.004), options
    assert len({scores[()], scores['--tta',], scores[slack]}) == 3


def test_views_that_the_config_does_not_have(config, trained, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        arguments = (config, trained / 'epoch_3.pth', '--work-dir', tmp_path)
        run_tool(monkeypatch, 'test.py', *arguments, '--tta')
    assert ended.value.code == 2
    assert 'error: --tta: ' in capsys.readouterr().err


def test_metrics_are_written(config, trained, tmp_path, monkeypatch):
    out = tmp_path / 'made' / 'metrics.json'
    run_tool(
        monkeypatch, 'test.py', config, trained / 'epoch_3.pth',
        '--work-dir', tmp_path, '--out', out,
    )  # fmt: skip
    metrics = json.loads(out.read_text())
    assert all(0 <= value <= 1 for value in metrics.values())
    assert {'weak/mIoU', 'fused/IoU@50'} <= metrics.keys()


def half_of_the_box(self, inputs, names, **boxes):
    """The left half; of the weak head the upper one."""
    maps = {name: torch.zeros(len(inputs), 1, 4, 4) for name in names}
    for name, prob in maps.items():
        (prob.mT if name == 'weak' else prob)[..., :2] = 1
    return maps


@pytest.fixture
def drawn(config, trained, tmp_path, monkeypatch):
    """Call test.py on eight black images with one box each; returns the pictures it wrote."""
    monkeypatch.setattr(BoxCaseg, 'probability_maps', half_of_the_box)
    coco = json.loads((config.parent / 'ann.json').read_text())
    for annotation in coco['annotations']:
        annotation['segmentation'] = [[7, 9, 17, 9, 17, 15, 7, 15]]
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    for index in range(8):
        (tmp_path / 'images').mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / 'images' / f'{index}.png'), np.zeros((24, 24, 3), np.uint8))

    def drawn(*options):
        run_tool(
            monkeypatch, 'test.py', config, trained / 'epoch_3.pth', '--work-dir',
            tmp_path / 'work', *options, '--cfg-options',
            f'test_dataloader.dataset.data_root={tmp_path}',
        )  # fmt: skip
        return sorted((tmp_path / 'work').rglob('*.jpg'))

    return drawn


def test_masks_are_drawn_if_asked_for(drawn, tmp_path):
    assert drawn() == []
    paths = drawn('--show-dir', 'pictures')
    # As the annotations are numbered, in the folder of this run.
    assert [path.name for path in paths] == [f'{index}_{index}.jpg' for index in range(8)]
    assert {path.parent.parent.parent for path in paths} == {tmp_path / 'work'}
    sheet = cv2.imread(str(paths[0])).astype(int)
    # Tiles show columns 1 to 22 and rows 3 to 20 of the image: the box, (4, 6, 20, 18), and three
    # pixels more on each side.
    scale = 256 / 22

    def pixel(tile, x, y):
        return sheet[int(4 + (y - 2.5) * scale), int(4 + tile * 260 + (x - 0.5) * scale)]

    black, white, green, orange = (0, 0, 0), (255, 255, 255), (60, 220, 60), (40, 160, 255)
    tint = (16, 64, 102)  # 0.4 of orange
    common = {
        (2, 12): black, (4, 14): white, (19, 10): white, (7, 12): green, (16, 10): green,
        (9, 10): tint, (6, 7): tint,
    }  # fmt: skip
    left = {(11, 7): orange, (18, 7): black, (9, 16): tint, (18, 16): black}
    upper = {(5, 11): orange, (18, 7): tint, (9, 16): black, (18, 16): black}
    for tile, half in enumerate((left, left, left, upper)):  # fused, salient, transferred, weak
        for (x, y), colour in {**common, **half}.items():
            assert abs(pixel(tile, x, y) - colour).max() < 40, (tile, x, y)


def test_masks_are_shown_if_asked_for(drawn, monkeypatch):
    shown = []
    monkeypatch.setattr(
        'mmengine.visualization.Visualizer.show',
        lambda self, picture, name, wait_time: shown.append((picture, name, wait_time)),
    )
    assert drawn('--show', '--wait-time', '3') == []
    assert [entry[1:] for entry in shown] == [(f'{index}_{index}', 3) for index in range(8)]
    # In RGB: the box is white, the outline of the truth green, the mask orange.
    picture = shown[0][0].astype(int)
    for colour in ((255, 255, 255), (60, 220, 60), (255, 160, 40)):
        assert abs(picture - colour).max(2).min() < 20, colour


SLACK = 'model.test_cfg.slack=0.1'
NO_HOOK = ('--cfg-options', 'default_hooks.visualization=None')
DROPS = 'train_dataloader.dataset.datasets.0.pipeline.1.type=mmboxcaseg.DropProxyMasks'


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['train.py', 'none.py'], 'there is no config file none.py'),
        (['train.py', '{broken}'], 'cannot be read: SyntaxError'),
        (['train.py', '{config}', '--resume', 'none.pth'], 'no checkpoint file none.pth'),
        (['train.py', '{config}', '--resume', '{half}'], 'half.pth is not a checkpoint'),
        (['train.py', '{config}', '--resume', '{other}'], 'other.pth cannot be resumed'),
        (['train.py', '{config}', '--resume'], 'there is nothing to resume in'),
        (['train.py', '{config}', '--cfg-options', 'abc'], "takes KEY=VALUE, such as"),
        (['train.py', '{config}', '--cfg-options', 'model.alpha=2'], 'alpha must be in [0, 1]'),
        (['train.py', '{config}', '--cfg-options', 'model.alhpa=.5'], "cannot be built: TypeError"),
        (['train.py', '{config}', '--cfg-options', 'model.backbone.type=mmboxcaseg.Nope'], 'Nope'),
        (['train.py', '{config}', '--cfg-options', 'train_dataloader.sampler.ratio=3'], 'two num'),
        (['train.py', '{config}', '--cfg-options', 'optim_wrapper.optimizer.lrr=1'], 'TypeError'),
        (['train.py', '{config}', '--cfg-options', 'load_from={other}'], 'not one of its'),
        (['train.py', '{config}', '--cfg-options', 'custom_hooks.9.x=1'], 'does not fit in'),
        (['train.py', '{config}', '--cfg-options', 'val_dataloader.dataset.ann_file=x'], 'cannot'),
        (['train.py', '{config}', '--cfg-options', DROPS], 'a model without a mask head'),
        (['train.py', '{config}', '--cfg-options', SLACK], 'has a margin of 0: give each'),
        (['test.py', '{config}', '{trained}', '--cfg-options', SLACK], 'has a margin of 0: give'),
        (['test.py', '{config}', '{other}'], 'checkpoint of another architecture'),
        (['test.py', '{config}', '{evil}'], 'evil.pth is refused: it holds builtins.print'),
        (['test.py', '{config}', '{other}', '--out', '{folder}'], 'it is a folder'),
        (['test.py', '{config}', '{other}', '--out', '{other}'], 'is an input file'),
        (['test.py', '{config}', '{trained}', '--cfg-options', 'test_dataloader.bach=1'], 'bach'),
        (['test.py', '{config}', '{other}', '--show-dir', 'x', *NO_HOOK], 'no default_hooks.visu'),
        (['test.py', '{config}', '{trained}', '--show-dir', '{other}'], 'cannot make folder'),
    ],
)  # fmt: skip
def test_bad_input_ends_in_one_sentence(
    args, message, config, trained, tmp_path, monkeypatch, capsys
):
    paths = dict(
        config=config,
        folder=tmp_path,
        broken=tmp_path / 'broken.py',
        half=tmp_path / 'half.pth',
        trained=trained / 'epoch_3.pth',
        other=tmp_path / 'other.pth',
        evil=tmp_path / 'evil.pth',
    )
    paths['broken'].write_text('model = dict(')
    content = (trained / 'epoch_3.pth').read_bytes()
    paths['half'].write_bytes(content[: len(content) // 2])
    torch.save(torch.nn.Linear(2, 3).state_dict(), paths['other'])
    torch.save(dict(state_dict={'w': torch.zeros(1)}, extra=print), paths['evil'])
    with pytest.raises(SystemExit) as ended:
        run_tool(
            monkeypatch, *(arg.format(**paths) for arg in args), '--work-dir', tmp_path / 'work'
        )
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert message in line
    # A Runner, and with it a work dir, is there only for what it alone builds.
    by_runner = ('ratio', 'lrr', 'bach', '--show-dir {other}')
    built_by_runner = any(word in ' '.join(args) for word in by_runner)
    assert (tmp_path / 'work').exists() == built_by_runner


@pytest.mark.parametrize('content', ['a = 1', 'model = 5'])
def test_a_config_without_a_model(content, tmp_path, monkeypatch, capsys):
    path = tmp_path / 'mine.py'
    path.write_text(f'default_scope = "mmdet"\n{content}\n')
    with pytest.raises(SystemExit) as error:
        run_tool(monkeypatch, 'train.py', path, '--work-dir', tmp_path / 'work')
    assert error.value.code == 2
    assert 'mine.py is no config of a training: it has no model' in capsys.readouterr().err


def test_work_dir_below_a_file(config, tmp_path, monkeypatch, capsys):
    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit):
        run_tool(monkeypatch, 'train.py', config, '--work-dir', tmp_path / 'file' / 'work')
    assert 'file is a file' in capsys.readouterr().err


def test_image_that_mmdet_cannot_decode(tmp_path, capsys):
    (tmp_path / 'x.jpg').write_bytes(b'not an image')
    load = DataLoader(
        [dict(img_path=str(tmp_path / 'x.jpg'))],
        collate_fn=lambda samples: LoadImageFromFile()(samples[0]),
        num_workers=1,
    )
    with pytest.raises(SystemExit) as ended:
        errors.run_tool(lambda: list(load))
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f'error: {tmp_path}/x.jpg cannot be decoded')
    with pytest.raises(AssertionError, match='^other$'):
        errors.run_tool(_fail)


def _fail():
    raise AssertionError('other')


def train_or_resume(config, work_dir):
    resume = ['--resume'] if (work_dir / 'last_checkpoint').exists() else []
    cli.main(['train', str(config), '--work-dir', str(work_dir), *resume])


@pytest.mark.slow
def test_training_survives_kills(config, tmp_path, seconds_of, survives_kills):
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    seconds = seconds_of(train_or_resume, (config, whole))

    def check():
        assert same_weights(killed / 'epoch_3.pth', whole / 'epoch_3.pth')
        assert (killed / 'last_checkpoint').read_text() == str(killed / 'epoch_3.pth')
        names = {path.name for path in killed.iterdir() if path.is_file()}
        assert names == {path.name for path in whole.iterdir() if path.is_file()}

    renames = 2 * 3  # a checkpoint and last_checkpoint
    args = (config, killed)
    survives_kills(train_or_resume, args, seconds, renames, check, lambda: shutil.rmtree(killed))


@pytest.mark.slow
@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_training_that_is_asked_to_end(config, trained, tmp_path, processes, number, code):
    process = processes(train_or_resume, (config, tmp_path))
    while not (tmp_path / 'last_checkpoint').exists():
        assert process.is_alive()
        time.sleep(0.001)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == code
    assert not list(tmp_path.glob('*.tmp')) and not (tmp_path / 'epoch_3.pth').exists()
    train_or_resume(config, tmp_path)
    assert same_weights(tmp_path / 'epoch_3.pth', trained / 'epoch_3.pth')


@pytest.mark.slow
def test_training_on_a_full_disk(config, trained, small_disk, monkeypatch, capsys):
    disk = small_disk('600k')  # one checkpoint fits
    work_dir = disk / 'work'
    with pytest.raises(SystemExit) as error:
        run_tool(monkeypatch, 'train.py', config, '--work-dir', work_dir)
    assert error.value.code == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence == f'error: cannot write {work_dir}/epoch_2.pth: No space left on device'
    assert not list(work_dir.glob('*.tmp'))
    # What was finished is valid, and enough to go on.
    assert (work_dir / 'last_checkpoint').read_text() == str(work_dir / 'epoch_1.pth')
    subprocess.run(['mount', '-o', 'remount,size=9m', str(disk)], check=True)
    run_tool(monkeypatch, 'train.py', config, '--work-dir', work_dir, '--resume')
    assert same_weights(work_dir / 'epoch_3.pth', trained / 'epoch_3.pth')


def rank_1_of(work_dir):
    """The second process of a distributed run."""
    for process in Path('/proc').glob('[0-9]*'):
        try:
            words = (process / 'cmdline').read_bytes().split(b'\0')
            if str(work_dir).encode() in words:
                if b'RANK=1' in (process / 'environ').read_bytes().split(b'\0'):
                    return int(process.name)
        except OSError:
            pass  # it has ended since
    return None


@pytest.mark.slow
def test_one_of_two_processes_is_killed(config, tmp_path):
    environment = dict(
        PYTHON=sys.executable, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1', PORT='29814'
    )
    command = [ROOT / 'tools/dist_train.sh', config, '2', '--work-dir', tmp_path]
    command += ['--cfg-options', 'train_cfg.max_epochs=500']
    with open(tmp_path / 'log', 'w') as log:
        process = subprocess.Popen(
            list(map(str, command)), env=os.environ | environment, stdout=log, stderr=log
        )
    while not (tmp_path / 'last_checkpoint').exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(rank_1_of(tmp_path), signal.SIGKILL)
    assert process.wait(120) == 128 + signal.SIGKILL
    assert 'Traceback' not in (tmp_path / 'log').read_text()
    assert rank_1_of(tmp_path) is None
    # What was finished is valid.
    load_checkpoint_file((tmp_path / 'last_checkpoint').read_text())


@pytest.mark.slow
def test_killed_distributed_training_resumes(config, tmp_path):
    environment = os.environ | dict(
        PYTHON=sys.executable, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1'
    )

    def train(name, *args, port):
        command = [ROOT / 'tools/dist_train.sh', config, '2', '--work-dir', tmp_path / name, *args]
        # The logs go to files: a pipe that nobody reads would stop the training.
        log = open(tmp_path / f'{name}.log', 'a')  # noqa: SIM115
        return subprocess.Popen(
            list(map(str, command)), env=environment | dict(PORT=str(port)), stdout=log, stderr=log
        )

    assert train('whole', port=29811).wait() == 0
    assert 'SyncBN settings of the model are BN' in (tmp_path / 'whole.log').read_text()

    process = train('killed', port=29812)
    while not (tmp_path / 'killed' / 'last_checkpoint').exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    time.sleep(1)
    assert not (tmp_path / 'killed' / 'epoch_3.pth').exists()

    assert train('killed', '--resume', port=29813).wait() == 0
    assert same_weights(tmp_path / 'killed' / 'epoch_3.pth', tmp_path / 'whole' / 'epoch_3.pth')
