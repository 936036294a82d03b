import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead, HTCMaskHead
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmboxcaseg import config_path
from mmboxcaseg.errors import InputError
from mmboxcaseg.models.roi_heads.proxy_mask_head import ProxyMaskHead
from mmboxcaseg.proxy import DROPPED, IGNORED

SIZE = 24
TRAIN_CFG = Config(dict(mask_size=8))
HEAD = dict(num_convs=1, in_channels=4, conv_out_channels=4, num_classes=3)


@pytest.fixture(autouse=True)
def mmdet_scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def gt_masks(kept, seed):
    """A box and a mask for each flag; the masks of the dropped are their filled boxes."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, SIZE // 2, (len(kept), 2))
    bboxes = np.concatenate([start, start + rng.integers(6, SIZE // 2, (len(kept), 2))], axis=1)
    masks = np.zeros((len(kept), SIZE, SIZE), np.uint8)
    for mask, (x1, y1, x2, y2), is_kept in zip(masks, bboxes, kept, strict=True):
        mask[y1:y2, x1:x2] = rng.random((y2 - y1, x2 - x1)) > 0.4 if is_kept else DROPPED
    return bboxes, BitmapMasks(masks, SIZE, SIZE)


def batch(*kept, seed=0):
    """Features of positives, sampling results and ground truth; a tuple of flags per image.

    Each object has three positives in mixed order.
    """
    generator = torch.Generator().manual_seed(seed)
    results, instances = [], []
    for image, flags in enumerate(kept):
        bboxes, masks = gt_masks(flags, seed + image)
        inds = torch.arange(len(flags)).repeat(3)[
            torch.randperm(3 * len(flags), generator=generator)
        ]
        jitter = torch.randint(-1, 2, (len(inds), 4), generator=generator)
        results.append(
            InstanceData(
                pos_priors=(torch.from_numpy(bboxes)[inds] + jitter).float(),
                pos_assigned_gt_inds=inds,
                pos_gt_labels=(inds + image) % 3,
            )
        )
        instances.append(InstanceData(masks=masks))
    features = torch.randn(sum(map(len, results)), 4, 4, 4, generator=generator)
    return features, results, instances


def heads(**cfg):
    """A stock head and ours with the same weights."""
    torch.manual_seed(0)
    stock, ours = FCNMaskHead(**HEAD, **cfg), ProxyMaskHead(**HEAD, **cfg)
    ours.load_state_dict(stock.state_dict())
    return stock, ours


def loss_of(head, features, results, instances):
    loss = head.loss_and_target(head(features), results, instances, TRAIN_CFG)
    return loss['loss_mask']['loss_mask'], loss['mask_targets']


def gradients(head, loss):
    head.zero_grad()
    loss.sum().backward()
    return {name: parameter.grad.clone() for name, parameter in head.named_parameters()}


@pytest.mark.parametrize('class_agnostic', [False, True])
def test_equals_the_stock_head_when_all_are_kept(class_agnostic):
    stock, ours = heads(class_agnostic=class_agnostic)
    data = batch((True, True), (True, True, True))
    expected, expected_targets = loss_of(stock, *data)
    loss, targets = loss_of(ours, *data)
    assert loss.item() == expected.item() > 0
    assert torch.equal(targets, expected_targets)
    expected = gradients(stock, expected)
    for name, gradient in gradients(ours, loss).items():
        assert torch.equal(gradient, expected[name]), name


@pytest.mark.parametrize(
    'kept',
    [
        ((True, False), (False, True, True)),
        ((False, False), (True, False, False)),
        ((True, True), (False, False, False)),
    ],
)
def test_equals_the_stock_head_on_the_kept(kept):
    stock, ours = heads()
    features, results, instances = batch(*kept)
    valid = [torch.tensor(f)[r.pos_assigned_gt_inds] for f, r in zip(kept, results, strict=True)]
    subset = [r[v] for r, v in zip(results, valid, strict=True)]
    expected, expected_targets = loss_of(stock, features[torch.cat(valid)], subset, instances)
    loss, targets = loss_of(ours, features, results, instances)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(targets, expected_targets)
    expected = gradients(stock, expected)
    for name, gradient in gradients(ours, loss).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


def test_targets_are_not_cut_for_the_dropped(monkeypatch):
    cut = []
    crop_and_resize = BitmapMasks.crop_and_resize

    def spy(self, bboxes, out_shape, inds, *args, **kwargs):
        cut.append(len(inds))
        return crop_and_resize(self, bboxes, out_shape, inds, *args, **kwargs)

    monkeypatch.setattr(BitmapMasks, 'crop_and_resize', spy)
    loss_of(heads()[1], *batch((True, False), (False, True, True)))
    assert cut == [3, 6]


@pytest.mark.parametrize('empty', [False, True])
def test_none_kept(empty):
    _, ours = heads()
    features, results, instances = batch((False, False), (False,))
    if empty:
        for gt in instances:
            gt.masks.masks[:] = 0
    mask_preds = ours(features)
    mask_preds.retain_grad()
    loss = ours.loss_and_target(mask_preds, results, instances, TRAIN_CFG)
    assert loss['loss_mask']['loss_mask'].item() == 0
    assert loss['mask_targets'].shape == (0, 8, 8)
    for name, gradient in gradients(ours, loss['loss_mask']['loss_mask']).items():
        assert (gradient == 0).all(), name
    assert (mask_preds.grad == 0).all()


def test_no_positives():
    _, ours = heads()
    features, results, instances = batch((True, False))
    loss, _ = loss_of(ours, features[:0], [results[0][:0]], instances)
    assert loss.item() == 0
    assert all((gradient == 0).all() for gradient in gradients(ours, loss).values())


def test_image_without_objects():
    stock, ours = heads()
    data = batch((), (True, True))
    assert loss_of(ours, *data)[0].item() == loss_of(stock, *data)[0].item() > 0


def test_refuses_polygons():
    features, results, _ = batch((True,))
    instances = [InstanceData(masks=PolygonMasks([[np.zeros(6)]], SIZE, SIZE))]
    with pytest.raises(InputError, match='poly2mask=True'):
        loss_of(heads()[1], features, results, instances)


def test_another_head_can_be_put_behind():
    class ProxyHTCMaskHead(ProxyMaskHead, HTCMaskHead):
        pass

    head = ProxyHTCMaskHead(with_conv_res=False, **HEAD)
    features, results, instances = batch((True, False))
    loss = head.loss_and_target(head(features)[0], results, instances, TRAIN_CFG)
    assert len(loss['mask_targets']) == 3


#: Masks of 4x4 pixels, an RoI each: object, ground and ignored pixels, and a dropped one.
PIXELS = ['11?? 11?? 0000 ????', '1000 0?00 0000 0000', 'xxxx xxxx xxxx xxxx', '1111 ' * 4]


def pixel_batch(*rows):
    """RoIs that lie on the pixels of their masks, which are then the targets, and a label each."""
    values = {'0': 0, '1': 1, '?': IGNORED, 'x': DROPPED}
    masks = np.array([[[values[v] for v in row] for row in mask.split()] for mask in rows])
    count = len(rows)
    result = InstanceData(
        pos_priors=torch.tensor([[0.0, 0, 4, 4]]).repeat(count, 1),
        pos_assigned_gt_inds=torch.arange(count),
        pos_gt_labels=torch.arange(count) % 3,
    )
    return masks, result, InstanceData(masks=BitmapMasks(masks.astype(np.uint8), 4, 4))


@pytest.mark.parametrize('class_agnostic', [False, True])
def test_ignored_pixels_teach_nothing(class_agnostic):
    """The mean over the pixels that are left, of one image with ignored ones and one without."""
    masks, *first = pixel_batch(*PIXELS[:3])
    others, *second = pixel_batch(PIXELS[3])
    results, instances = zip(first, second, strict=True)
    head = ProxyMaskHead(**HEAD, class_agnostic=class_agnostic)
    preds = torch.randn(4, 1 if class_agnostic else 3, 4, 4, requires_grad=True)
    out = head.loss_and_target(preds, results, instances, Config(dict(mask_size=4)))

    entropies = []
    for pred, mask, label in zip(preds, [*masks, *others], (0, 1, 2, 0), strict=True):
        for logit, value in zip(
            pred[0 if class_agnostic else label].flatten().tolist(), mask.flatten(), strict=True
        ):
            if value in (0, 1):
                entropies.append(np.log1p(np.exp(-logit if value else logit)))
    assert len(entropies) == (8 + 15 + 16)
    loss = out['loss_mask']['loss_mask']
    assert loss.item() == pytest.approx(np.mean(entropies), rel=1e-5)
    loss.sum().backward()
    learnt = (preds.grad != 0).any(dim=1)
    assert (learnt.numpy() == (np.concatenate([masks, others]) <= 1)).all()


def test_targets_beside_ignored_pixels():
    """A cell of 2x2 pixels is object if half of it is, and ignored if half of it is."""
    _, result, instances = pixel_batch('1010 0?1? 1100 ??11')
    head = ProxyMaskHead(**HEAD)
    preds = torch.randn(1, 3, 2, 2, requires_grad=True)
    out = head.loss_and_target(preds, [result], [instances], Config(dict(mask_size=2)))
    assert out['mask_targets'].tolist() == [[[0, 1], [1, 1]]]
    out['loss_mask']['loss_mask'].sum().backward()
    assert (preds.grad[0, 0] != 0).tolist() == [[True, True], [False, True]]


def test_nothing_but_ignored_pixels_in_an_roi():
    """An RoI may lie beside the object pixels of its mask."""
    _, result, instances = pixel_batch('???1 ???1 ???1 ???1')
    result.pos_priors = torch.tensor([[0.0, 0, 3, 4]])
    head = ProxyMaskHead(**HEAD)
    preds = head(torch.randn(1, 4, 2, 2))
    out = head.loss_and_target(preds, [result], [instances], Config(dict(mask_size=4)))
    loss = out['loss_mask']['loss_mask']
    assert loss.item() == 0
    assert all((gradient == 0).all() for gradient in gradients(head, loss).values())


def mask_rcnn(mask_head):
    """A Mask R-CNN as in mmdet's config, small."""
    cfg = Config.fromfile(config_path('proxy_mask_rcnn/r50_fpn_voc.py')).model
    cfg.backbone.update(depth=18, base_channels=8, init_cfg=None, frozen_stages=-1)
    cfg.neck.update(in_channels=[8, 16, 32, 64], out_channels=8)
    cfg.rpn_head.update(in_channels=8, feat_channels=8)
    for extractor in (cfg.roi_head.bbox_roi_extractor, cfg.roi_head.mask_roi_extractor):
        extractor.out_channels = 8
    cfg.roi_head.bbox_head.update(in_channels=8, fc_out_channels=16, num_classes=3)
    cfg.roi_head.mask_head.update(
        type=mask_head, num_convs=1, in_channels=8, conv_out_channels=8, num_classes=3
    )
    torch.manual_seed(0)
    model = MMDET_MODELS.build(cfg)
    model.init_weights()
    return model


def data_samples(*kept):
    inputs, samples = [], []
    generator = torch.Generator().manual_seed(0)
    for image, flags in enumerate(kept):
        bboxes, masks = gt_masks(flags, image)
        sample = DetDataSample(
            metainfo=dict.fromkeys(('img_shape', 'pad_shape', 'batch_input_shape'), (64, 64))
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(bboxes).float() * 2,
            labels=torch.arange(len(flags)) % 3,
            masks=masks.resize((64, 64)),
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
        inputs.append(torch.rand(3, 64, 64, generator=generator))
    return torch.stack(inputs), samples


@pytest.mark.parametrize('kept', [((True, True), (True,)), ((True, False), (False,)), ((False,),)])
def test_only_the_mask_loss_changes_in_a_mask_rcnn(kept):
    losses = {}
    for head in ('FCNMaskHead', 'mmboxcaseg.ProxyMaskHead'):
        model = mask_rcnn(head)
        inputs, samples = data_samples(*kept)
        torch.manual_seed(1)
        losses[head] = model.loss(inputs, samples)
        total, _ = model.parse_losses(losses[head])
        total.backward()
        for name, parameter in model.named_parameters():
            # MSRA's batch norms are frozen.
            if parameter.requires_grad:
                assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    stock, ours = losses.values()
    assert stock.keys() == ours.keys()
    for name in stock.keys() - {'loss_mask'}:
        torch.testing.assert_close(ours[name], stock[name], rtol=0, atol=0)
    if all(flag for flags in kept for flag in flags):
        assert ours['loss_mask'].item() == stock['loss_mask'].item()
    else:
        assert ours['loss_mask'].item() != stock['loss_mask'].item()
        assert (ours['loss_mask'].item() == 0) == (kept == ((False,),))
