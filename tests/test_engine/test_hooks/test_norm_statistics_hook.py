from types import SimpleNamespace

import torch
from torch import nn

from mmboxcaseg.engine.hooks import KeepNormStatisticsHook


def test_norms_keep_their_statistics_and_learn():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.Dropout(0.5)))
    model[1].running_mean.fill_(2)
    model.train()
    KeepNormStatisticsHook().before_train_iter(SimpleNamespace(model=model), 0)
    model(torch.randn(2, 3, 5, 5)).sum().backward()
    assert (model[1].running_mean == 2).all() and (model[1].running_var == 1).all()
    assert model[1].weight.grad is not None
    # Nothing else is as in a test.
    assert model[0].training and model[2][0].training
