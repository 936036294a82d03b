import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch import tensor

from mmboxcaseg import config_path
from mmboxcaseg.models.roi_heads.shapeprop import EPS, ShapePropMaskHead, propagate
from mmboxcaseg.registry import MODELS

HEAD = dict(in_channels=4, conv_out_channels=6, num_convs=2, num_classes=3, latent_dim=2)


@pytest.fixture
def head():
    torch.manual_seed(0)
    return ShapePropMaskHead(**HEAD, class_agnostic=True)


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def brute_force(grid, weights):
    """One channel: each pixel the weighted mean of the nine, as many times as the longer side."""
    height, width = len(grid), len(grid[0])
    for _ in range(max(height, width)):
        after = [[0.0] * width for _ in range(height)]
        for r in range(height):
            for c in range(width):
                total = EPS
                for place in range(9):
                    i, j = r + place // 3 - 1, c + place % 3 - 1
                    total += weights[place][r][c]
                    if 0 <= i < height and 0 <= j < width:
                        after[r][c] += weights[place][r][c] * grid[i][j]
                after[r][c] /= total
        grid = after
    return grid


@pytest.mark.parametrize('size', [(3, 5), (4, 2), (1, 1)])
def test_propagation_equals_brute_force(size):
    embedding, weights = random(2, 3, *size), random(2, 27, *size, seed=1).sigmoid()
    found = propagate(embedding, weights)
    for roi in range(2):
        for channel in range(3):
            of_channel = weights[roi, 9 * channel : 9 * channel + 9].tolist()
            expected = brute_force(embedding[roi, channel].tolist(), of_channel)
            torch.testing.assert_close(found[roi, channel], tensor(expected).double())


def test_a_message_crosses_the_grid_and_turns():
    """From the corner down the first column, then along the last row; elsewhere pixels stay."""
    weights = torch.zeros(9, 3, 3)
    weights[1, 1:, 0] = 1  # from above
    weights[3, 2, 1:] = 1  # from the left
    weights[4] = (weights.sum(dim=0) == 0).float()
    grid = torch.zeros(3, 3)
    grid[0, 0] = 1
    found = propagate(grid[None, None], weights[None])[0, 0]
    # Three steps: (2, 2) is four pixels away.
    assert found.round(decimals=3).tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 0]]


def test_activating_loss_by_hand(head):
    """Means over the map of three classes and the ground, then a softmax."""
    maps = tensor([[[1.0, 3], [0, 0], [-2, 2], [1, 1]], [[0, 0], [4, -2], [0, 0], [2, 4]]])
    head.activating.forward = lambda x: x
    found = head.loss_activating(maps.unsqueeze(2), tensor([0, 3]))
    first = 2 - math.log(math.exp(2) + 1 + 1 + math.exp(1))
    second = 3 - math.log(1 + math.exp(1) + 1 + math.exp(3))
    assert found.item() == pytest.approx(-(first + second) / 2)


def test_shape_is_made_from_the_likeliest_class(head):
    """Of classes by their means, whatever the ground's; messages by sigmoid weights."""
    maps = torch.zeros(2, 4, 2, 2)
    maps[0, 1] = tensor([[1.0, 0], [0, 2]])
    maps[0, 2, 0, 0] = 2.5  # the highest pixel, but a lower mean
    maps[1, 0], maps[1, 3] = tensor([[1.0, 1], [0, 0]]), 5
    weights = random(2, 9, 2, 2).float()
    head.activating.forward, head.propagating.forward = (lambda x: maps), (lambda x: weights)
    head.encoder.forward, head.decoder.forward = (lambda x: 3 * x), (lambda x: x + 1)
    found = head.shape_activation(torch.zeros(2, 4, 2, 2))
    saliency = torch.stack([maps[0, 1], maps[1, 0]]).unsqueeze(1)
    for roi in range(2):
        of_roi = weights[roi].sigmoid().tolist()
        expected = brute_force((3 * saliency[roi, 0]).tolist(), of_roi)
        torch.testing.assert_close(found[roi, 0], tensor(expected) + 1)


def test_prior_is_the_positive_part_over_its_maximum(head):
    given = []
    head.shape_encoder.forward = lambda x: given.append(x) or x.expand(-1, 4, -1, -1)
    shape = tensor([[[[-1.0, 2], [4, 0]]], [[[-1, -2], [-3, -4]]]])
    head(torch.zeros(2, 4, 2, 2), shape)
    expected = tensor([[[[0, 0.5], [1, 0]]], [[[0, 0], [0, 0]]]])
    torch.testing.assert_close(given[0], expected, atol=1e-5, rtol=0)


def test_prior_is_beside_the_features(head):
    """The mask is a function of both."""
    x, shape = torch.rand(1, 4, 3, 3, requires_grad=True), torch.rand(1, 1, 3, 3)
    shape.requires_grad_()
    masks = head(x, shape)
    assert masks.shape == (1, 1, 6, 6)
    for grad in torch.autograd.grad(masks.sum(), [x, shape]):
        assert grad.any()


def test_classes_have_masks_of_their_own():
    head = ShapePropMaskHead(**HEAD)
    x = torch.rand(2, 4, 3, 3)
    assert head(x, head.shape_activation(x)).shape == (2, 3, 6, 6)
    assert head(x[:0], head.shape_activation(x[:0])).shape == (0, 3, 6, 6)


def test_boxes_of_objects_and_of_ground_teach_saliency():
    """The label of each RoI goes with its features, over two images."""
    cfg = Config.fromfile(config_path('baselines/shapeprop_r50_fpn_voc.py')).model.roi_head
    cfg.mask_head.update(in_channels=4, conv_out_channels=4)
    head = MODELS.build(cfg | dict(train_cfg=None, test_cfg=None))
    called = {}
    head._mask_features = lambda x, rois: rois
    head.mask_head.loss_activating = lambda x, labels: called.update(rois=x, labels=labels)
    priors = torch.arange(24.0).view(6, 4)
    results = [
        SimpleNamespace(priors=priors[:3], neg_priors=priors[1:3], pos_gt_labels=tensor([7])),
        SimpleNamespace(priors=priors[3:], neg_priors=priors[5:], pos_gt_labels=tensor([3, 0])),
    ]
    assert head.mask_loss((), results, None, [])['loss_mask'].keys() == {'loss_activating'}
    assert called['labels'].tolist() == [7, 20, 20, 3, 0, 20]
    assert called['rois'][:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(called['rois'][:, 1:], priors)
