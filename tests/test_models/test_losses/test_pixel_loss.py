import math

import pytest
import torch

from mmboxcaseg.models.layers import fuse_logits
from mmboxcaseg.models.losses import PixelLoss

FUSIONS = ('logit', 'prob')
ALPHAS = (0, 0.3, 0.7, 1)


def fused(salient, transferred, alpha, fuse):
    if fuse == 'logit':
        return 1 / (1 + torch.exp(-(alpha * salient + (1 - alpha) * transferred)))
    return alpha / (1 + torch.exp(-salient)) + (1 - alpha) / (1 + torch.exp(-transferred))


def brute_force(probs, target):
    """Eq. 3, a pixel at a time."""
    losses = []
    for s, m in zip(probs.flatten(), target.flatten().tolist(), strict=True):
        losses.append(-m * s.log() - (1 - m) * (1 - s).log())
    return sum(losses) / len(losses)


@pytest.mark.parametrize('fuse', FUSIONS)
@pytest.mark.parametrize('alpha', ALPHAS)
def test_loss_and_gradients_equal_brute_force(alpha, fuse):
    logits = 3 * torch.randn(2, 2, 1, 4, 5, dtype=torch.float64)
    salient, transferred = logits.requires_grad_()
    target = torch.randint(0, 2, (2, 1, 4, 5), dtype=torch.uint8)
    loss = PixelLoss()(fuse_logits(salient, transferred, alpha, fuse), target)
    expected = brute_force(fused(salient, transferred, alpha, fuse), target)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    gradient = torch.autograd.grad(loss, logits, retain_graph=True)[0]
    expected_gradient = torch.autograd.grad(expected, logits)[0]
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-6)


def test_hand_values():
    salient = torch.full((1, 1, 1, 1), math.log(3))  # probability 3/4
    transferred = torch.zeros(1, 1, 1, 1)  # probability 1/2
    target = torch.ones(1, 1, 1, 1)
    prob = PixelLoss()(fuse_logits(salient, transferred, 0.6, 'prob'), target)
    assert prob.item() == pytest.approx(-math.log(0.6 * 0.75 + 0.4 * 0.5))
    logit = PixelLoss()(fuse_logits(salient, transferred, 0.5, 'logit'), target)
    assert logit.item() == pytest.approx(-math.log(math.sqrt(3) / (1 + math.sqrt(3))))


@pytest.mark.parametrize('fuse', FUSIONS)
@pytest.mark.parametrize('alpha', ALPHAS)
@pytest.mark.parametrize('value', [-1e4, 1e4])
def test_extreme_logits_stay_finite(value, alpha, fuse):
    salient, transferred = torch.full((2, 1, 1, 2, 2), value).requires_grad_()
    target = torch.tensor([[0, 1], [1, 0]])[None, None]
    loss = PixelLoss()(fuse_logits(salient, transferred, alpha, fuse), target)
    gradients = torch.autograd.grad(loss, (salient, transferred))
    assert loss.item() == pytest.approx(1e4 / 2, rel=1e-5)
    # Wrong pixels are still pulled back, however sure the network is.
    assert all(g.isfinite().all() for g in gradients)
    assert sum(g.abs().max() for g in gradients) > 0


@pytest.mark.parametrize('dice_weight', [0, 1])
def test_autocast_computes_in_single_precision(dice_weight):
    logits = torch.randn(1, 1, 6, 6).bfloat16()
    target = torch.randint(0, 2, (1, 1, 6, 6))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = PixelLoss(dice_weight)(logits, target)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, PixelLoss(dice_weight)(logits.float(), target))


def brute_force_dice(probs, target):
    """One minus soft dice, a patch and a pixel at a time."""
    losses = []
    for patch, mask in zip(probs, target, strict=True):
        pixels = list(zip(patch.flatten(), mask.flatten().tolist(), strict=True))
        common = sum(p * m for p, m in pixels)
        losses.append(1 - (2 * common + 1) / (sum(p + m for p, m in pixels) + 1))
    return sum(losses) / len(losses)


def test_dice_and_its_gradient_equal_brute_force():
    logits = (3 * torch.randn(3, 1, 4, 5, dtype=torch.float64)).requires_grad_()
    target = torch.randint(0, 2, (3, 1, 4, 5), dtype=torch.uint8)
    target[0] = 0
    loss = PixelLoss(dice_weight=0.7)(logits, target)
    probs = 1 / (1 + torch.exp(-logits))
    expected = brute_force(probs, target) + 0.7 * brute_force_dice(probs, target)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-6)
    gradient = torch.autograd.grad(loss, logits, retain_graph=True)[0]
    expected_gradient = torch.autograd.grad(expected, logits)[0]
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-6)


def test_hand_values_of_the_dice():
    logits = torch.tensor([[20.0, 20, -20, -20]]).view(1, 1, 2, 2)
    target = torch.tensor([[1, 0], [0, 0]]).view(1, 1, 2, 2)
    dice = PixelLoss(dice_weight=1)(logits, target).item() - PixelLoss()(logits, target).item()
    assert dice == pytest.approx(1 - (2 * 1 + 1) / (2 + 1 + 1), abs=1e-6)
