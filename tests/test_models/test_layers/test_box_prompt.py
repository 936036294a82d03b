import copy

import numpy as np
import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import load_checkpoint
from torch import nn

from mmboxcaseg.errors import InputError
from mmboxcaseg.models.layers import BoxPrompt, other_boxes_maps, widen_stem
from mmboxcaseg.registry import MODELS

RESNET = dict(type='ResNet', depth=18, base_channels=4, norm_eval=False)


def build(wide: bool, **changes):
    network = MODELS.build({**RESNET, **changes})
    if wide:
        widen_stem(network, 1)
    network.eval()
    return network


def other_boxes_map(own, others, *size):
    drawn = other_boxes_maps(own[None], [others], *size)
    # In one tensor, filled up with boxes without area, as graphs have them.
    padded = torch.cat([others, torch.zeros(2, 4, dtype=others.dtype)])[None]
    for filled_up in (padded, others[None]):
        torch.testing.assert_close(other_boxes_maps(own[None], filled_up, *size), drawn)
    return drawn[0, 0]


class TestOtherBoxesMaps:
    @pytest.mark.parametrize(
        ('others', 'expected'),
        [
            ([], [[0, 0, 0, 0], [0, 0, 0, 0]]),
            # Own area 6, as large: a half.
            ([[1, 0, 4, 2]], [[0, 1 / 2, 1 / 2, 1 / 2], [0, 1 / 2, 1 / 2, 1 / 2]]),
            # Area 2: 6 / 8; it leaves the patch by half of its area, which counts all the same.
            ([[3, 1, 5, 2]], [[0, 0, 0, 0], [0, 0, 0, 3 / 4]]),
            # Half of a pixel, a quarter of one; area 1.5: 6 / 7.5.
            ([[0, 0, 1, 1.5]], [[4 / 5, 0, 0, 0], [2 / 5, 0, 0, 0]]),
            ([[0, 0, 0.5, 0.5]], [[6 / 6.25 / 4, 0, 0, 0], [0, 0, 0, 0]]),
            # The smaller one stands where two lie, in any order.
            ([[1, 0, 4, 2], [3, 1, 5, 2]], [[0, 1 / 2, 1 / 2, 1 / 2], [0, 1 / 2, 1 / 2, 3 / 4]]),
            ([[3, 1, 5, 2], [1, 0, 4, 2]], [[0, 1 / 2, 1 / 2, 1 / 2], [0, 1 / 2, 1 / 2, 3 / 4]]),
            # Beside the patch, and none at all.
            ([[4, 0, 6, 2], [-3, 0, 0, 2], [0, 2, 4, 5]], [[0, 0, 0, 0], [0, 0, 0, 0]]),
            ([[1, 1, 1, 1]], [[0, 0, 0, 0], [0, 0, 0, 0]]),
        ],
    )
    def test_by_hand(self, others, expected):
        others = torch.tensor(others, dtype=torch.float32).view(-1, 4)
        drawn = other_boxes_map(torch.tensor([0.0, 0, 3, 2]), others, 2, 4)
        torch.testing.assert_close(drawn, torch.tensor(expected, dtype=torch.float32))

    def test_patches_of_a_batch_keep_their_own(self):
        bboxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 2, 1], [0, 0, 1, 1]])
        one, two = [[1.0, 0, 2, 1]], [[0.0, 0, 1, 1], [1, 0, 3, 1]]
        others = [torch.tensor(boxes).view(-1, 4) for boxes in (one, two, [])]
        drawn = other_boxes_maps(bboxes, others, 1, 3)
        assert drawn.shape == (3, 1, 1, 3)
        expected = [[0, 1 / 2, 0], [2 / 3, 1 / 2, 1 / 2], [0, 0, 0]]
        torch.testing.assert_close(drawn[:, 0, 0], torch.tensor(expected))

    def test_boxes_without_area(self):
        nothing = torch.zeros(4)
        for others in (torch.zeros(1, 4), torch.tensor([[0.0, 0, 2, 2]])):
            assert not other_boxes_map(nothing, others, 2, 2).any()

    def test_many_at_random(self):
        rng = np.random.default_rng(0)
        size = (7, 9)
        corners = rng.uniform(-4, 12, (30, 2, 2))
        others = np.sort(corners, axis=1).reshape(-1, 4)
        expected = np.zeros(size)
        for x1, y1, x2, y2 in others:
            value = 17.5 / (17.5 + (x2 - x1) * (y2 - y1))
            for y, x in np.ndindex(size):
                width = max(min(x2, x + 1) - max(x1, x), 0)
                height = max(min(y2, y + 1) - max(y1, y), 0)
                expected[y, x] = max(expected[y, x], value * width * height)
        own = torch.tensor([1, 2, 6, 5.5], dtype=torch.float64)
        drawn = other_boxes_map(own, torch.from_numpy(others), *size)
        np.testing.assert_allclose(drawn.numpy(), expected, atol=1e-12)


class TestBoxPrompt:
    bboxes = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 1]])
    others = (torch.tensor([[2.0, 0, 4, 2], [0, 0, 1, 1]]), torch.zeros(0, 4))

    def test_own_comes_before_others(self):
        prompt = MODELS.build(dict(type='mmboxcaseg.BoxPrompt', own=True, others=True))
        assert prompt.channels == 2
        assert prompt((2, 4), self.bboxes, self.others).tolist() == [
            [[[1, 1, 0, 0], [1, 1, 0, 0]], [[f(4 / 5), 0, 0.5, 0.5], [0, 0, 0.5, 0.5]]],
            [[[0, 1, 1, 0], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]]],
        ]

    def test_each_alone(self):
        both = BoxPrompt(others=True)((2, 4), self.bboxes, self.others)
        own, others = BoxPrompt(), BoxPrompt(own=False, others=True)
        assert own.channels == others.channels == 1
        assert torch.equal(own((2, 4), self.bboxes), both[:, :1])
        assert torch.equal(others((2, 4), self.bboxes, self.others), both[:, 1:])
        # Nobody says where other boxes are.
        assert not others((2, 4), self.bboxes).any()

    def test_own_boxes_that_may_lie_beside_their_object(self):
        prompt = BoxPrompt(others=True, loose=True)
        trusted = BoxPrompt(others=True)((2, 4), self.bboxes, self.others)
        drawn = prompt((2, 4), self.bboxes, self.others, torch.tensor([False, True]))
        assert torch.equal(drawn[0], trusted[0])
        assert drawn[1].tolist() == [[[0, 0.5, 0.5, 0], [0, 0, 0, 0]], [[0] * 4, [0] * 4]]
        assert torch.equal(prompt((2, 4), self.bboxes, self.others), trusted)
        # A prompt that does not tell them apart.
        loose = torch.tensor([True, True])
        assert torch.equal(BoxPrompt()((2, 4), self.bboxes, loose=loose), trusted[:, :1])
        with pytest.raises(InputError, match='add own=True'):
            BoxPrompt(own=False, others=True, loose=True)

    def test_half_precision_holds_the_edges(self):
        bboxes = torch.tensor([[0.0, 0, 300.5, 1]])
        with torch.autocast('cpu', dtype=torch.bfloat16):
            maps = BoxPrompt(others=True)((1, 302), bboxes, [bboxes])
        assert maps.dtype == torch.float32
        assert maps[0, :, 0, 299:].tolist() == [[1, 0.5, 0], [0.5, 0.25, 0]]

    def test_has_no_weights(self):
        assert not BoxPrompt(others=True).state_dict()

    def test_neither(self):
        with pytest.raises(InputError, match='draws own or others or both'):
            BoxPrompt(own=False)


def f(value):
    """As float32 has it."""
    return float(np.float32(value))


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


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_prompts_are_drawn_in_single_precision(dtype):
    bboxes = torch.tensor([[3.3, 5.7, 201.1, 150.6]]).to(dtype)
    others = [torch.tensor([[100.9, 33.2, 260.4, 190.8]]).to(dtype)]
    prompt = BoxPrompt(others=True)
    drawn = prompt((224, 288), bboxes, others)
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, prompt((224, 288), bboxes.float(), [others[0].float()]))
