"""Every kind of ops that is here gives what the definitions give, worked out one by one."""

import math
import sys

import mmcv._ext
import pytest
import torch
from mmcv.ops import nms, roi_align, soft_nms
from mmcv.utils import collect_env

from mmboxcaseg import InputError
from mmboxcaseg.ops import mmcv_ext

KINDS = ['plain torch']
if mmcv_ext.torchvision_ops is not None:
    KINDS.append('torchvision')
if not mmcv._ext.__file__.endswith('.py'):
    KINDS.append('compiled')


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    """Let ``mmcv.ops`` use one kind of ops."""
    if request.param == 'plain torch':
        monkeypatch.setattr(mmcv_ext, 'torchvision_ops', None)
    ops = mmcv._ext if request.param == 'compiled' else mmcv_ext
    for module in ('nms', 'roi_align'):
        # The package's attribute of that name is the function.
        monkeypatch.setattr(sys.modules[f'mmcv.ops.{module}'], 'ext_module', ops)
    return request.param


def slow_nms(bboxes, scores, threshold, offset=0):
    """By the definition: best first, whoever overlaps one that stays goes."""
    bboxes, kept = bboxes.tolist(), []
    for i in sorted(range(len(bboxes)), key=lambda i: -scores[i]):
        if all(not iou(bboxes[i], bboxes[j], offset) > threshold for j in kept):
            kept.append(i)
    return kept


def iou(one, other, offset):
    def area(x1, y1, x2, y2):
        return max(x2 - x1 + offset, 0) * max(y2 - y1 + offset, 0)

    common = area(
        *(max(one[i], other[i]) for i in (0, 1)), *(min(one[i], other[i]) for i in (2, 3))
    )
    union = area(*one) + area(*other) - common
    return common / union if union else math.nan


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.317, 0.513, 0.711])
def test_nms(kind, threshold, offset):
    corner = torch.randint(0, 6, (60, 2))
    bboxes = torch.cat([corner, corner + torch.randint(0, 12, (60, 2))], dim=1).float()
    scores = torch.randperm(60) / 60
    dets, kept = nms(bboxes, scores, threshold, offset=offset)
    expected = slow_nms(bboxes, scores, threshold, offset)
    assert 5 < len(expected) < 60
    assert kept.tolist() == expected
    assert torch.equal(dets, torch.cat([bboxes, scores[:, None]], dim=1)[expected])


def test_nms_by_hand(kind):
    # IoU of the first two 3/4, of the first and third 0; the empty boxes overlap nothing.
    bboxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 3], [4, 0, 8, 4], [2, 2, 2, 2], [2, 2, 2, 2.0]])
    scores = torch.tensor([0.5, 0.9, 0.7, 0.2, 0.1])
    assert nms(bboxes, scores, 0.75)[1].tolist() == [1, 2, 0, 3, 4]
    assert nms(bboxes, scores, 0.74)[1].tolist() == [1, 2, 3, 4]
    # With the last pixel in: 5x5 and 5x4 pixels, 0.8.
    assert 0 in nms(bboxes, scores, 0.81, offset=1)[1]
    assert 0 not in nms(bboxes, scores, 0.79, offset=1)[1]


def test_nms_of_nothing(kind):
    dets, kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5) and kept.shape == (0,) and kept.dtype == torch.int64


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_nms_in_half_precision(kind, dtype):
    if kind == 'compiled':
        return  # it has no half precision on CPUs
    bboxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 3], [4, 0, 8, 4]], dtype=dtype)
    scores = torch.tensor([0.5, 0.9, 0.7], dtype=dtype)
    with torch.autocast('cpu', dtype=dtype):
        dets, kept = nms(bboxes, scores, 0.7)
    assert kept.tolist() == [1, 2]
    assert dets.dtype == dtype


def slow_roi_align(features, rois, size, scale, ratio, aligned):
    """By the definition, sample by sample."""
    output = torch.zeros(len(rois), features.shape[1], *size, dtype=torch.float64)
    for k, (image, *bbox) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (v * scale - 0.5 * aligned for v in bbox)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1), max(height, 1)
        rows = ratio or math.ceil(height / size[0])
        columns = ratio or math.ceil(width / size[1])
        for i in range(size[0]):
            for j in range(size[1]):
                total = torch.zeros(features.shape[1], dtype=torch.float64)
                for r in range(rows):
                    y = y1 + height / size[0] * (i + (r + 0.5) / rows)
                    for c in range(columns):
                        x = x1 + width / size[1] * (j + (c + 0.5) / columns)
                        total += sample(features[int(image)].double(), y, x)
                output[k, :, i, j] = total / max(rows * columns, 1)
    return output


def sample(features, y, x):
    height, width = features.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return torch.zeros(len(features), dtype=torch.float64)
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = features[:, top, left] * (1 - dx) + features[:, top, right] * dx
    lower = features[:, bottom, left] * (1 - dx) + features[:, bottom, right] * dx
    return upper * (1 - dy) + lower * dy


#: Inside, at fractions, over every border, all of the map, one row, without area, outside.
ROIS = torch.tensor(
    [
        [0, 4, 4, 16, 12],
        [1, 3.3, 5.1, 17.9, 15.2],
        [0, -9, -7, 6, 9],
        [1, 15, 10, 40, 33],
        [0, 0, 0, 24, 20],
        [0, 2, 7, 19, 8.5],
        [1, 9, 9, 9, 9],
        [0, 90, 80, 130, 120],
        [1, -80, -90, -40, -30],
        [1, -41.3, -33.1, 67.2, 71.7],
    ],
)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('size', [(3, 3), (2, 4)])
def test_roi_align(kind, size, ratio, aligned):
    features = torch.randn(2, 3, 5, 6, requires_grad=True)
    settings = (size, 0.25, ratio, 'avg', aligned)
    output = roi_align(features, ROIS, *settings)
    brute_force = (size, 0.25, ratio, aligned)
    expected = slow_roi_align(features.detach(), ROIS, *brute_force)
    torch.testing.assert_close(output.double(), expected, atol=1e-5, rtol=1e-5)

    weights = torch.randn_like(output)
    (gradient,) = torch.autograd.grad(output, features, weights)
    # The op is linear: what one pixel of the map adds to the weighted sum is its gradient.
    pixels = torch.eye(30).reshape(30, 1, 1, 5, 6).expand(30, 2, 1, 5, 6)
    for image in (0, 1):
        rois = ROIS[:, 0] == image
        shares = torch.stack([slow_roi_align(p, ROIS[rois], *brute_force)[:, 0] for p in pixels])
        expected = torch.einsum('pkij,kcij->cp', shares, weights[rois].double()).reshape(3, 5, 6)
        torch.testing.assert_close(gradient[image].double(), expected, atol=1e-5, rtol=1e-5)


def test_roi_align_by_hand(kind):
    features = torch.arange(16.0).reshape(1, 1, 4, 4)
    # Pixel centres at half coordinates: a box of 2x2 pixels, each a cell, gives the pixels.
    rois = torch.tensor([[0, 1, 1, 3, 3.0]])
    output = roi_align(features, rois, 2, 1.0, 0, 'avg', True)
    assert output.tolist() == [[[[5, 6], [9, 10]]]]
    # At whole ones the same box's cells lie half a pixel farther on.
    output = roi_align(features, rois, 2, 1.0, 0, 'avg', False)
    assert output.tolist() == [[[[7.5, 8.5], [11.5, 12.5]]]]


def test_roi_align_of_nothing(kind):
    features = torch.randn(1, 2, 4, 4, requires_grad=True)
    output = roi_align(features, torch.zeros(0, 5), 7)
    assert output.shape == (0, 2, 7, 7)
    output.sum().backward()
    assert torch.equal(features.grad, torch.zeros(1, 2, 4, 4))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_roi_align_in_half_precision(kind, dtype):
    if kind == 'compiled':
        return  # it has no half precision on CPUs
    features = torch.randn(2, 3, 5, 6).to(dtype).requires_grad_()
    settings = (3, 0.25, 2, 'avg', True)
    with torch.autocast('cpu', dtype=dtype):
        output = roi_align(features, ROIS, *settings)
    output.sum().backward()
    assert output.dtype == features.grad.dtype == dtype
    single = features.detach().float().requires_grad_()
    expected = roi_align(single, ROIS, *settings)
    expected.sum().backward()
    # Computed in single precision, rounded once.
    assert torch.equal(output, expected.to(dtype))
    assert torch.equal(features.grad, single.grad.to(dtype))


def test_plain_roi_align_in_double_precision(monkeypatch):
    monkeypatch.setattr(mmcv_ext, 'torchvision_ops', None)
    monkeypatch.setattr(sys.modules['mmcv.ops.roi_align'], 'ext_module', mmcv_ext)
    features = torch.randn(2, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: roi_align(f, ROIS.double(), 3, 0.25), features)


def test_other_ops_say_how_to_get_them(monkeypatch):
    monkeypatch.setattr(sys.modules['mmcv.ops.nms'], 'ext_module', mmcv_ext)
    with pytest.raises(InputError, match='softnms is one that mmboxcaseg does not bring: compile'):
        soft_nms(torch.zeros(1, 4), torch.zeros(1))
    monkeypatch.setattr(sys.modules['mmcv.ops.roi_align'], 'ext_module', mmcv_ext)
    with pytest.raises(InputError, match="roi_align with pool_mode='max' is one"):
        roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), 2, 1.0, 0, 'max')
    # What Python itself asks a module for is no op.
    assert not hasattr(mmcv_ext, '__path__')


def test_environment_report_says_what_computes():
    compiled = 'compiled' in KINDS
    report = collect_env()['MMCV Compiler']
    assert report.startswith('none, nms and roi_align by ') is not compiled
    assert compiled or report.endswith(mmcv_ext.SOURCE)


def test_equal_scores_stay_in_their_order(monkeypatch):
    monkeypatch.setattr(mmcv_ext, 'torchvision_ops', None)
    corner = torch.arange(0, 400, 10.0)[:, None]
    bboxes = torch.cat([corner, corner, corner + 5, corner + 5], dim=1)
    scores = torch.zeros(40)
    scores[30] = 1
    kept = mmcv_ext.nms(bboxes, scores, iou_threshold=0.5, offset=0)
    assert kept.tolist() == [30, *range(30), *range(31, 40)]


def test_samples_on_the_border(kind):
    """A sample a pixel outside the map has the border's value, one farther out is zero."""
    features = torch.full((1, 1, 4, 4), 8.0)
    for start, value in ((-1, 8), (-1.25, 0), (4, 8), (4.25, 0)):
        # One sample in the middle of a box of one pixel.
        low = start - 0.5
        rois = torch.tensor([[0, low, 1, low + 1, 2], [0, 1, low, 2, low + 1]])
        output = roi_align(features, rois, 1, 1.0, 1, 'avg', False)
        assert output.flatten().tolist() == [value, value]
