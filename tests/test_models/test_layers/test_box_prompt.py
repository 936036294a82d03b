import copy

import numpy as np
import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import load_checkpoint
from torch import nn

from mmboxcaseg.errors import InputError
from mmboxcaseg.models.layers import box_maps, widen_stem
from mmboxcaseg.registry import MODELS

RESNET = dict(type='ResNet', depth=18, base_channels=4, norm_eval=False)


def build(wide: bool, **changes):
    network = MODELS.build({**RESNET, **changes})
    if wide:
        widen_stem(network, 1)
    network.eval()
    return network


class TestBoxMaps:
    def test_by_hand(self):
        bboxes = torch.tensor([[1.0, 0, 3, 2], [0.25, 1.5, 1.5, 4]])
        maps = box_maps(bboxes, 3, 4)
        assert maps.tolist() == [
            [[[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]],
            [[[0, 0, 0, 0], [0.375, 0.25, 0, 0], [0.75, 0.5, 0, 0]]],
        ]

    def test_sum_is_the_area(self):
        corners = np.sort(np.random.rand(20, 2, 2) * [12, 9], axis=1)
        bboxes = torch.from_numpy(corners.reshape(20, 4))
        sums = box_maps(bboxes, 9, 12).sum((1, 2, 3)).numpy()
        np.testing.assert_allclose(sums, np.diff(corners, axis=1).prod((1, 2)))

    @pytest.mark.parametrize('bbox', [[2, 2, 2, 2], [-5, 0, 0, 3], [4, 0, 9, 3]])
    def test_boxes_without_a_pixel(self, bbox):
        assert not box_maps(torch.tensor([bbox], dtype=torch.float32), 3, 4).any()


@pytest.fixture
def resnets():
    """A backbone and its like with a widened stem, of other random weights."""
    plain, wide = build(wide=False), build(wide=True)
    assert wide.conv1.weight.shape[1] == wide.conv1.in_channels == 4
    return plain, wide


def assert_same_network(plain, wide):
    inputs = torch.randn(2, 4, 64, 64)
    for own, other in zip(plain(inputs[:, :3]), wide(inputs), strict=True):
        torch.testing.assert_close(own, other)


class TestWidenStem:
    def test_weights_that_are_there_stay(self):
        network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 2, 1))
        before = network[0].weight.clone()
        widen_stem(network, 2)
        assert network[0].weight.shape == (5, 5, 3, 3)
        assert torch.equal(network[0].weight[:, :3], before)
        assert not network[0].weight[:, 3:].any()
        assert network[0].weight.requires_grad

    def test_weights_for_images(self, resnets, tmp_path):
        plain, wide = resnets
        weights = plain.state_dict()
        shapes = {key: value.shape for key, value in weights.items()}
        wide.load_state_dict(weights)
        assert_same_network(plain, wide)
        # What was loaded is left as it was.
        assert shapes == {key: value.shape for key, value in weights.items()}

        torch.save(weights, tmp_path / 'plain.pth')
        init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'plain.pth'))
        pretrained = build(wide=True, init_cfg=init_cfg)
        pretrained.init_weights()
        assert_same_network(plain, pretrained)

    def test_weights_for_image_and_prompt(self, resnets, tmp_path):
        _, wide = resnets
        nn.init.normal_(wide.conv1.weight)
        torch.save(dict(state_dict=wide.state_dict()), tmp_path / 'wide.pth')
        other = build(wide=True)
        load_checkpoint(other, str(tmp_path / 'wide.pth'), strict=True)
        assert torch.equal(other.conv1.weight, wide.conv1.weight)

    def test_copies_load_for_themselves(self, resnets):
        # EMAHook keeps a deep copy of the network and loads checkpoints into it.
        plain, wide = resnets
        for duplicate in (copy.deepcopy(wide), ExponentialMovingAverage(wide).module):
            before = wide.conv1.weight.clone()
            duplicate.load_state_dict(plain.state_dict())
            assert_same_network(plain, duplicate)
            assert torch.equal(wide.conv1.weight, before)

    def test_whole_networks_are_saved(self, resnets, tmp_path):
        plain, wide = resnets
        torch.save(wide, tmp_path / 'wide.pth')
        loaded = torch.load(tmp_path / 'wide.pth', weights_only=False)
        loaded.load_state_dict(plain.state_dict())
        assert_same_network(plain, loaded)

    @pytest.mark.parametrize(
        ('network', 'count'),
        [
            (nn.Sequential(nn.Conv2d(1, 4, 3)), 0),
            (nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 4, 3)), 2),
        ],
    )
    def test_stem_that_is_not_clear(self, network, count):
        with pytest.raises(InputError, match=f'Sequential has {count} convolutions that take'):
            widen_stem(network, 1)
