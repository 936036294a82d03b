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
    return build('bbtp-salient')


@pytest.fixture
def shapeprop():
    return build('shapeprop')


def build(name):
    cfg = Config.fromfile(config_path(f'baselines/{name}_r50_fpn_voc.py')).model
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


def reached_by(loss, model):
    """First parts of the names of the parameters that have a gradient; three of the mask head's."""
    loss.backward()
    names = [name for name, value in model.named_parameters() if value.grad is not None]
    names = [name for name in names if model.get_parameter(name).grad.any()]
    return {'.'.join(name.split('.')[: 3 if 'mask_head' in name else 2]) for name in names}


def test_salient_images_teach_masks_alone(model):
    reached = reached_by(model.loss(*batch(boxes(), left_half()))['loss_salient_mask'], model)
    assert 'roi_head.mask_head.convs' in reached and 'neck.lateral_convs' in reached
    assert not any(name.startswith(('rpn_head', 'roi_head.bbox_head')) for name in reached)


#: The parts of ShapeProp's mask head, as a loss reaches them one after the other.
SHAPEPROP = ('activating', 'encoder', 'propagating', 'decoder', 'shape_encoder')
SHAPEPROP += ('convs', 'upsample', 'conv_logits')


@pytest.mark.parametrize(
    ('name', 'parts'), [('activating', 1), ('propagating', 4), ('salient_mask', 8)]
)
def test_what_each_loss_of_shapeprop_teaches(shapeprop, name, parts):
    """Boxes saliency, salient masks the shape with it, and the mask with both."""
    losses = shapeprop.loss(*batch(boxes(), left_half()))
    reached = reached_by(losses[f'loss_{name}'], shapeprop)
    heads = {name for name in reached if not name.startswith(('backbone', 'neck'))}
    assert heads == {f'roi_head.mask_head.{part}' for part in SHAPEPROP[:parts]}
    assert 'neck.lateral_convs' in reached and 'backbone.layer4' in reached


def test_losses_of_shapeprop_are_of_their_images(shapeprop):
    inputs, samples = batch(boxes(), left_half())
    found = []
    for factors in ((1, 1), (5, 1), (1, 5)):
        torch.manual_seed(1)
        losses = shapeprop.loss(inputs * torch.tensor(factors).view(2, 1, 1, 1), samples)
        names = ('activating', 'propagating', 'salient_mask')
        found.append([losses[f'loss_{name}'].item() for name in names])
    assert 'loss_mil' not in losses and 'loss_mask' not in losses
    unchanged, other_boxes, other_salient = found
    assert unchanged[0] != other_boxes[0] and unchanged[1:] == other_boxes[1:]
    assert unchanged[0] == other_salient[0]
    assert unchanged[1] != other_salient[1] and unchanged[2] != other_salient[2]


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
@pytest.mark.parametrize(
    ('name', 'loss', 'layer'),
    [
        ('bbtp-salient', 'salient_mask', 'conv_logits'),
        ('shapeprop', 'salient_mask', 'conv_logits'),
        ('shapeprop', 'propagating', 'decoder.2.conv'),
    ],
)
def test_salient_losses_by_hand(name, loss, layer, monkeypatch, weight):
    """Flat logits; of the two RoIs one is the box and one its left half, which is all object."""
    model = build(name)
    logits = model.roi_head.mask_head.get_submodule(layer)
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
    assert losses[f'loss_{loss}'].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(('kinds', 'counts'), [([boxes] * 2, '2 .* and 0'), ([left_half], '0 .*1')])
def test_a_batch_has_both(model, kinds, counts):
    with pytest.raises(InputError, match=f'a batch has {counts} salient ones: use a sampler'):
        model.loss(*batch(*(kind() for kind in kinds)))


def test_classes_of_salient_objects_are_not_known():
    cfg = Config.fromfile(config_path('baselines/bbtp-salient_r50_fpn_voc.py')).model
    cfg.roi_head.mask_head.class_agnostic = False
    with pytest.raises(InputError, match='mask_head.class_agnostic=True'):
        MODELS.build(cfg)
