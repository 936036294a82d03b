import itertools

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding

from mmboxcaseg.models.layers import SameConv2d


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('groups', [1, 4])
@pytest.mark.parametrize('dilation', [1, 2])
@pytest.mark.parametrize('stride', [1, 2, (2, 3)])
@pytest.mark.parametrize('kernel_size', [1, 2, 3, 5, (3, 5)])
def test_equals_mmcv(kernel_size, stride, dilation, groups, training):
    cfg = dict(stride=stride, padding=1, dilation=dilation, groups=groups)
    conv = SameConv2d(4, 8, kernel_size, **cfg)
    reference = Conv2dAdaptivePadding(4, 8, kernel_size, **cfg)
    reference.load_state_dict(conv.state_dict())
    for height, width in itertools.product((1, 2, 7, 8), (1, 5, 6)):
        x = torch.randn(2, 4, height, width)
        with torch.set_grad_enabled(training):
            out = conv(x)
        torch.testing.assert_close(out, reference(x), rtol=1e-5, atol=1e-6)


def test_uneven_padding_copies_no_input_in_inference(monkeypatch):
    padded = []
    pad = F.pad
    monkeypatch.setattr(F, 'pad', lambda x, *rest: padded.append(x.shape) or pad(x, *rest))
    conv = SameConv2d(4, 4, 3, stride=2, groups=4)
    x = torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        conv(x)
    assert padded == [conv.weight.shape]
    conv(x)
    assert padded[1:] == [x.shape]


@pytest.mark.parametrize(
    ('side', 'expected'),
    [
        # The kernel sums three pixels. TensorFlow pads the end first: 0 1 2 3 4 (0).
        (4, [1 + 2 + 3, 3 + 4]),
        (5, [1 + 2, 2 + 3 + 4, 4 + 5]),
    ],
)
def test_hand_values(side, expected):
    conv = SameConv2d(1, 1, (1, 3), stride=(1, 2), bias=False)
    torch.nn.init.ones_(conv.weight)
    x = torch.arange(1.0, side + 1).view(1, 1, 1, side)
    assert conv(x).flatten().tolist() == expected


def test_is_built_by_mmcv():
    module = ConvModule(
        3, 6, 3, padding=1, conv_cfg=dict(type='mmboxcaseg.SameConv2d'), act_cfg=None
    )
    assert type(module.conv) is SameConv2d


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(('groups', 'dtype'), [(4, torch.float32), (1, torch.bfloat16)])
def test_depthwise_stays_in_single_precision_under_autocast(groups, dtype, training):
    conv = SameConv2d(4, 4, 3, stride=2, groups=groups)
    x = torch.randn(1, 4, 6, 6)
    with torch.set_grad_enabled(training), torch.autocast('cpu', dtype=torch.bfloat16):
        out = conv(x)
        of_half = conv(x.bfloat16())
    assert out.dtype == of_half.dtype == dtype
    if groups > 1:
        with torch.set_grad_enabled(training):
            assert torch.equal(out, conv(x))
            assert torch.equal(of_half, conv(x.bfloat16().float()))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_other_precisions_stay_as_they_are(dtype):
    conv = SameConv2d(4, 4, 3, groups=4).to(dtype)
    out = conv(torch.randn(1, 4, 6, 6, dtype=dtype))
    assert out.dtype == dtype
    assert out.shape == (1, 4, 6, 6)


def test_gradient_reaches_the_weights_and_the_input_under_autocast():
    conv = SameConv2d(2, 2, 3, stride=2, groups=2, bias=False)
    x = torch.randn(1, 2, 5, 6)
    plain, mixed = x.clone().requires_grad_(), x.clone().requires_grad_()
    conv(plain).square().sum().backward()
    weight = conv.weight.grad.clone()
    conv.zero_grad()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = conv(mixed).square().sum()
    loss.backward()
    torch.testing.assert_close(mixed.grad, plain.grad)
    torch.testing.assert_close(conv.weight.grad, weight)
    expected = F.conv2d(F.pad(x, (0, 1, 1, 1)), conv.weight, stride=2, groups=2)
    assert torch.equal(conv(x), expected)
