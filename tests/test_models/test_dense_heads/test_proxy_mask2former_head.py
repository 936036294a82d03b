import math

import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import Mask2FormerHead
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmboxcaseg import config_path
from mmboxcaseg.models import ProxyMask2FormerHead
from mmboxcaseg.proxy import DROPPED

SIZE = 32
NUM_QUERIES = 6
NUM_POINTS = 16


@pytest.fixture(scope='module')
def heads():
    """A stock head and ours with the same weights."""
    cfg = Config.fromfile(config_path('proxy_segmenters/mask2former_r50_coco.py')).model
    settings = cfg.panoptic_head
    assert settings.pop('type') == 'mmboxcaseg.ProxyMask2FormerHead'
    settings.update(in_channels=[8] * 4, num_things_classes=3, num_queries=NUM_QUERIES)
    settings.loss_cls.class_weight = [1.0] * 3 + [0.1]
    settings.pixel_decoder.encoder.num_layers = 1
    settings.transformer_decoder.num_layers = 1
    settings.update(train_cfg=cfg.train_cfg | dict(num_points=NUM_POINTS), test_cfg=cfg.test_cfg)
    torch.manual_seed(0)
    stock, ours = Mask2FormerHead(**settings), ProxyMask2FormerHead(**settings)
    stock.init_weights()
    ours.load_state_dict(stock.state_dict())
    return stock, ours


def bitmaps(kept):
    """Masks of the left columns, and dropped ones."""
    masks = np.zeros((len(kept), SIZE, SIZE), np.uint8)
    for place, flag in enumerate(kept):
        masks[place, :, : 8 * (place + 1)] = 1 if flag else DROPPED
    return BitmapMasks(masks, SIZE, SIZE)


def losses_of(head, *kept):
    """Losses on random features, of an image for each tuple of flags."""
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(len(kept), 8, side, side, generator=generator) for side in (8, 4, 2, 1)]
    samples = []
    for flags in kept:
        sample = DetDataSample(metainfo=dict(img_shape=(SIZE, SIZE)))
        sample.gt_instances = InstanceData(labels=torch.arange(len(flags)), masks=bitmaps(flags))
        samples.append(sample)
    head.zero_grad()
    torch.manual_seed(1)
    return head.loss(features, samples)


def test_equals_the_stock_head_when_all_are_kept(heads):
    stock, ours = (losses_of(head, (True, True), (True,) * 3) for head in heads)
    assert {name: loss.item() for name, loss in ours.items()} == {
        name: loss.item() for name, loss in stock.items()
    }


def test_dropped_masks_teach_classes_alone(heads):
    kept = (True, False), (False, False, True)
    stock, ours = (losses_of(head, *kept) for head in heads)
    assert stock.keys() == ours.keys()
    # Of the first layer: the later ones draw other points, for fewer masks.
    assert ours['d0.loss_cls'].item() == stock['d0.loss_cls'].item()
    assert ours['d0.loss_mask'].item() != stock['d0.loss_mask'].item()
    none = losses_of(heads[1], (False, False), (False,))
    masks = [loss for name, loss in none.items() if 'loss_cls' not in name]
    assert len(masks) == 4 and all(loss == 0 for loss in masks)
    assert all(loss > 0 for name, loss in none.items() if 'loss_cls' in name)
    sum(masks).backward()
    for name, parameter in heads[1].mask_embed.named_parameters():
        # Zero and not None: DDP waits for all of them.
        assert parameter.grad is not None and (parameter.grad == 0).all(), name


def targets(head, kept):
    samples = [InstanceData(labels=torch.arange(len(kept)), masks=bitmaps(kept))]
    return head.preprocess_gt(samples, [None])[0]


def test_mask_losses_are_the_means_over_the_kept(heads, monkeypatch):
    """By hand: flat maps, whose losses are the same at every inner point, on full masks."""
    monkeypatch.setattr(
        'mmdet.models.dense_heads.mask2former_head.get_uncertain_point_coords_with_randomness',
        lambda preds, *_: torch.full((len(preds), NUM_POINTS, 2), 0.5),
    )
    kept = (True, False, True)
    head = heads[1]
    gt = targets(head, kept)
    gt.masks[:] = 1
    # So much alike that classes tell which query is whose: object 0 has query 4, object 1 query 1,
    # object 2 query 3.
    logits = torch.tensor([0.5, 0.4, 0.6, 0.3, 0.45, 0.55])
    cls_scores = torch.full((1, NUM_QUERIES, 4), -20.0)
    for query, label in ((4, 0), (1, 1), (3, 2)):
        cls_scores[0, query, label] = 20
    preds = logits.view(1, -1, 1, 1).repeat(1, 1, 8, 8).requires_grad_()
    _, loss_mask, loss_dice = head._loss_by_feat_single(cls_scores, preds, [gt], [{}])
    chosen = logits[[4, 3]].tolist()
    entropies = [math.log1p(math.exp(-logit)) for logit in chosen]
    assert loss_mask.item() == pytest.approx(5 * sum(entropies) / 2, rel=1e-5)
    probs = [NUM_POINTS / (1 + math.exp(-logit)) for logit in chosen]
    dice = [1 - (2 * prob + 1) / (prob + NUM_POINTS + 1) for prob in probs]
    assert loss_dice.item() == pytest.approx(5 * sum(dice) / 2, rel=1e-5)
    (loss_mask + loss_dice).backward()
    reached = preds.grad.abs().sum(dim=(0, 2, 3)) > 0
    assert reached.int().tolist() == [0, 0, 0, 1, 1, 0]


def test_stuff_is_always_learnt(heads):
    """Beside things with proxy masks there may be stuff with true ones."""
    _, head = heads
    head = ProxyMask2FormerHead.__new__(ProxyMask2FormerHead)
    torch.nn.Module.__init__(head)
    head.num_things_classes, head.num_stuff_classes = 3, 2
    instances = InstanceData(labels=torch.tensor([0, 1]), masks=bitmaps((False, True)))
    stuff = InstanceData(sem_seg=torch.full((1, SIZE, SIZE), 4))
    (gt,) = head.preprocess_gt([instances], [stuff])
    assert gt.labels.tolist() == [0, 1, 4]
    assert gt.mask_is_kept.tolist() == [False, True, True]
