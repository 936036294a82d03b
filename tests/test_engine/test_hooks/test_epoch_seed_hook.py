import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmboxcaseg.engine.checkpoint import allow_checkpoint_types
from mmboxcaseg.engine.hooks import EpochSeedHook, seed_worker
from mmboxcaseg.engine.hooks import epoch_seed_hook as module


class FakeRunner:
    def __init__(self, seed, epoch):
        self.seed = seed
        self.epoch = epoch


def draws(seed=0, epoch=0, rank=0, monkeypatch=None):
    monkeypatch.setattr(module, 'get_rank', lambda: rank)
    EpochSeedHook().before_train_epoch(FakeRunner(seed, epoch))
    return random.random(), np.random.rand(), torch.rand(()).item()


@pytest.mark.parametrize('other', [dict(seed=1), dict(epoch=1), dict(rank=1)])
def test_seed_epoch_and_rank_decide(monkeypatch, other):
    first = draws(monkeypatch=monkeypatch)
    assert draws(monkeypatch=monkeypatch) == first
    assert all(a != b for a, b in zip(draws(**other, monkeypatch=monkeypatch), first, strict=True))


def test_worker_seeds_all_generators_from_that_of_torch():
    drawn = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        seed_worker(0)
        drawn.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert drawn[0] == drawn[1]
    assert all(a != b for a, b in zip(drawn[0], drawn[2], strict=True))


@pytest.fixture
def train(box_caseg_cfg, train_dataset_cfg, quiet_runner):
    """Train the tiny network; returns its weights."""

    def run(work_dir, epochs, resume=False, seed=0):
        cfg = Config(
            dict(
                model=box_caseg_cfg(),
                work_dir=str(work_dir),
                train_dataloader=dict(
                    batch_size=4,
                    num_workers=1,
                    persistent_workers=False,
                    worker_init_fn=dict(type='mmboxcaseg.seed_worker'),
                    sampler=dict(type='mmboxcaseg.RatioSampler', batch_size=4, ratio=(1, 1)),
                    dataset=train_dataset_cfg,
                ),
                train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs),
                optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
                default_hooks=dict(logger=None, checkpoint=dict(type='CheckpointHook')),
                custom_hooks=[dict(type='mmboxcaseg.EpochSeedHook')],
                default_scope='mmdet',
                randomness=dict(seed=seed),
                experiment_name=f'{work_dir.name}_{epochs}',
                log_level='ERROR',
                resume=resume,
            )
        )
        runner = Runner.from_cfg(cfg)
        runner.train()
        return runner.model.state_dict()

    return run


def test_resumed_training_ends_with_the_same_weights(train, tmp_path):
    allow_checkpoint_types()
    straight = train(tmp_path / 'straight', 2)
    first = train(tmp_path / 'resumed', 1)
    resumed = train(tmp_path / 'resumed', 2, resume=True)
    assert any(not torch.equal(first[key], straight[key]) for key in straight)
    for key, value in straight.items():
        assert torch.equal(resumed[key], value), key


def test_seed_decides_the_weights(train, tmp_path):
    first, again, other = (
        train(tmp_path / name, 1, seed=seed) for name, seed in (('a', 3), ('b', 3), ('c', 4))
    )
    assert all(torch.equal(again[key], value) for key, value in first.items())
    assert not all(torch.equal(other[key], value) for key, value in first.items())
