import sys

import pytest
from mmengine.config import Config

from mmboxcaseg.engine.steps import Step, Training, launch, remaining_time
from mmboxcaseg.errors import InputError


def writing(path, text='x'):
    """A command that writes a file."""
    code = 'import sys; open(sys.argv[1], "w").write(sys.argv[2])'
    return [sys.executable, '-c', code, str(path), text]


def test_a_step_is_done_when_its_output_is_there(tmp_path):
    output = tmp_path / 'new' / 'out.json'
    step = Step('masks', writing(output), output)
    assert not step.done
    step.run()
    assert step.done and output.read_text() == 'x'
    # What a killed process left of it is nothing.
    output.write_text('')
    assert not step.done


def test_a_training_is_done_when_its_last_checkpoint_is_named(tmp_path):
    output = tmp_path / 'last_checkpoint'
    step = Step('train', [], output, 'epoch_2.pth')
    for text, done in (
        ('a/epoch_1.pth', False),
        ('a/epoch_2.pth\n', True),
        ('epoch_22.pth', False),
    ):
        output.write_text(text)
        assert step.done == done


def test_a_step_that_fails_is_told(tmp_path):
    command = [sys.executable, '-c', 'raise SystemExit(3)']
    with pytest.raises(InputError, match=f'^{tmp_path}: masks ended with 3, see above: mend that'):
        Step('masks', command, tmp_path / 'out.json').run()


def test_with_a_log_the_screen_has_the_remaining_time_alone(tmp_path, monkeypatch, capfd):
    log, more = tmp_path / 'logs' / 'step.log', tmp_path / 'more'
    code = f"""
import pathlib, time
print('predict: 5/10 [00:03<00:04', flush=True)
while not pathlib.Path({str(more)!r}).exists():
    time.sleep(0.01)
raise SystemExit(3)"""
    step = Step('masks', [sys.executable, '-c', code], tmp_path / 'out.json')
    monkeypatch.setattr('mmboxcaseg.engine.steps._PAUSE', 0.005)
    shown = []

    def see(text, **_):
        shown.append(text)
        if '00:04' in text:
            more.touch()

    monkeypatch.setattr('builtins.print', see)
    with pytest.raises(InputError, match=f'masks ended with 3, see {log}: mend'):
        step.run(log)
    assert log.read_text() == 'predict: 5/10 [00:03<00:04\n'
    assert capfd.readouterr() == ('', '')
    assert any(text.endswith(' s, to go: 00:04') for text in shown)


@pytest.mark.parametrize(
    ('log', 'expected'),
    [
        ('Epoch(train) [1][10/38]  eta: 0:05:29  time: 0.7\n', '0:05:29'),
        ('eta: 0:05:29\n\rpredict:  50%|##   | 5/10 [00:03<00:04,  1.2it/s]', '00:04'),
        (
            'Epoch(train) [1][1/9]  eta: 0:05:29  \nEpoch(train) [1][2/9]  eta: 0:05:01  \n',
            '0:05:01',
        ),
        ('loading setuptools<81\n', '?'),
        ('Epoch(train) [1][1/9]  eta: 0:05:29  \nEpoch(val) [1][5/9]    eta: 0:00:02\n', '0:05:29'),
    ],
)
def test_remaining_time_is_the_last_one_logged(tmp_path, log, expected):
    path = tmp_path / 'train.log'
    path.write_text('x' * 5000 + log)
    assert remaining_time(path) == expected


def test_a_folder_has_one_call_at_a_time(tmp_path, held_elsewhere):
    step = Step('masks', writing(tmp_path / 'out.json'), tmp_path / 'out.json')
    with held_elsewhere(tmp_path / '.lock'):
        with pytest.raises(InputError, match=f'another call is at work on {tmp_path}: wait'):
            step.run()
    assert not step.done
    step.run()
    assert step.done


@pytest.fixture
def training(tmp_path):
    config = Config(dict(train_cfg=dict(max_epochs=3), lr=0.1))
    return Training(config, tmp_path / 'a.b')


def test_where_things_of_a_training_lie(training, tmp_path):
    # Not in the work dir, and a dot in its name is not a suffix.
    assert training.config_file == tmp_path / 'a.b.py'
    assert training.checkpoint == tmp_path / 'a.b/epoch_3.pth'
    assert training.metrics == tmp_path / 'a.b/metrics.json'
    training.config.train_cfg = dict(max_iters=40)
    assert training.checkpoint == tmp_path / 'a.b/iter_40.pth'


def test_a_config_is_laid_down_once(training):
    training.write_config()
    assert Config.fromfile(training.config_file).lr == 0.1
    training.write_config()
    training.config.lr = 0.2
    with pytest.raises(InputError, match=r'a\.b holds a training with another config: remove it'):
        training.write_config()
    assert Config.fromfile(training.config_file).lr == 0.1


def test_calls_of_a_training(training):
    config, folder = str(training.config_file), str(training.work_dir)
    step = training.train(1, '--amp')
    assert step.command[3:] == ['train', config, '--work-dir', folder, '--amp']
    assert step.output == training.work_dir / 'last_checkpoint' and step.last == 'epoch_3.pth'
    training.work_dir.mkdir()
    step.output.write_text('epoch_1.pth')
    assert training.train(2).command[-3:] == ['--resume', '--launcher', 'pytorch']

    step = training.test(1, '--tta')
    out = str(training.metrics)
    checkpoint = str(training.checkpoint)
    call = ['test', config, checkpoint, '--work-dir', folder, '--out', out, '--tta']
    assert step.command[3:] == call and step.output == training.metrics and not step.last


def test_launch(tmp_path):
    assert launch('refine', [tmp_path, 'b'], 1) == [
        *(sys.executable, '-m', 'mmboxcaseg', 'refine', str(tmp_path), 'b')
    ]
    assert launch('train', ['a'], 3) == [
        *(sys.executable, '-m', 'mmboxcaseg.engine.launch', '--nproc_per_node=3'),
        *('-m', 'mmboxcaseg', 'train', 'a', '--launcher', 'pytorch'),
    ]
