import pytest
import torch

from mmboxcaseg.models import WeightTransfer


@pytest.mark.parametrize('shape', [(5, 6, 1, 1), (1, 6, 1, 1), (4, 2, 3, 1)])
def test_shapes_are_kept(shape):
    weight, bias = WeightTransfer(6)(torch.randn(shape), torch.randn(shape[0]))
    assert weight.shape == shape
    assert bias.shape == shape[:1]


def test_each_output_channel_goes_through_the_mlp():
    transfer = WeightTransfer(6, expansion=3, negative_slope=0.1)
    source = torch.randn(4, 6, 1, 1)
    weight, _ = transfer(source, torch.zeros(4))
    for channel in range(4):
        hidden = transfer.fc1.weight @ source[channel].flatten() + transfer.fc1.bias
        assert hidden.shape == (18,)
        hidden = torch.where(hidden > 0, hidden, 0.1 * hidden)
        expected = transfer.fc2.weight @ hidden + transfer.fc2.bias
        torch.testing.assert_close(weight[channel].flatten(), expected)


def test_bias_is_carried_over_by_scale_and_shift():
    transfer = WeightTransfer(2)
    bias = torch.tensor([1.0, -2.0])
    assert transfer(torch.zeros(2, 2, 1, 1), bias)[1].tolist() == [1, -2]
    with torch.no_grad():
        transfer.k.fill_(3)
        transfer.b.fill_(0.5)
    assert transfer(torch.zeros(2, 2, 1, 1), bias)[1].tolist() == [3.5, -5.5]


def test_no_gradient_reaches_the_source():
    transfer = WeightTransfer(6)
    source = torch.randn(4, 6, 1, 1, requires_grad=True)
    source_bias = torch.randn(4, requires_grad=True)
    weight, bias = transfer(source, source_bias)
    (weight.square().sum() + bias.square().sum()).backward()
    assert source.grad is None
    assert source_bias.grad is None
    for name, parameter in transfer.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_initialisation():
    transfer = WeightTransfer(60)
    for layer in (transfer.fc1, transfer.fc2):
        assert layer.weight.mean().abs() < 1e-3
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert layer.bias.abs().max() == 0
    assert (transfer.k.item(), transfer.b.item()) == (1, 0)
