import torch
import torch.nn.functional as F

from mmboxcaseg.models import PatchHead, TransferredHead


def test_patch_head_is_conv_norm_relu_conv():
    head = PatchHead(4)
    assert head.conv1.bias is not None
    assert head.conv2.bias is not None
    x = torch.randn(2, 4, 3, 5)
    hidden = torch.einsum('oi,nihw->nohw', head.conv1.weight[:, :, 0, 0], x)
    hidden = hidden + head.conv1.bias[:, None, None]
    hidden = F.batch_norm(hidden, None, None, training=True, eps=head.norm.eps).clamp(min=0)
    expected = torch.einsum('oi,nihw->nohw', head.conv2.weight[:, :, 0, 0], hidden)
    expected = expected + head.conv2.bias[:, None, None]
    torch.testing.assert_close(head(x), expected)


def test_norm_cfg_reaches_both_heads():
    norm_cfg = dict(type='BN', momentum=0.25)
    for head in (PatchHead(4, norm_cfg), TransferredHead(4, norm_cfg)):
        assert head.norm.momentum == 0.25


class Identity(torch.nn.Module):
    def forward(self, weight, bias):
        return weight, bias


def test_transferred_head_has_the_architecture_of_the_weak_head():
    weak, transferred = PatchHead(4), TransferredHead(4)
    transferred.transfer1 = transferred.transfer2 = Identity()
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(transferred(x, weak), weak(x))


def test_transferred_head_has_a_norm_of_its_own():
    weak, transferred = PatchHead(4), TransferredHead(4)
    before = weak.norm.running_mean.clone()
    transferred(torch.randn(2, 4, 3, 3) + 1, weak)
    assert torch.equal(weak.norm.running_mean, before)
    assert transferred.norm.running_mean.abs().sum() > 0


def test_no_gradient_reaches_the_weak_head():
    weak, transferred = PatchHead(4), TransferredHead(4)
    x = torch.randn(2, 4, 3, 3, requires_grad=True)
    transferred(x, weak).square().sum().backward()
    assert all(parameter.grad is None for parameter in weak.parameters())
    assert x.grad.abs().sum() > 0
    for name, parameter in transferred.named_parameters():
        assert parameter.grad is not None, name
