import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import RTMDetInsSepBNHead
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmboxcaseg import config_path
from mmboxcaseg.models import ProxyRTMDetInsSepBNHead
from mmboxcaseg.proxy import DROPPED

SIZE = 64
BBOXES = [[4, 4, 30, 40], [20, 10, 60, 50], [34, 36, 62, 62]]


@pytest.fixture(scope='module')
def heads():
    """A stock head and ours with the same weights."""
    cfg = Config.fromfile(config_path('proxy_segmenters/rtmdet-ins_s_coco.py')).model
    settings = cfg.bbox_head | dict(in_channels=8, feat_channels=8, num_classes=3)
    settings.update(norm_cfg=dict(type='BN'), train_cfg=cfg.train_cfg, test_cfg=cfg.test_cfg)
    assert settings.pop('type') == 'mmboxcaseg.ProxyRTMDetInsSepBNHead'
    torch.manual_seed(0)
    stock, ours = RTMDetInsSepBNHead(**settings), ProxyRTMDetInsSepBNHead(**settings)
    stock.init_weights()
    ours.load_state_dict(stock.state_dict())
    return stock, ours


def losses_of(head, *kept):
    """Losses on random features, of an image for each tuple of flags."""
    generator = torch.Generator().manual_seed(len(kept))
    features = [torch.randn(len(kept), 8, side, side, generator=generator) for side in (8, 4, 2)]
    rng = np.random.default_rng(0)
    instances = []
    for flags in kept:
        bboxes = np.array(BBOXES[: len(flags)]).reshape(-1, 4)
        masks = np.zeros((len(flags), SIZE, SIZE), np.uint8)
        for mask, (x1, y1, x2, y2), is_kept in zip(masks, bboxes, flags, strict=True):
            mask[y1:y2, x1:x2] = rng.random((y2 - y1, x2 - x1)) > 0.4 if is_kept else DROPPED
        instances.append(
            InstanceData(
                bboxes=torch.from_numpy(bboxes).float(),
                labels=torch.arange(len(flags)),
                masks=BitmapMasks(masks, SIZE, SIZE),
            )
        )
    metas = [dict(img_shape=(SIZE, SIZE), pad_shape=(SIZE, SIZE))] * len(kept)
    head.zero_grad()
    return head.loss_by_feat(*head(features), instances, metas)


def test_equals_the_stock_head_when_all_are_kept(heads):
    stock, ours = (losses_of(head, (True, True), (True,) * 3) for head in heads)
    for name in ('loss_cls', 'loss_bbox'):
        assert [loss.item() for loss in ours[name]] == [loss.item() for loss in stock[name]]
    assert ours['loss_mask'].item() == stock['loss_mask'].item() > 0


@pytest.mark.parametrize('kept', [((True, False), (False, True, True)), ((False,), (True, False))])
def test_mask_loss_is_the_mean_over_the_kept(heads, kept, monkeypatch):
    """Boxes and classes learn of all objects, masks of the kept ones: dice by hand."""
    stock, ours = heads
    found = {}
    mask_loss, dice_loss = stock.loss_mask_by_feat, stock.loss_mask.forward

    def keep_positives(mask_feats, kernels, results, instances):
        found['inds'] = [result.pos_assigned_gt_inds for result in results]
        return mask_loss(mask_feats, kernels, results, instances)

    def keep_pairs(logits, targets, **kwargs):
        found['pairs'] = logits.sigmoid(), targets
        return dice_loss(logits, targets, **kwargs)

    monkeypatch.setattr(stock, 'loss_mask_by_feat', keep_positives)
    monkeypatch.setattr(stock.loss_mask, 'forward', keep_pairs)
    expected = losses_of(stock, *kept)
    losses = losses_of(ours, *kept)
    for name in ('loss_cls', 'loss_bbox'):
        assert [loss.item() for loss in losses[name]] == [loss.item() for loss in expected[name]]
    dice = []
    flags = []
    for known, inds in zip(kept, found['inds'], strict=True):
        flags += torch.tensor(known)[inds].tolist()
    assert {True, False} == set(flags)
    for prob, target, flag in zip(*found['pairs'], flags, strict=True):
        if flag:
            product, squares = (prob * target).sum(), prob.square().sum() + target.sum()
            dice.append(1 - 2 * product / (squares + 1e-5))
    loss = 2 * torch.stack(dice).mean().item()
    assert losses['loss_mask'].item() == pytest.approx(loss, rel=1e-5)
    assert losses['loss_mask'].item() != pytest.approx(expected['loss_mask'].item(), rel=1e-3)


def test_dropped_masks_give_the_kernels_no_gradient(heads):
    _, ours = heads
    losses = losses_of(ours, (False, False), (False,))
    assert losses['loss_mask'].item() == 0
    losses['loss_mask'].backward()
    masks = {n: p for n, p in ours.named_parameters() if 'kernel' in n or 'mask_head' in n}
    assert len(masks) > 8
    for name, parameter in masks.items():
        # Zero and not None: DDP waits for all of them.
        assert parameter.grad is not None and (parameter.grad == 0).all(), name
    losses = losses_of(ours, (True, False), (False,))
    losses['loss_mask'].backward()
    assert any((parameter.grad != 0).any() for parameter in masks.values())


def test_image_without_objects(heads):
    stock, ours = (losses_of(head, (), (True, True)) for head in heads)
    assert ours['loss_mask'].item() == stock['loss_mask'].item() > 0
    assert losses_of(heads[1], ())['loss_mask'].item() == 0
