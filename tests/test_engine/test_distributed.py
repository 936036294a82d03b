import pytest
from mmengine.config import Config

from mmboxcaseg.engine.distributed import is_first_process, replace_sync_bn, start_process
from mmboxcaseg.errors import InputError


def test_every_sync_bn_is_replaced():
    model = Config(
        dict(
            backbone=dict(norm_cfg=dict(type='SyncBN', momentum=0.01)),
            neck=dict(norm_cfg=dict(type='GN')),
            heads=[dict(norm_cfg=dict(type='mmcv.MMSyncBN'))],
            norm_cfg=None,
        )
    )
    assert replace_sync_bn(model._cfg_dict) == 2
    assert model.backbone.norm_cfg == dict(type='BN', momentum=0.01)
    assert model.neck.norm_cfg.type == 'GN'
    assert model.heads[0].norm_cfg.type == 'BN'


@pytest.mark.parametrize(
    ('environment', 'first'),
    [({}, True), ({'RANK': '0'}, True), ({'RANK': '1'}, False), ({'SLURM_PROCID': '3'}, False)],
)
def test_first_process(environment, first, monkeypatch):
    for name in ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == first


def test_one_process_stays_as_it_is():
    config = Config(dict(launcher='none', model=dict(norm_cfg=dict(type='SyncBN'))))
    start_process(config)
    assert config.model.norm_cfg.type == 'SyncBN'


def test_slurm_needs_gpus(monkeypatch):
    monkeypatch.setattr('mmboxcaseg.engine.distributed.get_device', lambda: 'cpu')
    with pytest.raises(InputError, match=r'launcher slurm needs GPUs'):
        start_process(Config(dict(launcher='slurm', model={})))
