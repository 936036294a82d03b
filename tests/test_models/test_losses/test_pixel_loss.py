import math

import pytest
import torch

from mmboxcaseg.errors import InputError
from mmboxcaseg.models.losses import PixelLoss

FUSIONS = ('logit', 'prob')
ALPHAS = (0, 0.3, 0.7, 1)


def fused(salient, transferred, alpha, fuse):
    if fuse == 'logit':
        return 1 / (1 + torch.exp(-(alpha * salient + (1 - alpha) * transferred)))
    return alpha / (1 + torch.exp(-salient)) + (1 - alpha) / (1 + torch.exp(-transferred))


def brute_force(salient, transferred, target, alpha, fuse):
    """Eq. 3, a pixel at a time."""
    losses = []
    pixels = zip(salient.flatten(), transferred.flatten(), target.flatten().tolist(), strict=True)
    for l_a, l_t, m in pixels:
        s = fused(l_a, l_t, alpha, fuse)
        losses.append(-m * s.log() - (1 - m) * (1 - s).log())
    return sum(losses) / len(losses)


@pytest.mark.parametrize('fuse', FUSIONS)
@pytest.mark.parametrize('alpha', ALPHAS)
def test_loss_and_gradients_equal_brute_force(alpha, fuse):
    logits = 3 * torch.randn(2, 2, 1, 4, 5, dtype=torch.float64)
    salient, transferred = logits.requires_grad_()
    target = torch.randint(0, 2, (2, 1, 4, 5), dtype=torch.uint8)
    loss = PixelLoss(fuse)(salient, transferred, target, alpha)
    expected = brute_force(salient, transferred, target, alpha, fuse)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    gradient = torch.autograd.grad(loss, logits, retain_graph=True)[0]
    expected_gradient = torch.autograd.grad(expected, logits)[0]
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize('fuse', FUSIONS)
@pytest.mark.parametrize('alpha', ALPHAS)
def test_fused_map_is_the_one_of_the_loss(alpha, fuse):
    salient, transferred = torch.randn(2, 1, 1, 3, 3)
    probs = PixelLoss(fuse).fuse_probs(salient, transferred, alpha)
    torch.testing.assert_close(probs, fused(salient, transferred, alpha, fuse))


def test_hand_values():
    salient = torch.full((1, 1, 1, 1), math.log(3))  # probability 3/4
    transferred = torch.zeros(1, 1, 1, 1)  # probability 1/2
    target = torch.ones(1, 1, 1, 1)
    prob = PixelLoss('prob')(salient, transferred, target, 0.6)
    assert prob.item() == pytest.approx(-math.log(0.6 * 0.75 + 0.4 * 0.5))
    logit = PixelLoss('logit')(salient, transferred, target, 0.5)
    assert logit.item() == pytest.approx(-math.log(math.sqrt(3) / (1 + math.sqrt(3))))


@pytest.mark.parametrize('fuse', FUSIONS)
@pytest.mark.parametrize('alpha', ALPHAS)
@pytest.mark.parametrize('value', [-1e4, 1e4])
def test_extreme_logits_stay_finite(value, alpha, fuse):
    salient, transferred = torch.full((2, 1, 1, 2, 2), value).requires_grad_()
    target = torch.tensor([[0, 1], [1, 0]])[None, None]
    loss = PixelLoss(fuse)(salient, transferred, target, alpha)
    gradients = torch.autograd.grad(loss, (salient, transferred))
    assert loss.item() == pytest.approx(1e4 / 2, rel=1e-5)
    # Wrong pixels are still pulled back, however sure the network is.
    assert all(g.isfinite().all() for g in gradients)
    assert sum(g.abs().max() for g in gradients) > 0


@pytest.mark.parametrize('fuse', FUSIONS)
def test_autocast_computes_in_single_precision(fuse):
    salient, transferred = torch.randn(2, 1, 1, 6, 6).bfloat16()
    target = torch.randint(0, 2, (1, 1, 6, 6))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = PixelLoss(fuse)(salient, transferred, target, 0.7)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, PixelLoss(fuse)(salient.float(), transferred.float(), target, 0.7))


def brute_force_dice(salient, transferred, target, alpha, fuse):
    """One minus soft dice, a patch and a pixel at a time."""
    losses = []
    for l_a, l_t, mask in zip(salient, transferred, target, strict=True):
        pixels = zip(l_a.flatten(), l_t.flatten(), mask.flatten().tolist(), strict=True)
        probs = [(fused(a, t, alpha, fuse), m) for a, t, m in pixels]
        common = sum(p * m for p, m in probs)
        losses.append(1 - (2 * common + 1) / (sum(p + m for p, m in probs) + 1))
    return sum(losses) / len(losses)


@pytest.mark.parametrize('fuse', FUSIONS)
@pytest.mark.parametrize('alpha', ALPHAS)
def test_dice_and_its_gradient_equal_brute_force(alpha, fuse):
    logits = 3 * torch.randn(2, 3, 1, 4, 5, dtype=torch.float64)
    salient, transferred = logits.requires_grad_()
    target = torch.randint(0, 2, (3, 1, 4, 5), dtype=torch.uint8)
    target[0] = 0
    loss = PixelLoss(fuse, dice_weight=0.7)(salient, transferred, target, alpha)
    expected = brute_force(salient, transferred, target, alpha, fuse)
    expected = expected + 0.7 * brute_force_dice(salient, transferred, target, alpha, fuse)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    gradient = torch.autograd.grad(loss, logits, retain_graph=True)[0]
    expected_gradient = torch.autograd.grad(expected, logits)[0]
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-6)


def test_hand_values_of_the_dice():
    logits = torch.tensor([[20.0, 20, -20, -20]]).view(1, 1, 2, 2)
    target = torch.tensor([[1, 0], [0, 0]]).view(1, 1, 2, 2)
    plain = PixelLoss()(logits, logits, target, 0.5).item()
    dice = PixelLoss(dice_weight=1)(logits, logits, target, 0.5).item() - plain
    assert dice == pytest.approx(1 - (2 * 1 + 1) / (2 + 1 + 1), abs=1e-6)


@pytest.mark.parametrize('alpha', ALPHAS)
@pytest.mark.parametrize('fuse', FUSIONS)
def test_fused_logits_are_those_of_the_fused_map(fuse, alpha):
    salient, transferred = torch.randn(2, 1, 1, 3, 3, dtype=torch.float64)
    logits = PixelLoss(fuse).fuse_logits(salient, transferred, alpha)
    torch.testing.assert_close(logits.sigmoid(), fused(salient, transferred, alpha, fuse))
    # Where the probability is 1 in floating point, its logit still is not infinite.
    far = torch.full((1,), 100.0)
    torch.testing.assert_close(PixelLoss(fuse).fuse_logits(far, far, alpha), far)


def test_unknown_fusion_is_refused():
    with pytest.raises(InputError, match="'logit' or 'prob'"):
        PixelLoss('logits')
