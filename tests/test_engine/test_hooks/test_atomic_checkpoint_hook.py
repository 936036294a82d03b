import os
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner, find_latest_checkpoint
from torch import nn

from mmboxcaseg.engine.checkpoint import load_checkpoint_file


class Scalar(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, inputs, mode):
        return dict(loss=self.weight.sum()) if mode == 'loss' else inputs


class Rising(BaseMetric):
    default_prefix = 'rising'

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        self.score = getattr(self, 'score', 0) + 1
        return dict(score=self.score)


def make_runner(work_dir, **hook):
    loader = dict(
        batch_size=1,
        dataset=[dict(inputs=torch.zeros(1))],
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
    )
    return Runner(
        Scalar(),
        str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        val_evaluator=[Rising()],
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1.0)),
        train_cfg=dict(by_epoch=True, max_epochs=4),
        default_hooks=dict(checkpoint=dict(type='mmboxcaseg.AtomicCheckpointHook', **hook)),
        experiment_name=str(work_dir),
        log_level='ERROR',
    )


def saved(work_dir):
    return {path.name for path in work_dir.iterdir() if path.is_file()} - {'last_checkpoint'}


@pytest.mark.parametrize('keep', [1, 2, -1])
def test_keeps_what_the_stock_hook_keeps(keep, tmp_path):
    make_runner(
        tmp_path, interval=1, max_keep_ckpts=keep, save_best='rising/score', rule='greater'
    ).train()
    kept = {'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth', 'epoch_4.pth'}
    if keep > 0:
        kept = set(sorted(kept)[-keep:])
    names = {name for name in saved(tmp_path) if not name.endswith('.py')}
    assert names == kept | {'best_rising_score_epoch_4.pth'}
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_4.pth')
    checkpoint = load_checkpoint_file(tmp_path / 'epoch_4.pth')
    assert checkpoint['state_dict']['weight'].item() == -4
    assert checkpoint['message_hub']['runtime_info']['best_score'] == 4


class Killed(BaseException):
    pass


@pytest.mark.parametrize('number', range(6))
def test_killed_at_any_write_it_can_be_resumed(number, tmp_path, monkeypatch):
    # Two files a checkpoint, the checkpoint and last_checkpoint: cut off at the number-th.
    calls = iter(range(100))

    def fsync(descriptor):
        if next(calls) == number:
            os.ftruncate(descriptor, 1)
            raise Killed

    monkeypatch.setattr(os, 'fsync', fsync)
    with pytest.raises(Killed):
        make_runner(tmp_path, interval=1, max_keep_ckpts=1).train()
    latest = find_latest_checkpoint(tmp_path)
    if number < 2:
        assert latest is None
    else:
        assert Path(latest).name == f'epoch_{number // 2}.pth'
        assert load_checkpoint_file(latest)['meta']['epoch'] == number // 2
