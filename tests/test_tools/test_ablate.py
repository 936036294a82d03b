import json
import re
import runpy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmboxcaseg import config_path
from mmboxcaseg.coco import load_proxies
from mmboxcaseg.proxy import encode_rle

TOOL = Path(__file__).parents[2] / 'tools' / 'ablate.py'
TABLES = json.loads(Path(config_path('ablations/tables.json')).read_text())

BOXCASEG = """
_base_ = ['{configs}/demo/boxcaseg_toy.py']
alpha = 0.7
data = '{data}'
norm_cfg = dict(type='BN')
head = dict(in_channels=60)
model = dict(
    alpha=alpha,
    backbone=dict(
        _delete_=True, type='ResNet', depth=18, base_channels=4, norm_eval=False
    ),
    weak_head=head,
    salient_head=head,
    transferred_head=head,
)
datasets = _base_.train_dataloader.dataset.datasets
coco = dict(data_root=data + '/coco', ann_file='annotations/instances.json')
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(_base_.train_dataloader.dataset.datasets[0], **coco),
            dict(_base_.train_dataloader.dataset.datasets[1], data_root=data + '/salient'),
        ]
    )
)
val_dataloader = dict(dataset=dict(data_prefix=dict(img='train'), **coco))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
default_hooks = dict(checkpoint=dict(interval=1))
"""
MASK_RCNN = """
_base_ = '{configs}/demo/proxy_mask_rcnn_toy.py'
data = '{data}/coco'
ann_file = data + '/annotations/instances.json'
classes = ('cat', 'dog')
dataset = dict(data_root='', metainfo=dict(classes=classes), data_prefix=dict(img=data + '/train'))
model = dict(
    backbone=dict(base_channels=8),
    neck=dict(in_channels=[8, 16, 32, 64]),
    roi_head=dict(bbox_head=dict(num_classes=2), mask_head=dict(num_classes=2)),
)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dict(dataset, ann_file=ann_file))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=ann_file)
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1)
default_hooks = dict(checkpoint=dict(interval=1))
"""


@dataclass
class Done:
    """What a call left: exit code, stdout and stderr."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def ablate(run, monkeypatch):
    """Call the tool in this process, in the folder `cwd`."""
    monkeypatch.setenv('OMP_NUM_THREADS', '1')

    def ablate(*arguments, cwd=None):
        if cwd is not None:
            monkeypatch.chdir(cwd)
        return Done(*run(*arguments))

    return ablate


def cells(line):
    return [cell.strip() for cell in line.strip('|\n ').split('|')]


def printed_rows(text):
    """The cells of the rows of the Markdown table."""
    lines = [line for line in text.splitlines() if line.startswith('| ')]
    return [cells(line) for line in lines[2:]]


@pytest.fixture(scope='module')
def bases(data_root, tmp_path_factory):
    """A set of one's own: tiny networks on the tiny data."""
    folder = tmp_path_factory.mktemp('bases') / 'tiny'
    folder.mkdir()
    names = dict(configs=Path(config_path('ablations/tables.json')).parents[1], data=data_root)
    (folder / 'boxcaseg.py').write_text(BOXCASEG.format(**names))
    (folder / 'mask_rcnn.py').write_text(MASK_RCNN.format(**names))
    return folder


@pytest.mark.parametrize('table', TABLES)
def test_tables_are_whole(table):
    table = TABLES[table]
    for row in table['rows']:
        assert len(row['cells']) == len(table['columns'])
        assert len(row['paper']) == len(table['metrics'])
        for kind in ('boxcaseg', 'proxies', 'mask_rcnn'):
            assert kind not in row or Path(config_path(row[kind])).is_file()
    keys = [row['key'] for row in table['rows']]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize('name', TABLES)
def test_every_row_is_documented(name):
    """configs/README.md has the command of each row, the README of its table its figures."""
    configs = Path(config_path('ablations/tables.json')).parents[1]
    index = (configs / 'README.md').read_text()
    folder = 'baselines' if name in ('1', '2') else 'ablations'
    text = (configs / folder / 'README.md').read_text()
    text = text.partition(f'\n## Table {name}: ')[2].partition('\n## ')[0]
    table = TABLES[name]
    for row in table['rows']:
        command = f'`python tools/ablate.py {name} --rows {row["key"]}`'
        assert command in index
        keys = (f'| `{row["key"]}` |', f'{command.replace("python ", "")} |')
        line = next(line for line in text.splitlines() if any(key in line for key in keys))
        for figure, metric in zip(row['paper'], table['metrics'].values(), strict=True):
            digits = 2 if metric == 'drop_rate' else 1
            assert figure is None or f'{figure:.{digits}f}' in line
        for kind in ('boxcaseg', 'mask_rcnn'):
            assert kind not in row or f'{Path(row[kind]).name})' in line
        for key, value in row.get('set', {}).items():
            if isinstance(value, str | float) and not key.endswith('.type'):
                assert f'`{key.rsplit(".", 1)[-1]}={value}' in line


def subcommands(printed):
    """Of the printed commands, in one process or several."""
    return re.findall(r' -m mmboxcaseg ([a-z-]+) ', printed)


def test_dry_run_prints_commands_and_the_papers_figures(tmp_path, ablate):
    done = ablate('7', '--dry-run', '--gpus', '2', '--rows', 'voc_plain', 'voc_merge', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    commands = [line.split() for line in done.stdout.splitlines() if ' -m ' in line]
    refined = ['train', 'generate', 'refine']
    assert subcommands(done.stdout) == [*refined, 'train', 'test', 'train', 'test']
    assert '--nproc_per_node=2' in commands[0]
    assert commands[0][-2:] == ['--launcher', 'pytorch']
    assert all('--auto-scale-lr' in command for command in (commands[0], commands[3]))
    assert commands[2][-1] == '--no-merge'
    assert printed_rows(done.stdout) == [
        ['PASCAL', '', '', '39.6', '-', '67.5', '-', '41.3', '-'],
        ['PASCAL', 'x', '', '40.2', '-', '67.6', '-', '42.1', '-'],
    ]
    assert not list(tmp_path.iterdir())


def test_runs_a_row_once(bases, tmp_path, ablate):
    arguments = ('8', '--set', bases, '--rows', '0.75', '--work-dir', tmp_path)
    done = ablate(*arguments)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / 'tiny' / 'tiny_boxcaseg'
    proxies = load_proxies(folder / 'proxy.json').values()
    agreement = np.array([proxy.box_agreement for proxy in proxies])
    metrics = json.loads(
        (folder / 'tiny_mask_rcnn_min_agreement-0.75' / 'metrics.json').read_text()
    )
    rows = printed_rows(done.stdout)
    drop_rate = (agreement <= 0.75).mean()
    ap = 100 * metrics['coco/segm_mAP']
    assert rows == [['0.75', '0.27', f'{drop_rate:.2f}', '30.2', f'{ap:.1f}']]
    assert printed_rows((tmp_path / 'tiny' / 'table8.md').read_text()) == rows

    # A second call runs nothing; one with another base is refused.
    again = ablate(*arguments)
    assert again.returncode == 0, again.stderr
    assert '== ' not in again.stdout
    assert printed_rows(again.stdout) == rows
    base = bases / 'boxcaseg.py'
    base.write_text(base.read_text().replace('alpha = 0.7', 'alpha = 0.6'))
    other = ablate(*arguments)
    assert other.returncode == 2
    assert f'{folder} holds a training with another config' in other.stderr


@pytest.mark.parametrize(
    ('drop', 'rate'),
    [
        # By the file's numbers, and by inclusive boxes: 100 / 121, 16 / 25 and 0.
        (dict(min_agreement=0.8), 1 / 3),
        (dict(min_agreement=0.8, inclusive_boxes=True), 2 / 3),
        (dict(min_agreement=0.9, inclusive_boxes=True), 1),
    ],
)
def test_drop_rate_is_that_of_the_training(drop, rate, tmp_path):
    annotations = []
    for id_, (side, drawn) in enumerate([(10, 10), (4, 4), (6, 0)], start=1):
        mask = np.zeros((20, 20), bool)
        mask[:drawn, :drawn] = True
        annotations.append(
            dict(
                id=id_,
                image_id=1,
                category_id=1,
                bbox=[0, 0, side, side],
                segmentation=encode_rle(mask),
                box_agreement=float(drawn > 0),
            )
        )
    image = dict(id=1, file_name='a.png', width=20, height=20)
    coco = dict(images=[image], categories=[dict(id=1, name='cat')], annotations=annotations)
    (tmp_path / 'proxy.json').write_text(json.dumps(coco))
    ablate = runpy.run_path(str(TOOL))
    pipeline = [dict(type='mmboxcaseg.DropProxyMasks', **drop)]
    config = Config(dict(train_dataloader=dict(dataset=dict(pipeline=pipeline))))
    training = ablate['Training'](config, tmp_path)
    row = ablate['Row']('x', [], [], proxy_file=tmp_path / 'proxy.json', mask_rcnn=training)
    assert row.figure('drop_rate') == pytest.approx(rate)


def test_baseline_masks_need_no_training(tmp_path, ablate):
    done = ablate('1', '--dry-run', '--rows', 'filled-box', cwd=tmp_path)
    assert subcommands(done.stdout) == ['baseline-masks', 'refine', 'train', 'test']
    assert '--source box' in done.stdout


def test_masks_of_a_detector(tmp_path, ablate):
    done = ablate('1', '--dry-run', '--rows', 'bbam', cwd=tmp_path)
    assert subcommands(done.stdout) == ['train', 'detector-masks', 'refine', 'train', 'test']
    train, masks, refine, *_ = (line.split() for line in done.stdout.splitlines() if ' -m ' in line)
    # What the first writes the second reads; what that writes the third reads.
    detector = train[train.index('--work-dir') + 1]
    config, checkpoint = masks[4:6]
    assert config == f'{detector}.py' and checkpoint == f'{detector}/iter_45000.pth'
    assert masks[masks.index('--source') + 1] == 'bbam'
    boxes = masks[masks.index('--ann') + 1]
    assert boxes == refine[4] == 'data/voc_sbd/annotations/instances_train.json'
    assert masks[masks.index('--images') + 1] == 'data/voc_sbd/images'
    assert masks[masks.index('--out') + 1] == refine[5]
    assert refine[-1] == '--no-merge'


@pytest.mark.parametrize(
    ('metrics', 'shown'),
    [
        # What proxy masks are made from: the fused map, or else the weak one.
        ({'weak/mIoU': 0.5, 'fused/mIoU': 0.6, 'salient/mIoU': 0.7}, '60.0'),
        ({'weak/mIoU': 0.5}, '50.0'),
        ({'fused/mIoU': -1.0}, '-'),
        ({}, '-'),
    ],
)
def test_figures_of_a_row(metrics, shown, bases, tmp_path, ablate):
    work_dir = tmp_path / 'tiny' / 'tiny_boxcaseg'
    work_dir.mkdir(parents=True)
    (work_dir / 'metrics.json').write_text(json.dumps(metrics))
    arguments = ('4', '--set', bases, '--rows', 'all', '--work-dir', tmp_path, '--dry-run')
    assert printed_rows(ablate(*arguments).stdout)[0][4] == shown


def test_iterations_are_scaled_to_the_same_images():
    fit_schedule = runpy.run_path(str(TOOL))['fit_schedule']
    config = Config.fromfile(config_path('proxy_mask_rcnn/r101_fpn_voc.py'))
    # The paper's: 22,500 iterations with 2 x 3 images, the rate lowered after 15,000.
    fit_schedule(config, 2)
    assert config.train_cfg.max_iters == 22500
    fit_schedule(config, 1)
    assert config.train_cfg.max_iters == 45000
    assert config.param_scheduler[1].milestones == [30000]
    assert config.default_hooks.checkpoint.interval == 5000
    config = Config.fromfile(config_path('boxcaseg/hrnet_w48_voc.py'))
    fit_schedule(config, 1)
    assert config.train_cfg.max_epochs == 40


def test_a_row_sets_what_its_base_does_not_have(bases, tmp_path, ablate):
    """A row's folder is named by what it changes, and is its base's where it changes nothing."""
    for name in ('boxcaseg.py', 'mask_rcnn.py'):
        text = (bases / name).read_text().replace('alpha=alpha', 'alpha=0.25')
        (tmp_path / name).write_text(text)
    for row, work_dir in (('0.7', 'alpha-0.7'), ('0.0', 'salient_head-None')):
        done = ablate('6', '--set', '.', '--rows', row, '--dry-run', cwd=tmp_path)
        folder = f'work_dirs/ablations/{tmp_path.name}/{tmp_path.name}_boxcaseg'
        assert f'{folder}_{work_dir}.py' in done.stdout
    done = ablate('4', '--set', '.', '--rows', 'all', '--dry-run', cwd=tmp_path)
    assert f'{folder}.py' in done.stdout
    with (tmp_path / 'boxcaseg.py').open('a') as file:
        file.write("model['weak_head'] = model['transferred_head'] = None\n")
    done = ablate('4', '--set', '.', '--rows', 'all', '--dry-run', cwd=tmp_path)
    assert done.returncode == 2
    assert 'model.weak_head.type=' in done.stderr and 'does not fit in' in done.stderr


def test_a_row_shares_its_boxcaseg(ablate, tmp_path):
    """Of a row with both networks the BoxCaseg that is scored makes the masks."""
    done = ablate('3', '--dry-run', '--rows', '100', cwd=tmp_path)
    commands = [line for line in done.stdout.splitlines() if ' -m ' in line]
    assert subcommands(done.stdout) == ['train', 'test', 'generate', 'train', 'test']
    assert all('ann_file-salient_100.txt' in line for line in commands)
    assert 'ann_file-salient_100.txt/proxy_mask_rcnn_r101_fpn_voc.py' in commands[-1]


def test_resumes_a_training(bases, tmp_path, ablate):
    work_dir = tmp_path / 'tiny' / 'tiny_boxcaseg'
    work_dir.mkdir(parents=True)
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_0.pth'))
    arguments = ('4', '--set', bases, '--rows', 'all', '--work-dir', tmp_path, '--dry-run')
    assert '--resume' in ablate(*arguments).stdout
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    assert subcommands(ablate(*arguments).stdout) == ['test']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['6', '--rows', '0.2'], "table 6 has no row '0.2', only 0.0, 0.3"),
        (
            ['5', '--set', 'mini'],
            "table 5 has the paper's set only, tables 4, 6, 8, fuse have others",
        ),
        (['4', '--set', 'nowhere'], 'nowhere/boxcaseg.py'),
        (['4', '--gpus', '0'], '--gpus must be a whole number of at least 1, not 0'),
        (['4'], 'cannot read data/voc_sbd/annotations/instances_train.json'),
    ],
)
def test_bad_input_ends_in_a_sentence(arguments, message, tmp_path, ablate):
    done = ablate(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_failing_tool_is_named(bases, tmp_path, ablate):
    base = (bases / 'boxcaseg.py').read_text()
    folder = tmp_path / 'broken'
    folder.mkdir()
    (folder / 'boxcaseg.py').write_text(base.replace('in_channels=60', 'in_channels=61'))
    (folder / 'mask_rcnn.py').write_text((bases / 'mask_rcnn.py').read_text())
    done = ablate('4', '--set', folder, '--rows', 'all', '--work-dir', tmp_path / 'work')
    assert done.returncode == 2
    assert 'broken_boxcaseg: train ended with' in done.stderr
