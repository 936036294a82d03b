from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.structures import DetDataSample

from mmboxcaseg.apis.attribution_masks import masks_by_attribution
from mmboxcaseg.models import BBAM
from mmboxcaseg.models.detectors.attribution import total_variation

#: Its sum is 3, and no term of the total variation is that of another.
MASK = torch.tensor([[1, 0, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0], [0.5, 0, 0, 1]])
P_WHOLE, P = torch.tensor([0.9, 0.5]), torch.tensor([0.5, 0.7])
T_WHOLE = torch.zeros(2, 4)
T = torch.tensor([[0.0, 0.4, 0, 0], [0, 0, 0, -0.4]])


def test_total_variation_by_hand():
    # The corner: 2 straight edges and 1 diagonal of 1; so the other one of 1. The corner of .5 as
    # many of 1/8. In the middle 4 straight edges of 1/8, and 4 diagonals, none to another cell.
    expected = 2 * (2 + 2) + (2 + 2) / 8 + (4 + 2 * 4) / 8
    assert total_variation(MASK).item() == pytest.approx(expected)
    assert total_variation(MASK.flip(0)).item() == pytest.approx(expected)
    # Straight edges down and across, diagonals either way.
    for cells, value in (
        ([[1.0], [0.0]], 1),
        ([[1.0, 0.0]], 1),
        ([[1.0, 0.0], [0.0, 0.0]], 4),
        ([[0.0, 1.0], [0.0, 0.0]], 4),
    ):
        assert total_variation(torch.tensor(cells)).item() == value


def test_objective_by_hand():
    bbam = BBAM(lam=0.1, tv=0.01)
    # Mean |p - p_c| is .3, mean |t - t_c| .8 / 8; without magnitudes they would be .1 and 0.
    expected = 0.1 * 3 + (0.3 + 0.1) / 2 + 0.01 * total_variation(MASK).item()
    value = bbam.objective(MASK, (P, T), (P_WHOLE, T_WHOLE)).item()
    assert value == pytest.approx(expected)


def test_each_term_counts():
    answer, whole = (P, T), (P_WHOLE, T_WHOLE)
    bare = BBAM(lam=0, tv=0)
    assert bare.objective(MASK, answer, whole).item() == pytest.approx(0.2)
    assert bare.objective(MASK, (P, T_WHOLE), whole).item() == pytest.approx(0.15)
    assert bare.objective(MASK, (P_WHOLE, T), whole).item() == pytest.approx(0.05)
    lam = replace(bare, lam=0.1).objective(MASK, whole, whole).item()
    assert lam == pytest.approx(0.3)
    tv = replace(bare, tv=0.01).objective(MASK, whole, whole).item()
    assert tv == pytest.approx(0.01 * 10)


def test_the_map_finds_what_the_answer_depends_on():
    """Class by some cells, box by others; the rest of the map goes."""
    by_class, by_box = torch.zeros(4, 4, dtype=bool), torch.zeros(4, 4, dtype=bool)
    by_class[1, :2] = True
    by_box[2:, 3] = True
    looks = []

    def predict(mask):
        looks.append(mask.detach().clone())
        return mask[by_class].mean().repeat(3), mask[by_box].mean().repeat(3, 4)

    found = BBAM(iterations=80).attribute(predict, torch.full((4, 4), 0.5))
    assert (looks[0] == 1).all() and (looks[1] == 0.5).all() and len(looks) == 81
    expected = (by_class | by_box).float()
    assert torch.allclose(found, expected, atol=0.05)
    assert (found >= 0).all() and (found <= 1).all()
    # A size that costs more than it brings: nothing is shown.
    assert not BBAM(iterations=80, lam=1).attribute(predict, torch.full((4, 4), 0.5)).any()


def test_gradients_are_of_one_look():
    """Of the size alone each of Adam's steps is as long as its rate."""
    bbam = BBAM(iterations=3, lr=0.1, tv=0)
    found = bbam.attribute(lambda mask: (0 * mask.sum(), 0 * mask), torch.ones(1, 2))
    assert found.tolist() == [pytest.approx([0.7, 0.7], abs=1e-5)]


def test_cells_grow_with_the_box():
    """sqrt(a) is 0, 1/2 and 1: cells of 16, 40 and 64 pixels."""
    for box, grid in (([0, 0, 0, 9], (50, 60)), ([0, 0, 480, 400], (20, 24))):
        assert BBAM().grid(torch.tensor(box), (800, 960)) == grid
    assert BBAM().grid(torch.tensor([0, 0, 960, 800]), (800, 960)) == (12, 15)
    assert BBAM().grid(torch.tensor([0, 0, 20, 20]), (20, 20)) == (1, 1)


def test_proposals_are_around_the_box():
    bbox = torch.tensor([10.0, 20, 50, 100])
    drawn = BBAM().draw_proposals(bbox, (105, 200))
    assert drawn.shape == (1000, 4) and torch.equal(drawn, BBAM().draw_proposals(bbox, (105, 200)))
    moved = drawn - bbox
    # 0.3 of a width of 40 and a height of 80; the image ends at 0 and 105.
    for edge, (least, most) in enumerate(((-10, 12), (-20, 24), (-12, 12), (-24, 5))):
        assert moved[:, edge].min() == pytest.approx(least, abs=0.5)
        assert moved[:, edge].max() == pytest.approx(most, abs=0.5)
    assert abs(np.corrcoef(moved.T) - np.eye(4)).max() < 0.1


def test_the_best_proposals_take_part():
    ious = torch.tensor([0.95, 0.82, 0.91, 0.99, 0.86, 0.5])
    recognised = torch.tensor([True, True, True, False, True, True])
    for proposals, chosen in ((1, [0]), (2, [0, 2]), (3, [0, 1, 2]), (9, [0, 1, 2, 4])):
        assert BBAM(proposals=proposals).choose(ious, recognised).tolist() == chosen
    assert BBAM().choose(ious, recognised & (ious < 0.6)).tolist() == []


#: Of an image of 24x20 pixels that is padded to 32x32.
BBOX, SEEN = [4, 2, 16, 18], np.s_[6:14, 8:12]


class Head:
    """Answers with the box, and class 1, as far as SEEN is shown; else with the proposal."""

    bbox_head = SimpleNamespace(bbox_coder=DeltaXYWHBBoxCoder(), reg_class_agnostic=False)

    def _bbox_forward(self, features, rois):
        shown = features[0][0, 0][SEEN].mean()
        box = torch.tensor(BBOX, dtype=torch.float32).expand(len(rois), 4)
        offsets = torch.zeros(len(rois), 3, 4)
        offsets[:, 1] = DeltaXYWHBBoxCoder().encode(rois[:, 1:], box) * shown
        scores = torch.zeros(len(rois), 4)
        scores[:, 1] = 6 * shown
        return dict(bbox_pred=offsets.flatten(1), cls_score=scores)


class Detector(torch.nn.Module):
    roi_head = Head()

    def data_preprocessor(self, data, training):
        return dict(inputs=torch.ones(1, 3, 32, 32), data_samples=data['data_samples'])

    def extract_feat(self, image):
        return (image,)


def pack(factor):
    shapes = dict(img_shape=(20, 24), ori_shape=(20 // factor, 24 // factor))
    sample = DetDataSample(metainfo=dict(scale_factor=(factor, factor), **shapes))
    return dict(inputs=torch.zeros(1), data_samples=sample)


@pytest.mark.parametrize('factor', [1, 2])
def test_masks_are_what_the_detector_needs(factor):
    """On a grid of pixels; also of an image that is stored at half its size."""
    bboxes = np.array([BBOX, BBOX]) / factor
    bbam = BBAM(stride=(1, 0), iterations=100, proposals=9)
    found, other = masks_by_attribution(Detector(), pack(factor), bboxes, [1, 2], bbam)
    expected = np.zeros((20, 24), bool)
    expected[SEEN] = True
    assert (found == expected[::factor, ::factor]).all()
    assert not other.any() and other.shape == found.shape  # of another class: it is not found


class GivenMap(BBAM):
    """Looks at what it is asked, and answers with a map that is greater outside of the box."""

    def attribute(self, predict, start):
        # Decoded boxes may lie some millionth over a cell's edge.
        assert (start[2:18, 4:16] == 1).all() and start.sum() == start[1:19, 3:17].sum()
        p, t = predict(torch.ones(20, 24))
        # exp(6) beside 1 of three others, whose offsets are 0.
        assert p.tolist() == pytest.approx([403.4288 / 406.4288] * 9, abs=1e-5)
        assert t.shape == (9, 4) and (t != 0).all()
        answer = torch.full((20, 24), 1.0)
        answer[2:18, 4:16] = 0.1
        answer[SEEN] = 0.4
        answer[SEEN][0] = 0.25
        answer[17] = 0
        return answer


@pytest.mark.parametrize(('threshold', 'first'), [(0.5, 6), (0.7, 7), (0, 2)])
def test_the_greatest_value_in_the_box_counts(threshold, first):
    bbam = GivenMap(stride=(1, 0), proposals=9, threshold=threshold)
    (found,) = masks_by_attribution(Detector(), pack(1), np.array([BBOX]), [1], bbam)
    expected = np.zeros((20, 24), bool)
    expected[SEEN if threshold else np.s_[2:17, 4:16]] = True
    expected[:first] = False
    assert (found == expected).all()
