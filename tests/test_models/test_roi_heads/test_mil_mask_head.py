import math

import pytest
import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from mmboxcaseg import config_path
from mmboxcaseg.errors import InputError
from mmboxcaseg.models.roi_heads.mil_mask_head import MILMaskHead, project_bboxes
from mmboxcaseg.registry import MODELS

HEAD = dict(num_convs=1, in_channels=4, conv_out_channels=4, num_classes=3)
TRAIN_CFG = ConfigDict(mask_size=8)

#: Per case: the side of the grid, RoI and box in the image, and by hand which rows and which
#: columns of the grid the box meets.
CASES = {
    'the same': (4, [10, 20, 18, 28], [10, 20, 18, 28], '1111', '1111'),
    'box inside': (4, [0, 0, 40, 40], [10, 20, 20, 40], '0011', '0100'),
    'box leaves the RoI': (4, [8, 8, 16, 16], [4, 12, 12, 24], '0011', '1100'),
    'meets a line by little': (4, [0, 0, 8, 16], [2.5, 3.5, 6.5, 11.5], '1110', '0111'),
    'touches lines only': (4, [0, 0, 8, 16], [2, 4, 6, 12], '0110', '0110'),
    'larger grid': (8, [-4, 2, 12, 10], [0, 3, 7, 9], '01111110', '00111100'),
}


def sampling_result(rois, bboxes, labels):
    """Positives, each assigned to a box of its own."""
    return SamplingResult(
        pos_inds=torch.arange(len(rois)),
        neg_inds=torch.zeros(0, dtype=torch.long),
        priors=torch.tensor(rois).reshape(-1, 4).float(),
        gt_bboxes=torch.tensor(bboxes).reshape(-1, 4).float(),
        assign_result=InstanceData(
            gt_inds=torch.arange(len(rois)) + 1, labels=torch.tensor(labels, dtype=torch.long)
        ),
        gt_flags=torch.zeros(len(rois), dtype=torch.uint8),
    )


class NoMasks:
    """Ground truth that must not be looked at."""

    def __getattr__(self, name):
        raise AssertionError(f'{name} was read')


def losses_of(head, mask_preds, *results):
    out = head.loss_and_target(mask_preds, results, [NoMasks()] * len(results), TRAIN_CFG)
    return out['loss_mask'], out['mask_targets']


def random_preds(count, side, channels=3):
    generator = torch.Generator().manual_seed(side)
    return 2 * torch.randn(count, channels, side, side, dtype=torch.float64, generator=generator)


def brute_force(logits, rows, columns):
    """Cross-entropies of the lines and squared differences with the eight neighbours of one RoI."""
    side = len(rows)
    prob = [[1 / (1 + math.exp(-value)) for value in row] for row in logits.tolist()]
    lines = list(zip(prob, rows, strict=True))
    lines += list(zip(map(list, zip(*prob, strict=True)), columns, strict=True))
    entropies = [-math.log(max(p) if label == '1' else 1 - max(p)) for p, label in lines]
    differences = [
        (prob[r][c] - prob[i][j]) ** 2
        for r in range(side)
        for c in range(side)
        for i in range(max(r - 1, 0), min(r + 2, side))
        for j in range(max(c - 1, 0), min(c + 2, side))
        if (i, j) != (r, c)
    ]
    return entropies, differences


def mean(values):
    return sum(values) / len(values)


@pytest.mark.parametrize(
    ('roi', 'bbox', 'expected'),
    [
        ([10, 20, 18, 28], [10, 20, 18, 28], [0, 0, 4, 8]),
        ([0, 0, 40, 40], [10, 20, 20, 40], [1, 4, 2, 8]),
        ([8, 8, 16, 16], [4, 12, 12, 24], [-2, 4, 2, 16]),
    ],
)
def test_project_bboxes(roi, bbox, expected):
    bboxes = project_bboxes(torch.tensor([bbox]).float(), torch.tensor([roi]).float(), 8, 4)
    assert bboxes.tolist() == [expected]


@pytest.mark.parametrize('label', [0, 2])
@pytest.mark.parametrize('case', CASES)
def test_equals_brute_force_on_one_roi(case, label):
    side, roi, bbox, rows, columns = CASES[case]
    preds = random_preds(1, side)
    losses, _ = losses_of(MILMaskHead(**HEAD), preds, sampling_result([roi], [bbox], [label]))
    entropies, differences = brute_force(preds[0, label], rows, columns)
    assert losses['loss_mil'].item() == pytest.approx(mean(entropies))
    assert losses['loss_smooth'].item() == pytest.approx(0.05 * mean(differences))


def test_equals_brute_force_on_rois_of_two_images():
    cases = [case for case in CASES.values() if case[0] == 4]
    preds, labels = random_preds(len(cases), 4), [2, 0, 1, 1, 0]
    _, rois, bboxes, _, _ = zip(*cases, strict=True)
    results = [
        sampling_result(rois[part], bboxes[part], labels[part])
        for part in (slice(0, 2), slice(2, 5))
    ]
    head = MILMaskHead(**HEAD, loss_mask=dict(type='mmboxcaseg.MILLoss', smooth_weight=0.5))
    losses, targets = losses_of(head, preds, *results)
    entropies, differences = [], []
    for pred, label, (_, _, _, rows, columns) in zip(preds, labels, cases, strict=True):
        for total, values in zip(
            (entropies, differences), brute_force(pred[label], rows, columns), strict=True
        ):
            total += values
    assert losses['loss_mil'].item() == pytest.approx(mean(entropies))
    assert losses['loss_smooth'].item() == pytest.approx(0.5 * mean(differences))
    assert targets[0].tolist() == [0, 0, 4, 4]
    assert targets[1].tolist() == [1, 2, 2, 4]


def test_loss_weight():
    _, roi, bbox, _, _ = CASES['box inside']
    result = sampling_result([roi], [bbox], [1])
    once, _ = losses_of(MILMaskHead(**HEAD), random_preds(1, 4), result)
    thrice, _ = losses_of(MILMaskHead(**HEAD, loss_weight=3), random_preds(1, 4), result)
    for name, loss in once.items():
        assert thrice[name].item() == pytest.approx(3 * loss.item()) and loss > 0


def test_gradient_reaches_the_class_alone():
    _, roi, bbox, _, _ = CASES['box inside']
    preds = random_preds(2, 4).requires_grad_()
    losses, _ = losses_of(
        MILMaskHead(**HEAD), preds, sampling_result([roi, roi], [bbox, bbox], [2, 0])
    )
    sum(losses.values()).backward()
    reached = preds.grad.abs().sum(dim=(2, 3)) > 0
    assert reached.int().tolist() == [[0, 0, 1], [1, 0, 0]]


def test_class_agnostic():
    _, roi, bbox, rows, columns = CASES['box inside']
    preds = random_preds(1, 4, channels=1)
    head = MILMaskHead(**HEAD, class_agnostic=True)
    losses, _ = losses_of(head, preds, sampling_result([roi], [bbox], [2]))
    entropies, _ = brute_force(preds[0, 0], rows, columns)
    assert losses['loss_mil'].item() == pytest.approx(mean(entropies))


def test_no_positives():
    head = MILMaskHead(**HEAD)
    losses, targets = losses_of(head, head(torch.zeros(0, 4, 4, 4)), sampling_result([], [], []))
    assert set(losses) == {'loss_mil', 'loss_smooth'}
    assert targets.shape == (0, 4)
    total = sum(losses.values())
    assert total.item() == 0
    total.backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and (parameter.grad == 0).all(), name


def test_one_image_without_positives():
    _, roi, bbox, rows, columns = CASES['box inside']
    preds = random_preds(1, 4)
    empty, one = sampling_result([], [], []), sampling_result([roi], [bbox], [1])
    losses, _ = losses_of(MILMaskHead(**HEAD), preds, empty, one)
    entropies, _ = brute_force(preds[0, 1], rows, columns)
    assert losses['loss_mil'].item() == pytest.approx(mean(entropies))


def test_loss_of_another_kind_is_refused():
    with pytest.raises(InputError, match="loss_mask is 'CrossEntropyLoss': set .*_delete_=True"):
        MILMaskHead(**HEAD, loss_mask=dict(type='CrossEntropyLoss', use_mask=True))


def test_learns_a_mask_inside_the_box():
    """Lines outside the box become ground, every line of the box has an object pixel."""
    preds = random_preds(1, 8, channels=1).requires_grad_()
    head = MILMaskHead(**HEAD, class_agnostic=True)
    result = sampling_result([[0, 0, 16, 16]], [[4, 2, 10, 12]], [0])
    for _ in range(300):
        loss = sum(losses_of(head, preds, result)[0].values())
        preds.data -= 20 * torch.autograd.grad(loss, preds)[0]
    mask = preds[0, 0] > 0
    assert mask.any(dim=1).int().tolist() == [0, 1, 1, 1, 1, 1, 0, 0]
    assert mask.any(dim=0).int().tolist() == [0, 0, 1, 1, 1, 0, 0, 0]


def test_config_of_bbtp():
    cfg = Config.fromfile(config_path('baselines/bbtp_r101_fpn_voc.py'))
    head = MODELS.build(cfg.model.roi_head.mask_head)
    assert isinstance(head, MILMaskHead)
    assert (head.num_classes, head.loss_weight, head.loss_mask.smooth_weight) == (20, 1, 0.05)
    assert not any(t.get('with_mask') for t in cfg.train_dataloader.dataset.pipeline)
