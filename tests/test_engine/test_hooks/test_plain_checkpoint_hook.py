import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmboxcaseg.engine.hooks import PlainCheckpointHook


@pytest.fixture
def checkpoint():
    return dict(
        meta=dict(epoch=1, dataset_meta=dict(classes=('cat',))),
        state_dict=dict(weight=torch.ones(2)),
        message_hub=dict(
            log_scalars=dict(loss=HistoryBuffer([0.1, 1 / 3], [1, 4], max_length=9)),
            runtime_info=dict(best=np.float64(0.5)),
            resumed_keys=dict(loss=True),
        ),
        param_schedulers=[dict(last_lr=[np.float32(0.25)])],
    )


def test_loads_where_nothing_is_allowed(checkpoint, tmp_path, trusts_nothing):
    path = tmp_path / 'epoch_1.pth'
    torch.save(checkpoint, path)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path)
    PlainCheckpointHook().before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, path)
    assert not torch.serialization.get_unsafe_globals_in_checkpoint(path)
    loaded = torch.load(path, weights_only=True)
    assert loaded['state_dict']['weight'].tolist() == [1, 1]
    assert loaded['meta'] == dict(epoch=1, dataset_meta=dict(classes=('cat',)))
    assert loaded['param_schedulers'] == [dict(last_lr=[0.25])]


def test_the_history_goes_on_as_it_was(checkpoint):
    before = checkpoint['message_hub']['log_scalars']['loss']
    hook = PlainCheckpointHook()
    hook.before_save_checkpoint(None, checkpoint)
    hook.after_load_checkpoint(None, checkpoint)
    after = checkpoint['message_hub']['log_scalars']['loss']
    assert isinstance(after, HistoryBuffer)
    for own, other in zip(after.data, before.data, strict=True):
        assert own.dtype == other.dtype and own.tolist() == other.tolist()
    after.update(2.0)
    assert after.mean(1) == 2 and after.max_length == 9
    # Those of other programs, and weights alone, load as they are.
    old = dict(message_hub=dict(log_scalars=dict(loss=before)))
    hook.after_load_checkpoint(None, old)
    assert old['message_hub']['log_scalars']['loss'] is before
    hook.after_load_checkpoint(None, dict(state_dict={}))
