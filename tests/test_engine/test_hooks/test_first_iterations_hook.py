import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import LoggerHook
from mmengine.model import BaseModel
from torch.utils.data import Dataset

from mmboxcaseg.engine.config import build_runner
from mmboxcaseg.engine.hooks import FirstIterationsHook


class Numbers(Dataset):
    metainfo = {}

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return dict(inputs=torch.zeros(1))


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.weight.sum())


@pytest.fixture
def logged(tmp_path, quiet_runner, caplog):
    """Train for two epochs; returns the (epoch, iteration) of the lines of the log."""

    def run(length, interval):
        config = Config(
            dict(
                model=Model(),
                work_dir=str(tmp_path),
                train_dataloader=dict(
                    batch_size=1,
                    num_workers=0,
                    dataset=Numbers(length),
                    sampler=dict(type='DefaultSampler', shuffle=False),
                ),
                train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                default_hooks=dict(
                    logger=dict(type='LoggerHook', interval=interval), checkpoint=None
                ),
                experiment_name=f'{tmp_path.name}_{length}_{interval}',
            )
        )
        build_runner(config, 'train').train()
        log = next(tmp_path.glob('*/*.log')).read_text()
        lines = re.findall(r'Epoch\(train\) +\[(\d+)\]\[ *(\d+)/\d+\](.*)', log)
        assert all('eta: ' in rest and 'loss: ' in rest for *_, rest in lines)
        return [(int(epoch), int(iteration)) for epoch, iteration, _ in lines]

    return run


def test_first_iterations_are_logged_until_the_logger_does(logged):
    first = [(1, 1), (1, 2), (1, 5), (1, 10), (1, 20)]
    assert logged(60, interval=40) == [*first, (1, 40), (2, 40)]


def test_no_line_stands_twice(logged):
    # The logger itself logs every iteration, or the last one of a short epoch.
    assert logged(3, interval=1) == [(epoch, i) for epoch in (1, 2) for i in (1, 2, 3)]


def test_short_epochs(logged):
    # Iterations 1 to 3 are the first epoch's; the fifth of the run is the second's.
    assert logged(3, interval=50) == [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3)]


def test_first_iterations_of_a_validation():
    """The last iteration too: in a validation the logger itself does not log it."""
    lines = []
    runner = SimpleNamespace(
        hooks=[LoggerHook(interval=50)],
        val_dataloader=range(5),
        logger=SimpleNamespace(info=lines.append),
        log_processor=SimpleNamespace(
            get_log_after_iter=lambda runner, batch_idx, mode: ({}, f'{mode} {batch_idx + 1}')
        ),
    )
    hook = FirstIterationsHook()
    for _ in range(2):
        for batch_idx in range(5):
            hook.after_val_iter(runner, batch_idx)
    assert lines == ['val 1', 'val 2', 'val 5', 'val 5']
