from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import BaseModel
from torch.utils.data import Dataset

from mmboxcaseg.engine.config import build_runner
from mmboxcaseg.engine.hooks import FiniteLossHook
from mmboxcaseg.errors import InputError


class Samples(Dataset):
    metainfo = {}

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        meta = dict(img_path=f'img/{index}\n.jpg', ann_id=10 + index)
        return dict(
            inputs=torch.tensor([self.values[index]]), data_samples=DetDataSample(metainfo=meta)
        )


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        scaled = self.weight * torch.stack(inputs)
        return dict(loss_a=self.weight.sum(), loss_b=[scaled.mean(), scaled.max()], acc=1 / scaled)


def train(tmp_path, values):
    model = Model()
    loader = dict(
        batch_size=2,
        num_workers=0,
        dataset=Samples(values),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    config = dict(
        model=model,
        work_dir=str(tmp_path),
        train_dataloader=loader,
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(checkpoint=None),
        experiment_name=str(tmp_path.name),
    )
    runner = build_runner(Config(config), 'train')
    runner.train()
    return runner


@pytest.mark.parametrize(('value', 'shown'), [(float('nan'), 'nan'), (float('inf'), 'inf')])
def test_the_run_ends_before_the_weights_are_touched(
    tmp_path, quiet_runner, monkeypatch, value, shown
):
    weights = []
    step = torch.optim.SGD.step

    def spy(self, *args):
        step(self, *args)
        weights.append(self.param_groups[0]['params'][0].item())

    monkeypatch.setattr(torch.optim.SGD, 'step', spy)
    with pytest.raises(InputError) as error:
        train(tmp_path, [1.0, 1.0, 2.0, value, 1.0, 1.0])
    sentence = str(error.value)
    assert f'loss_b is {shown} in iteration 2 of {tmp_path}, before which' in sentence
    assert (
        r'look at the samples img/2\n.jpg (annotation 12), img/3\n.jpg (annotation 13), '
        in sentence
    )
    # 1 less a tenth of the gradient: of the sum 1, of mean and maximum 1 each.
    assert weights == pytest.approx([0.7])


def test_other_outputs_may_be_infinite(tmp_path, quiet_runner):
    runner = train(tmp_path, [0.0, 1.0])  # acc is not a loss
    assert not runner.model._forward_hooks


def test_predictions_are_not_looked_at():
    model = Model()
    hook = FiniteLossHook()
    hook.before_train(SimpleNamespace(model=model))
    model.forward = lambda: [float('nan')]
    assert len(model()) == 1
