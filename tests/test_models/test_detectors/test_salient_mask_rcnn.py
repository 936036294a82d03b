import math

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmboxcaseg import config_path
from mmboxcaseg.errors import InputError
from mmboxcaseg.models import SalientMaskRCNN
from mmboxcaseg.registry import MODELS
from mmboxcaseg.testing import shrink_model

SIZE = 64


@pytest.fixture
def model():
    cfg = Config.fromfile(config_path('baselines/bbtp-salient_r50_fpn_voc.py')).model
    cfg.backbone.update(depth=18, init_cfg=None)
    cfg.neck.in_channels = [64, 128, 256, 512]
    shrink_model(cfg)
    torch.manual_seed(0)
    return MODELS.build(cfg)


def sample(bboxes, mask=None):
    metainfo = dict.fromkeys(('img_shape', 'pad_shape', 'batch_input_shape'), (SIZE, SIZE))
    sample = DetDataSample(metainfo=metainfo | dict(scale_factor=(1, 1)))
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(bboxes).float(), labels=torch.arange(len(bboxes))
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    if mask is not None:
        sample.set_metainfo(dict(supervision='mask'))
        sample.gt_instances.masks = BitmapMasks(mask[None].astype(np.uint8), SIZE, SIZE)
    return sample


def left_half():
    """A salient object: the left half of its box."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[8:40, 16:32] = True
    return sample([[16, 8, 48, 40]], mask)


def batch(*samples):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(len(samples), 3, SIZE, SIZE, generator=generator)
    torch.manual_seed(1)
    return inputs, list(samples)


def boxes():
    return sample([[4, 4, 30, 40], [20, 10, 60, 50]])


def test_boxes_teach_as_in_a_mask_rcnn(model):
    """Whatever salient images stand between them."""
    inputs, samples = batch(boxes(), left_half(), boxes())
    losses = model.loss(inputs, samples)
    torch.manual_seed(1)
    expected = super(SalientMaskRCNN, model).loss(inputs[[0, 2]], [samples[0], samples[2]])
    assert losses.keys() - expected.keys() == {'loss_salient_mask'}
    for name in expected:
        for loss, other in (
            zip(losses[name], expected[name], strict=True)
            if isinstance(expected[name], list)
            else [(losses[name], expected[name])]
        ):
            assert loss.item() == other.item(), name
    assert {'loss_mil', 'loss_smooth', 'loss_bbox', 'loss_cls'} < expected.keys()


def test_salient_images_teach_masks_alone(model):
    losses = model.loss(*batch(boxes(), left_half()))
    losses['loss_salient_mask'].backward()
    reached = {
        name.split('.')[0] + '.' + name.split('.')[1]
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    assert 'roi_head.mask_head' in reached and 'neck.lateral_convs' in reached
    assert not any(name.startswith(('rpn_head', 'roi_head.bbox_head')) for name in reached)


def test_salient_loss_is_of_the_salient_image(model):
    inputs, samples = batch(boxes(), left_half())
    losses = []
    for factors in ((1, 1), (5, 1), (1, 5)):
        torch.manual_seed(1)
        changed = inputs * torch.tensor(factors).view(2, 1, 1, 1)
        losses.append(model.loss(changed, samples)['loss_salient_mask'].item())
    unchanged, other_boxes, other_salient = losses
    assert unchanged == other_boxes != other_salient


@pytest.mark.parametrize('weight', [1, 0.25])
def test_salient_loss_by_hand(model, monkeypatch, weight):
    """Flat logits; of the two RoIs one is the box and one its left half, which is all object."""
    logits = model.roi_head.mask_head.conv_logits
    torch.nn.init.zeros_(logits.weight)
    torch.nn.init.constant_(logits.bias, 0.5)
    model.salient_weight = weight
    proposals = InstanceData(
        bboxes=torch.tensor([[16.0, 8, 32, 40], [50, 50, 60, 60]]),
        labels=torch.zeros(2, dtype=torch.long),
        scores=torch.ones(2),
    )
    monkeypatch.setattr(model.rpn_head, 'predict', lambda *args, **kwargs: [proposals])
    losses = model.loss(*batch(boxes(), left_half()))
    object_, ground = math.log1p(math.exp(-0.5)), math.log1p(math.exp(0.5))
    expected = weight * ((object_ + ground) / 2 + object_) / 2
    assert losses['loss_salient_mask'].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(('kinds', 'counts'), [([boxes] * 2, '2 .* and 0'), ([left_half], '0 .*1')])
def test_a_batch_has_both(model, kinds, counts):
    with pytest.raises(InputError, match=f'a batch has {counts} salient ones: use a sampler'):
        model.loss(*batch(*(kind() for kind in kinds)))


def test_classes_of_salient_objects_are_not_known():
    cfg = Config.fromfile(config_path('baselines/bbtp-salient_r50_fpn_voc.py')).model
    cfg.roi_head.mask_head.class_agnostic = False
    with pytest.raises(InputError, match='mask_head.class_agnostic=True'):
        MODELS.build(cfg)
