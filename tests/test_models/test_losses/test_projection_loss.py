import itertools
import math

import pytest
import torch

from mmboxcaseg.errors import InputError
from mmboxcaseg.models.losses import ProjectionAffinityLoss, affinity_loss, projection_loss

HEIGHT, WIDTH = 5, 6
BBOXES = [
    [1.0, 1.0, 4.0, 3.0],
    [0.0, 0.0, WIDTH, HEIGHT],
    [0.4, 1.7, 4.2, 3.1],
    [2.2, 3.3, 2.6, 3.9],
]


def meets(bbox, row, column):
    x1, y1, x2, y2 = bbox
    return min(row + 1, y2) > max(row, y1) and min(column + 1, x2) > max(column, x1)


def brute_force_projection(probs, bboxes):
    losses = []
    for patch, bbox in zip(probs[:, 0], bboxes, strict=True):
        height, width = patch.shape
        met = [[meets(bbox, r, c) for c in range(width)] for r in range(height)]
        rows = [(max(patch[r]), any(met[r])) for r in range(height)]
        columns = [(max(patch[:, c]), any(met[r][c] for r in range(height))) for c in range(width)]
        for line in (rows, columns):
            common = sum(p * m for p, m in line)
            squares = sum(p**2 for p, _ in line) + sum(m for _, m in line)
            losses.append(1 - 2 * common / squares)
    return sum(losses) / len(probs)


def brute_force_affinity(logits, bboxes, images, max_distance, dilation):
    losses = []
    for patch, bbox, image in zip(logits[:, 0].sigmoid(), bboxes, images, strict=True):
        height, width = patch.shape
        pixels = list(itertools.product(range(height), range(width)))
        for (r1, c1), (r2, c2) in itertools.combinations(pixels, 2):
            if {abs(r1 - r2), abs(c1 - c2)} - {0, dilation}:
                continue
            if math.dist(image[:, r1, c1], image[:, r2, c2]) > max_distance:
                continue
            if meets(bbox, r1, c1) or meets(bbox, r2, c2):
                p, q = patch[r1, c1], patch[r2, c2]
                losses.append(-(p * q + (1 - p) * (1 - q)).log())
    return sum(losses) / len(losses)


def random_input(count, channels=3):
    logits = 3 * torch.randn(count, 1, HEIGHT, WIDTH, dtype=torch.float64)
    images = torch.randn(count, channels, HEIGHT, WIDTH, dtype=torch.float64)
    return logits.requires_grad_(), images


def assert_equal(loss, expected, logits):
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-5)
    gradient = torch.autograd.grad(loss, logits, retain_graph=True)[0]
    expected_gradient = torch.autograd.grad(expected, logits, retain_graph=True)[0]
    assert expected_gradient.abs().max() > 0
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-5)


@pytest.mark.parametrize('bboxes', [*([bbox] for bbox in BBOXES), BBOXES])
def test_projection_equals_brute_force(bboxes):
    logits, _ = random_input(len(bboxes))
    probs = logits.sigmoid()
    expected = brute_force_projection(probs, bboxes)
    assert_equal(projection_loss(probs, torch.tensor(bboxes)), expected, logits)


@pytest.mark.parametrize('dilation', [1, 2])
@pytest.mark.parametrize('bboxes', [*([bbox] for bbox in BBOXES), BBOXES])
def test_affinity_equals_brute_force(bboxes, dilation):
    logits, images = random_input(len(bboxes))
    loss = affinity_loss(logits, torch.tensor(bboxes), images, 2.5, dilation)
    expected = brute_force_affinity(logits, bboxes, images, 2.5, dilation)
    assert_equal(loss, expected, logits)


def test_hand_values_of_the_projection():
    # Rows and columns that hold the object: 2 of 3 each, shadows 1, 1, 0 and 0.5, 1, 0.
    probs = torch.tensor([[0.5, 1.0, 0], [0, 1, 0], [0, 0, 0]])[None, None]
    bboxes = torch.tensor([[0.0, 0, 2, 2]])
    by_row, by_column = 1 - 2 * 2 / (2 + 2), 1 - 2 * 1.5 / (1.25 + 2)
    loss = projection_loss(probs, bboxes).item()
    assert loss == pytest.approx(by_row + by_column, abs=1e-5)


def test_a_perfect_shadow_costs_nothing():
    probs = torch.zeros(1, 1, 4, 5)
    probs[0, 0, [1, 2, 2], [1, 2, 3]] = 1
    assert projection_loss(probs, torch.tensor([[1.0, 1, 4, 3]])).item() == pytest.approx(
        0, abs=1e-5
    )


def test_hand_values_of_the_affinity():
    logits = torch.full((1, 1, 1, 4), math.log(3))  # probability 3/4
    images = torch.tensor([0.0, 1.0, 2.0, 4.0]).view(1, 1, 1, 4)
    # Pairs of a distance of at most 1 with an end in the box: 0-1 and 1-2.
    loss = affinity_loss(logits, torch.tensor([[1.0, 0, 2, 1]]), images, 1.0, 1)
    assert loss.item() == pytest.approx(-math.log(9 / 16 + 1 / 16))
    # One end is enough, the other way round too; 2-3 is too far in colour.
    logits[..., 3] = 9
    loss = affinity_loss(logits, torch.tensor([[3.0, 0, 4, 1]]), images, 1.0, 1)
    assert loss.item() == 0


@pytest.mark.parametrize('dilation', [6, 7])
def test_no_pair_costs_nothing(dilation):
    logits, images = random_input(1)
    loss = affinity_loss(logits, torch.tensor([BBOXES[1]]), images, 100.0, dilation)
    assert loss.item() == 0


def test_weights_stride_and_the_boxes_scale():
    logits = torch.randn(2, 1, 8, 12, dtype=torch.float64)
    images = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    bboxes = torch.tensor([[2.0, 2, 8, 6], [1, 0, 12, 3]])
    loss = ProjectionAffinityLoss(
        projection_weight=2, affinity_weight=3, max_distance=1.5, dilation=1, stride=2
    )
    losses = loss(logits, bboxes, images)
    expected = brute_force_projection(logits.sigmoid(), bboxes.tolist())
    assert losses['loss_projection'].item() == pytest.approx(2 * expected.item(), abs=1e-5)
    small = [
        maps.unflatten(3, (6, 2)).unflatten(2, (4, 2)).mean((3, 5)) for maps in (logits, images)
    ]
    expected = brute_force_affinity(small[0], (bboxes / 2).tolist(), small[1], 1.5, 1)
    assert losses['loss_affinity'].item() == pytest.approx(3 * expected.item())


def test_a_side_that_the_stride_does_not_divide():
    losses = ProjectionAffinityLoss(stride=2)(
        torch.randn(1, 1, 7, 9), torch.tensor([[0.0, 0, 9, 7]]), torch.zeros(1, 3, 7, 9)
    )
    assert all(value.isfinite() and value > 0 for value in losses.values())


@pytest.mark.parametrize('value', [-1e4, 1e4])
@pytest.mark.parametrize('bbox', [[2.0, 2, 6, 6], [0, 0, 8, 8], [0, 0, 0, 0]])
def test_extreme_logits_and_empty_boxes_stay_finite(value, bbox):
    logits = torch.full((1, 1, 8, 8), value)
    logits[..., 4] *= -1
    logits.requires_grad_()
    loss = sum(
        ProjectionAffinityLoss()(logits, torch.tensor([bbox]), torch.zeros(1, 3, 8, 8)).values()
    )
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_autocast_computes_in_single_precision():
    logits = torch.randn(2, 1, 6, 6).bfloat16()
    images = torch.randn(2, 3, 6, 6)
    bboxes = torch.tensor([[1.0, 1, 4, 4], [0, 0, 6, 6]])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = ProjectionAffinityLoss()(logits, bboxes, images)
    expected = ProjectionAffinityLoss()(logits.float(), bboxes, images)
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        assert torch.equal(loss, expected[name])


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        (dict(stride=0), 'stride must be a whole number'),
        (dict(dilation=1.5), 'dilation must be a whole number'),
        (dict(max_distance=-0.1), 'max_distance must be at least 0'),
    ],
)
def test_settings_out_of_range(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        ProjectionAffinityLoss(**settings)
