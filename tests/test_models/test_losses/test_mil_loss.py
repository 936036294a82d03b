import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from mmboxcaseg.errors import InputError
from mmboxcaseg.models.losses import MILLoss, line_labels, mil_loss, smooth_loss

HEIGHT, WIDTH = 5, 6

BBOXES = {
    'inside': [1, 1, 4, 3],
    'touches top left': [0, 0, 3, 2],
    'touches bottom right': [3, 2, WIDTH, HEIGHT],
    'covers': [0, 0, WIDTH, HEIGHT],
    'one pixel': [2, 3, 3, 4],
    'one pixel in the corner': [WIDTH - 1, HEIGHT - 1, WIDTH, HEIGHT],
    'fractional': [0.4, 1.7, 4.2, 3.1],
    'within a pixel': [2.2, 3.3, 2.6, 3.9],
    'empty': [0, 0, 0, 0],
    'a line': [2, 0, 2, HEIGHT],
    'a line within pixels': [1.5, 1, 1.5, 4],
    'a flat line within pixels': [1, 1.5, 4, 1.5],
}

#: Those whose edges are pixel edges.
WHOLE = [name for name, bbox in BBOXES.items() if all(edge % 1 == 0 for edge in bbox)]


def brute_force(logits, bboxes, smooth_weight, reduction):
    """Eq. 1 and 2, a bag, a pixel and a neighbour at a time."""
    bags, pairs = [], []
    for patch, (x1, y1, x2, y2) in zip(logits[:, 0], bboxes.tolist(), strict=True):
        height, width = patch.shape
        probs = [[patch[r, c].sigmoid() for c in range(width)] for r in range(height)]
        rows = [(probs[r], (r, r + 1), (y1, y2)) for r in range(height)]
        columns = [([row[c] for row in probs], (c, c + 1), (x1, x2)) for c in range(width)]
        for bag, line, side in rows + columns:
            shared = min(line[1], side[1]) - max(line[0], side[0])
            positive = shared > 0 and (x2 - x1) * (y2 - y1) > 0
            score = max(bag)
            bags.append(-score.log() if positive else -(1 - score).log())
        for r, c in itertools.product(range(height), range(width)):
            for dr, dc in itertools.product((-1, 0, 1), repeat=2):
                inside = 0 <= r + dr < height and 0 <= c + dc < width
                if (dr, dc) != (0, 0) and inside:
                    pairs.append((probs[r][c] - probs[r + dr][c + dc]) ** 2)
    unary, smooth = sum(bags), sum(pairs)
    if reduction == 'mean':
        unary, smooth = unary / len(bags), smooth / len(pairs)
    return unary, smooth_weight * smooth


def released(logits, bboxes):
    """The release's two terms: lines of a map of the filled box, eight convolutions."""
    labels = torch.zeros_like(logits)
    for label, (x1, y1, x2, y2) in zip(labels[:, 0], bboxes.int().tolist(), strict=True):
        label[y1:y2, x1:x2] = 1
    bags, positive = [
        torch.cat([maps.amax(dim=3).flatten(), maps.amax(dim=2).flatten()])
        for maps in (logits, labels)
    ]
    unary = F.binary_cross_entropy(bags.sigmoid(), positive)
    kernels = torch.zeros(8, 3, 3, dtype=logits.dtype)
    for kernel, neighbour in zip(kernels, [0, 1, 2, 3, 5, 6, 7, 8], strict=True):
        kernel[1, 1] = 1
        kernel.view(-1)[neighbour] = -1
    differences = F.conv2d(logits.sigmoid(), kernels[:, None], padding=1)
    return unary, 0.05 * differences.square().mean()


def random_logits(count):
    generator = torch.Generator().manual_seed(count)
    shape = (count, 1, HEIGHT, WIDTH)
    return 3 * torch.randn(shape, dtype=torch.float64, generator=generator)


def assert_as_brute_force(bboxes, reduction):
    bboxes = torch.tensor(bboxes, dtype=torch.float64)
    logits = random_logits(len(bboxes)).requires_grad_()
    expected = brute_force(logits, bboxes, 0.05, reduction)
    assert_equal(MILLoss(reduction=reduction)(logits, bboxes), expected, logits)


def assert_equal(losses, expected, logits):
    """Compare values and gradients."""
    for loss, value in zip((losses['loss_mil'], losses['loss_smooth']), expected, strict=True):
        torch.testing.assert_close(loss, value, rtol=0, atol=1e-6)
        gradient = torch.autograd.grad(loss, logits, retain_graph=True)[0]
        expected_gradient = torch.autograd.grad(value, logits, retain_graph=True)[0]
        assert expected_gradient.abs().max() > 0
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-6)


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
@pytest.mark.parametrize('name', BBOXES)
def test_loss_and_gradient_equal_brute_force(name, reduction):
    assert_as_brute_force([BBOXES[name]], reduction)


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_batch_equals_brute_force(reduction):
    corners = torch.rand(4, 2, 2, generator=torch.Generator().manual_seed(5))
    start, stop = corners.amin(1), corners.amax(1)
    scale = torch.tensor([WIDTH, HEIGHT])
    random = torch.cat([start * scale, stop * scale], dim=1).tolist()
    assert_as_brute_force(random + list(BBOXES.values()), reduction)


@pytest.mark.parametrize('names', [*([name] for name in WHOLE), WHOLE])
def test_equals_the_release(names):
    bboxes = torch.tensor([BBOXES[name] for name in names], dtype=torch.float64)
    logits = random_logits(len(bboxes)).requires_grad_()
    losses = MILLoss(border='zero')(logits, bboxes)
    assert_equal(losses, released(logits, bboxes), logits)


def test_analytic_gradient_equals_numeric_gradient():
    bboxes = torch.tensor([BBOXES['fractional']], dtype=torch.float64)
    logits = random_logits(1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sum(MILLoss()(x, bboxes).values()), logits)


@pytest.mark.parametrize(
    ('bbox', 'rows', 'columns'),
    [
        ([1, 2, 3, 3], [0, 0, 1, 0], [0, 1, 1, 0]),
        ([0, 0, 4, 4], [1, 1, 1, 1], [1, 1, 1, 1]),
        ([0.5, 3.9, 1.0, 4.0], [0, 0, 0, 1], [1, 0, 0, 0]),
        ([1.0, 0.9, 2.1, 1.1], [1, 1, 0, 0], [0, 1, 1, 0]),
        ([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]),
        ([1, 0, 1, 4], [0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_line_labels(bbox, rows, columns):
    got = line_labels(torch.tensor([bbox], dtype=torch.float32), 4, 4)
    assert got[0].int().tolist() == [rows]
    assert got[1].int().tolist() == [columns]


def test_undecided_lines_cost_log_2_each():
    logits = torch.zeros(2, 1, 3, 4)
    bboxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 4, 3]])
    assert mil_loss(logits, bboxes).item() == pytest.approx(math.log(2))
    assert mil_loss(logits, bboxes, 'sum').item() == pytest.approx(2 * (3 + 4) * math.log(2))


def test_smooth_loss_counts_each_pair_from_both_ends():
    probs = torch.tensor([[0.0, 1.0], [0.0, 0.0]])[None, None]
    # The odd pixel differs from its three neighbours; there are six pairs.
    assert smooth_loss(probs, 'sum').item() == 2 * 3
    assert smooth_loss(probs, 'mean').item() == 3 / 6


def test_smooth_loss_does_not_look_beyond_the_border():
    assert smooth_loss(torch.ones(1, 1, 4, 4)).item() == 0
    assert smooth_loss(torch.ones(1, 1, 1, 1)).item() == 0


def test_zero_border_counts_as_neighbours_of_probability_0():
    # Each corner has five of its eight neighbours outside.
    probs = torch.ones(1, 1, 2, 2)
    assert smooth_loss(probs, 'sum', border='zero').item() == 4 * 5
    assert smooth_loss(probs, 'mean', border='zero').item() == 4 * 5 / (4 * 8)
    assert smooth_loss(torch.full((1, 1, 1, 1), 0.5), border='zero').item() == 0.25
    assert smooth_loss(torch.zeros(1, 1, 2, 2), border='zero').item() == 0
    assert smooth_loss(torch.zeros(0, 1, 2, 2), border='zero').item() == 0


@pytest.mark.parametrize('value', [-1e4, 1e4])
def test_extreme_logits_stay_finite(value):
    logits = torch.full((1, 1, 4, 4), value, requires_grad=True)
    loss = sum(MILLoss()(logits, torch.tensor([[1.0, 1, 3, 3]])).values())
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    assert logits.grad.abs().max() > 0


def test_autocast_computes_in_single_precision():
    logits = torch.randn(2, 1, 6, 6).bfloat16()
    bboxes = torch.tensor([[1.0, 1, 4, 4], [0, 0, 6, 6]])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = MILLoss()(logits, bboxes)
    expected = MILLoss()(logits.float(), bboxes)
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        assert torch.equal(loss, expected[name])


def test_unknown_reduction_is_refused():
    with pytest.raises(InputError, match="'mean' or 'sum'"):
        MILLoss(reduction='none')


def test_unknown_border_is_refused():
    with pytest.raises(InputError, match="'ignore' or 'zero', not 'reflect'"):
        MILLoss(border='reflect')
