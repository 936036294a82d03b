import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel
from mmengine.structures import PixelData

from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import MODELS

UPRIGHT = torch.tensor([[[0.0, 0.2, 0.4], [0.6, 0.8, 1.0]]])


class Echo(BaseModel):
    """Predicts its inputs."""

    def forward(self, inputs, data_samples, mode):
        for image, sample in zip(inputs, data_samples, strict=True):
            sample.pred_maps = PixelData(fused=image, weak=image / 2)
        return data_samples


def sample(**metainfo):
    return DetDataSample(metainfo=dict(ann_id=7, **metainfo))


@pytest.mark.parametrize(
    ('direction', 'flipped'),
    [
        ('horizontal', [[[0.4, 0.2, 0.0], [1.0, 0.8, 0.6]]]),
        ('vertical', [[[0.6, 0.8, 1.0], [0.0, 0.2, 0.4]]]),
        ('diagonal', [[[1.0, 0.8, 0.6], [0.4, 0.2, 0.0]]]),
    ],
)
def test_mean_of_the_views_with_flips_undone(direction, flipped):
    model = MODELS.build(dict(type='mmboxcaseg.BoxCasegTTAModel', module=Echo()))
    views = [UPRIGHT, torch.tensor(flipped), UPRIGHT / 4]
    metas = [dict(flip=False), dict(flip=True, flip_direction=direction), dict()]
    # View by view, as TestTimeAug and pseudo_collate give them; the second patch is all ones.
    inputs = [[view, torch.ones(1, 2, 3)] for view in views]
    samples = [[sample(**meta), sample(**meta)] for meta in metas]
    first, second = model.test_step(dict(inputs=inputs, data_samples=samples))
    torch.testing.assert_close(first.pred_maps.fused, 0.75 * UPRIGHT)
    torch.testing.assert_close(first.pred_maps.weak, 0.375 * UPRIGHT)
    assert first.ann_id == 7
    torch.testing.assert_close(second.pred_maps.fused, torch.ones(1, 2, 3))


def test_calibration_of_its_own():
    def calibration_of(**settings):
        model = MODELS.build(dict(type='mmboxcaseg.BoxCasegTTAModel', module=Echo(), **settings))
        views = [[sample(calibration=(0.9, 0.1))], [sample(calibration=(0.9, 0.1))]]
        (merged,) = model.test_step(dict(inputs=[[UPRIGHT], [UPRIGHT]], data_samples=views))
        return merged.calibration

    assert calibration_of(calibration=[0.5, -1]) == (0.5, -1)
    assert calibration_of() == calibration_of(calibration=None) == (0.9, 0.1)


@pytest.mark.parametrize('calibration', [(0, 1), (1,), 'no', 0.8, (True, 0)])
def test_calibration_that_is_none(calibration):
    with pytest.raises(InputError, match='tta_model.calibration must be a slope above 0 and an'):
        MODELS.build(
            dict(type='mmboxcaseg.BoxCasegTTAModel', module=Echo(), calibration=calibration)
        )


def test_smaller_maps_are_enlarged():
    model = MODELS.build(dict(type='mmboxcaseg.BoxCasegTTAModel', module=Echo()))
    small, large = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.5, 0.5, 0.0, 1.0]] * 2])
    # By hand: pixel centres at a quarter and three quarters between the two values.
    expected = (torch.tensor([[[0.0, 0.25, 0.75, 1.0]] * 2]) + large) / 2
    for inputs in ([[small], [large]], [[large], [small]]):
        data_samples = [[sample()], [sample()]]
        (merged,) = model.test_step(dict(inputs=inputs, data_samples=data_samples))
        torch.testing.assert_close(merged.pred_maps.fused, expected)
        torch.testing.assert_close(merged.pred_maps.weak, expected / 2)


def test_a_small_map_that_is_flipped_is_turned_round():
    model = MODELS.build(dict(type='mmboxcaseg.BoxCasegTTAModel', module=Echo()))
    inputs = [[torch.tensor([[[1.0, 0.0]]])], [torch.zeros(1, 1, 4)]]
    data_samples = [[sample(flip=True, flip_direction='horizontal')], [sample()]]
    (merged,) = model.test_step(dict(inputs=inputs, data_samples=data_samples))
    expected = torch.tensor([[[0.0, 0.125, 0.375, 0.5]]])
    torch.testing.assert_close(merged.pred_maps.fused, expected)


@pytest.mark.parametrize('shapes', [((2, 3), (3, 2)), ((1, 4), (2, 4)), ((4, 1), (4, 2))])
def test_the_mean_is_as_high_and_as_wide_as_any(shapes):
    model = MODELS.build(dict(type='mmboxcaseg.BoxCasegTTAModel', module=Echo()))
    ones = [torch.ones(1, *shape) for shape in shapes]
    for views in (ones, ones[::-1]):
        inputs = [[views[0]], [0 * views[1]]]
        (merged,) = model.test_step(dict(inputs=inputs, data_samples=[[sample()], [sample()]]))
        expected = torch.full((1, *map(max, *shapes)), 0.5)
        torch.testing.assert_close(merged.pred_maps.fused, expected)
