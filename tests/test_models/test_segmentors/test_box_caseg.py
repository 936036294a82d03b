import math

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmboxcaseg.errors import InputError
from mmboxcaseg.models.layers import box_maps, other_boxes_maps
from mmboxcaseg.models.segmentors import box_caseg as box_caseg_module
from mmboxcaseg.registry import MODELS

BACKBONES = {
    'mmseg HRNet': (None, 4 + 8 + 16 + 32),
    'EfficientNetLite': (dict(type='mmboxcaseg.EfficientNetLite'), 24 + 40 + 112 + 320),
    'mmdet ResNet': (
        # At least eight channels: torch 2.13 frees memory twice in the backward pass of a strided
        # 1x1 convolution of 3, 4, 5 or 7 input channels in channels-last layout, on AVX2 machines.
        dict(type='ResNet', depth=18, base_channels=8, norm_eval=False),
        8 + 16 + 32 + 64,
    ),
}
MAPS = ['weak', 'salient', 'transferred', 'fused']
HEADS = {
    'weak': dict(salient_head=None, transferred_head=None),
    'salient': dict(weak_head=None, transferred_head=None),
    'weak + transferred': dict(salient_head=None),
    'weak + salient': dict(transferred_head=None),
    'all': dict(),
}
OWN = dict(type='mmboxcaseg.BoxPrompt')
BOTH = dict(type='mmboxcaseg.BoxPrompt', own=True, others=True)
BOXES = ('box', 'box', 'box')
MASKS = ('mask', 'mask', 'mask')
MIXED = ('box', 'mask', 'box', 'mask')


@pytest.fixture
def build(box_caseg_cfg):
    return lambda **changes: MODELS.build(box_caseg_cfg(**changes))


@pytest.fixture(params=BACKBONES)
def any_backbone(request, build):
    backbone, channels = BACKBONES[request.param]
    changes = dict(backbone=backbone) if backbone else {}
    return lambda **more: build(channels=channels, **changes, **more)


def backward(model, batch):
    loss, _ = model.parse_losses(model(*batch, mode='loss'))
    loss.backward()
    return loss


def slack_sample(**metainfo):
    """A patch of a box of 20x18 pixels of an image of 48x40."""
    sample = DetDataSample(metainfo=dict(bbox=[2, 3, 22, 21], ori_shape=(40, 48), **metainfo))
    sample.gt_instances = InstanceData(bboxes=torch.tensor([[10.0, 10, 50, 46]]))
    return sample


def spy_boxes(monkeypatch):
    """Collect the windows that maps are made of."""
    windows = []
    whole = box_caseg_module.map_of_box

    def spy(logits, size, bboxes=None):
        windows.append(bboxes)
        return whole(logits, size, bboxes)

    monkeypatch.setattr(box_caseg_module, 'map_of_box', spy)
    return windows


def batch_sizes_of(module):
    """Collect the batch size of every call of a module."""
    sizes = []
    module.register_forward_hook(lambda m, args, out: sizes.append(len(args[0])))
    return sizes


def draw_norms(model):
    """Give every norm statistics and weights as after training: far from 0 and 1."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight.data, module.running_var):
                values.uniform_(0.5, 2)
            for values in (module.bias.data, module.running_mean):
                values.normal_(std=0.3)
    return model.eval()


def logits_of(model, inputs):
    """Of every head; probabilities of a network that is not trained are 0 or 1 or all the same."""
    features = model.extract_feat(inputs)
    heads = [head for head in (model.weak_head, model.salient_head) if head is not None]
    logits = [head(features) for head in heads]
    if model.transferred_head is not None:
        logits.append(model.transferred_head(features, model.weak_head))
    return logits


class TestFolded:
    """The copy for tests, without norms."""

    @staticmethod
    def check(model):
        draw_norms(model)
        folded = model.folded()
        inputs = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            expected, found = logits_of(model, inputs), logits_of(folded, inputs)
        for one, other in zip(expected, found, strict=True):
            assert one.std() > 0
            assert (one - other).abs().max() < 1e-3 * one.std() + 1e-6 * one.abs().max()
        return folded

    @pytest.mark.parametrize('heads', HEADS)
    def test_same_logits_of_every_backbone_and_all_heads(self, any_backbone, heads):
        model = any_backbone(**HEADS[heads])
        folded = self.check(model)
        left = [name for name, m in folded.named_modules() if isinstance(m, torch.nn.BatchNorm2d)]
        of_the_transfer = ['weak_head.norm', 'transferred_head.norm']
        assert left == (of_the_transfer if model.transferred_head else [])

    def test_neck(self, build):
        neck = dict(type='mmboxcaseg.FineNeck', in_channels=[16, 24, 40], out_channels=8)
        backbone = dict(type='mmboxcaseg.EfficientNetLite', out_stages=(1, 2, 3))
        heads = HEADS['salient']
        model = build(backbone=backbone, neck=neck, channels=8, channels_last=True, **heads)
        self.check(model)

    def test_copy_is_apart(self, build):
        model = draw_norms(build(**HEADS['salient'])).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        folded = model.folded()
        for parameter in folded.parameters():
            parameter.data.zero_()
        assert model.training and not folded.training
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class TestContract:
    """What holds for every backbone of several scales."""

    def test_forward_and_backward(self, any_backbone, make_batch):
        model = any_backbone()
        batch = make_batch(MIXED, size=64)
        losses = model(*batch, mode='loss')
        assert set(losses) == {'loss_mil', 'loss_smooth', 'loss_pixel'}
        loss, _ = model.parse_losses(losses)
        assert loss.item() == pytest.approx(sum(value.item() for value in losses.values()))
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    def test_predict(self, any_backbone, make_batch):
        model = any_backbone(test_cfg=dict(maps=MAPS)).eval()
        inputs, samples = make_batch(BOXES, size=64)
        with torch.no_grad():
            predicted = model(inputs, samples, mode='predict')
            maps = model(inputs, samples, mode='tensor')
        assert len(predicted) == len(samples)
        assert set(maps) == set(MAPS)
        for index, sample in enumerate(predicted):
            assert set(sample.pred_maps.keys()) == set(MAPS)
            for name in MAPS:
                prob = sample.pred_maps.get(name)
                assert prob.shape == (1, 64, 64)
                assert prob.dtype == torch.float32
                assert 0 <= prob.min() <= prob.max() <= 1
                assert torch.equal(prob, maps[name][index])

    def test_saved_and_loaded_gives_the_same_output(self, any_backbone, make_batch, tmp_path):
        model = any_backbone()
        inputs, samples = make_batch(MIXED, size=64)
        model(inputs, samples, mode='loss')  # moves the norm layers' statistics
        torch.save(model.state_dict(), tmp_path / 'model.pth')
        other = any_backbone()
        model.eval()
        other.eval()
        assert not torch.equal(model(inputs)['fused'], other(inputs)['fused'])
        other.load_state_dict(torch.load(tmp_path / 'model.pth'))
        assert torch.equal(model(inputs)['fused'], other(inputs)['fused'])


def test_learns_a_batch_by_heart(build, make_batch):
    model = build()
    batch = make_batch(('mask', 'mask'))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        losses.append(backward(model, batch).item())
        optimizer.step()
    assert losses[-1] < losses[0] / 2


def test_neck(build, make_batch):
    neck = dict(
        type='ChannelMapper', in_channels=[4, 8, 16, 32], out_channels=5, kernel_size=1, num_outs=4
    )
    model = build(neck=neck, channels=20)
    backward(model, make_batch(MIXED))
    assert all(p.grad.abs().sum() > 0 for n, p in model.neck.named_parameters() if 'weight' in n)


class TestTraining:
    def test_pixel_heads_run_on_mask_patches_only(self, build, make_batch):
        model = build()
        by_lines = batch_sizes_of(model.loss_mil)
        weak, salient = batch_sizes_of(model.weak_head), batch_sizes_of(model.salient_head)
        transferred = batch_sizes_of(model.transferred_head)
        model(*make_batch(('box', 'mask', 'box', 'box', 'mask')), mode='loss')
        assert (weak, salient, transferred) == ([5], [2], [2])
        # Salient patches have the loss of the weak head too (Sec. 3.3.1: S in {S_s, S_w}).
        assert by_lines == [5]

    def test_box_patches_do_not_touch_the_norms_of_pixel_heads(self, build, make_batch):
        model = build()
        # In eval mode the backbone gives a patch the same features in every batch.
        model.backbone.eval()
        inputs, samples = make_batch(MIXED)
        statistics = []
        for scale in (1, 100):
            for head in (model.salient_head, model.transferred_head):
                head.norm.reset_running_stats()
            inputs[[0, 2]] *= scale
            model(inputs, samples, mode='loss')
            statistics.append(model.salient_head.norm.running_mean.clone())
            statistics.append(model.transferred_head.norm.running_var.clone())
        assert statistics[0].abs().sum() > 0
        torch.testing.assert_close(statistics[:2], statistics[2:])

    def test_masks_go_to_their_own_patches(self, build, make_batch):
        model = build()
        inputs, samples = make_batch(MIXED)
        samples[3].gt_sem_seg.sem_seg.zero_()
        seen = []
        model.loss_pixel.register_forward_pre_hook(lambda m, args: seen.extend(args))
        model.backbone.eval()
        model(inputs, samples, mode='loss')
        logits, target = seen
        assert target.flatten(1).any(1).tolist() == [True, False]
        features = model.extract_feat(inputs)[[1, 3]]
        salient, transferred = (
            torch.nn.functional.interpolate(head, (32, 32), mode='bilinear')
            for head in (
                model.salient_head(features),
                model.transferred_head(features, model.weak_head),
            )
        )
        # The best alpha of Table 6.
        torch.testing.assert_close(logits, 0.7 * salient + 0.3 * transferred)

    @pytest.mark.parametrize('heads', HEADS)
    @pytest.mark.parametrize('supervisions', [BOXES, MASKS, MIXED])
    def test_every_parameter_gets_a_gradient(self, build, make_batch, heads, supervisions):
        model = build(**HEADS[heads])
        loss = backward(model, make_batch(supervisions))
        assert loss.isfinite()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    @pytest.mark.parametrize('masks_elsewhere', [0, 2])
    def test_synchronised_norms_run_on_every_rank_or_on_none(
        self, build, make_batch, monkeypatch, masks_elsewhere
    ):
        # A SyncBN waits for all ranks: where another one has masks, this one has to take part.
        monkeypatch.setattr(torch.nn.SyncBatchNorm, 'forward', torch.nn.BatchNorm2d.forward)
        monkeypatch.setattr(
            box_caseg_module, 'all_reduce', lambda count: count.add_(masks_elsewhere)
        )
        head = dict(in_channels=60, norm_cfg=dict(type='SyncBN'))
        model = build(
            salient_head=dict(type='mmboxcaseg.PatchHead', **head),
            transferred_head=dict(type='mmboxcaseg.TransferredHead', expansion=2, **head),
        )
        salient = batch_sizes_of(model.salient_head.norm)
        transferred = batch_sizes_of(model.transferred_head.norm)
        losses = model(*make_batch(BOXES), mode='loss')
        assert salient == transferred == ([0] if masks_elsewhere else [])
        assert losses['loss_pixel'].item() == 0
        model.parse_losses(losses)[0].backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    def test_ranks_wait_for_each_other_only_if_norms_do(self, build, make_batch, monkeypatch):
        monkeypatch.setattr(box_caseg_module, 'all_reduce', None)
        build()(*make_batch(BOXES), mode='loss')

    def test_a_batch_of_boxes_leaves_the_pixel_heads_alone(self, build, make_batch):
        model = build()
        before = {
            name: value.clone()
            for name, value in model.state_dict().items()
            if not name.endswith('num_batches_tracked')
        }
        losses = model(*make_batch(BOXES), mode='loss')
        assert losses['loss_pixel'].item() == 0
        after = model.state_dict()
        for name, value in before.items():
            if name.startswith(('salient_head', 'transferred_head')):
                assert torch.equal(after[name], value), name

    def test_box_patches_teach_nothing_without_a_weak_head(self, build, make_batch):
        model = build(**HEADS['salient'])
        model.backbone.eval()
        inputs, samples = make_batch(MIXED)
        mixed = model(inputs, samples, mode='loss')
        alone = model(inputs[[1, 3]], [samples[1], samples[3]], mode='loss')
        assert set(mixed) == {'loss_pixel'}
        torch.testing.assert_close(mixed['loss_pixel'], alone['loss_pixel'])

    def test_pixel_loss_reaches_the_weak_head_only_through_the_backbone(self, build, make_batch):
        model = build(alpha=0.3)
        model(*make_batch(MIXED), mode='loss')['loss_pixel'].backward()
        for name, parameter in model.weak_head.named_parameters():
            assert parameter.grad is None or not parameter.grad.any(), name
        for module in (model.backbone, model.salient_head, model.transferred_head):
            assert any(p.grad.abs().sum() > 0 for p in module.parameters())

    def test_mil_loss_does_not_reach_the_pixel_heads(self, build, make_batch):
        model = build()
        losses = model(*make_batch(MIXED), mode='loss')
        (losses['loss_mil'] + losses['loss_smooth']).backward()
        for module in (model.salient_head, model.transferred_head):
            assert all(p.grad is None or not p.grad.any() for p in module.parameters())
        assert all(p.grad is not None for p in model.weak_head.parameters())

    def test_box_without_area_is_learned_from(self, build, make_batch):
        # A crop beside the salient object: every line is negative, the mask is empty.
        inputs, samples = make_batch(MASKS)
        for sample in samples:
            sample.gt_instances.bboxes = torch.zeros(1, 4)
            sample.gt_sem_seg.sem_seg.zero_()
        assert backward(build(), (inputs, samples)).isfinite()

    def test_autocast(self, build, make_batch):
        model = build()
        with torch.autocast('cpu', dtype=torch.bfloat16):
            losses = model(*make_batch(MIXED), mode='loss')
            maps = model.eval()(*make_batch(BOXES), mode='predict')[0].pred_maps
        assert all(loss.dtype == torch.float32 for loss in losses.values())
        assert all(loss.isfinite() for loss in losses.values())
        assert maps.fused.dtype == torch.float32


class TestOtherBoxes:
    def test_channels_stand_behind_the_box(self, build, make_batch):
        model = build(prompt=BOTH)
        seen = []
        model.backbone.register_forward_pre_hook(lambda module, args: seen.extend(args))
        inputs, samples = make_batch(MIXED)
        for mode in ('loss', 'predict', 'tensor'):
            model(inputs, samples, mode=mode)
        bboxes = torch.cat([sample.gt_instances.bboxes for sample in samples])
        others = [sample.other_instances.bboxes for sample in samples]
        expected = other_boxes_maps(bboxes, others, 32, 32)[:, 0]
        assert expected.any() and len(others[0]) != len(others[1])
        for images in seen:
            assert images.shape == (4, 5, 32, 32)
            assert torch.equal(images[:, :3], inputs)
            assert torch.equal(images[:, 3:4], box_maps(bboxes, 32, 32))
            assert torch.equal(images[:, 4], expected)

    def test_weights_of_the_box_alone_stay_in_their_place(self, build, make_batch):
        inputs, samples = make_batch(BOXES)
        plain = build(prompt=OWN).eval()
        model = build(prompt=BOTH).eval()
        weights = plain.state_dict()
        for name, value in model.state_dict().items():
            if value.shape != weights[name].shape:
                torch.nn.init.normal_(weights[name])
                weights[name] = torch.cat([weights[name], torch.zeros_like(value[:, :1])], dim=1)
        model.load_state_dict(weights)
        plain.load_state_dict(
            {k: v[:, :4] if v.ndim == 4 and v.shape[1] == 5 else v for k, v in weights.items()}
        )
        with torch.no_grad():
            torch.testing.assert_close(
                model(inputs, samples)['fused'], plain(inputs, samples)['fused']
            )

    def test_are_not_asked_for_where_they_are_not_drawn(self, build, make_batch):
        inputs, samples = make_batch(MIXED)
        for sample in samples:
            del sample.other_instances
        build(prompt=OWN)(inputs, samples, mode='loss')
        with pytest.raises(AttributeError, match='other_instances'):
            build(prompt=BOTH)(inputs, samples, mode='loss')


class TestPrediction:
    def test_threshold_goes_with_the_maps(self, build, make_batch):
        for test_cfg, expected in ((None, 0.5), (dict(threshold='best'), 'best')):
            model = build(test_cfg=test_cfg).eval()
            samples = model(*make_batch(BOXES), mode='predict')
            assert {sample.threshold for sample in samples} == {expected}
        with pytest.raises(InputError, match='test_cfg.threshold must be in'):
            build(test_cfg=dict(threshold=2))

    @pytest.mark.parametrize(
        ('meta', 'window'),
        [
            # In the image the box grown by 5 of 20 and 4.5 of 18 pixels is [0, 0, 27, 26], cut on
            # the left and above; a pixel of the patch is half of one.
            (dict(), [6, 4, 60, 56]),
            (dict(flip=False, flip_direction=None), [6, 4, 60, 56]),
            (dict(flip=True, flip_direction='horizontal'), [0, 4, 54, 56]),
            (dict(flip=True, flip_direction='vertical'), [6, 0, 60, 52]),
            (dict(flip=True, flip_direction='diagonal'), [0, 0, 54, 52]),
        ],
    )
    def test_maps_are_those_of_the_grown_boxes(self, build, monkeypatch, meta, window):
        sample = slack_sample(patch_bbox=np.array([-3, -2, 27, 26]), **meta)
        windows, prompts = spy_boxes(monkeypatch), []
        model = build(test_cfg=dict(slack=0.25), prompt=OWN).eval()
        model.prompt.register_forward_hook(lambda m, args, out: prompts.append(args[1]))
        (predicted,) = model(torch.zeros(1, 3, 56, 60), [sample], mode='predict')
        assert predicted.slack == 0.25
        assert [w.tolist() for w in windows] == [[window]] * 2
        # The prompt is the box itself.
        assert prompts[0].tolist() == sample.gt_instances.bboxes.tolist()

    def test_without_slack_the_boxes_are_as_they_were_given(self, build, make_batch, monkeypatch):
        windows = spy_boxes(monkeypatch)
        inputs, samples = make_batch(BOXES)
        (predicted, *_) = build().eval()(inputs, samples, mode='predict')
        assert predicted.slack == 0
        given = torch.cat([sample.gt_instances.bboxes for sample in samples])
        assert len(windows) == 2 and all(torch.equal(window, given) for window in windows)

    def test_a_salient_image_has_no_box_to_leave(self, build, monkeypatch):
        windows = spy_boxes(monkeypatch)
        sample = slack_sample(patch_bbox=np.array([0, 0, 48, 40]))
        del sample.bbox
        build(test_cfg=dict(slack=0.25)).eval()(torch.zeros(1, 3, 32, 32), [sample], mode='predict')
        assert windows[0].tolist() == [[0, 0, 32, 32]]

    def test_patch_that_shows_less_than_the_slack(self, build):
        model = build(test_cfg=dict(slack=0.25)).eval()
        for patch in ([1, 0, 27, 26], [0, 1, 27, 26], [0, 0, 26, 26], [0, 0, 27, 25]):
            sample = slack_sample(patch_bbox=np.array(patch), img_path='a.jpg')
            with pytest.raises(InputError, match=r'a.jpg .* slack of 0.25 .*\[0, 0, 27, 26\]'):
                model(torch.zeros(1, 3, 32, 32), [sample], mode='predict')

    @pytest.mark.parametrize('slack', [-0.1, 1.5, 'wide'])
    def test_slack_that_is_none(self, build, slack):
        with pytest.raises(InputError, match=r'test_cfg.slack must be in \[0, 1\]'):
            build(test_cfg=dict(slack=slack))

    @pytest.mark.parametrize(
        'calibration', [0.8, None, 'no', (1,), (1, 2, 3), (0, 1), (-1, 0), (1, 'a'), (1, np.nan)]
    )
    def test_calibration_that_is_none(self, build, calibration):
        assert build(test_cfg=dict(calibration=[0.5, -1])).calibration == (0.5, -1)
        with pytest.raises(InputError, match='must be a slope above 0 and an offset, not '):
            build(test_cfg=dict(calibration=calibration))

    def test_exclusive_that_is_none(self, build):
        assert [build(test_cfg=cfg).exclusive for cfg in ({}, dict(exclusive=True))] == [
            False,
            True,
        ]
        with pytest.raises(InputError, match="exclusive must be True or False, not 'no'"):
            build(test_cfg=dict(exclusive='no'))

    def test_weak_head_runs_only_if_asked_for(self, build, make_batch):
        batch = make_batch(BOXES)
        model = build().eval()
        sizes = batch_sizes_of(model.weak_head)
        assert set(model(*batch, mode='predict')[0].pred_maps.keys()) == {'fused'}
        assert sizes == []
        model = build(test_cfg=dict(maps=['weak', 'fused'])).eval()
        sizes = batch_sizes_of(model.weak_head)
        assert set(model(*batch, mode='predict')[0].pred_maps.keys()) == {'weak', 'fused'}
        assert sizes == [3]

    def test_pixel_heads_do_not_run_for_the_weak_map(self, build, make_batch):
        model = build(test_cfg=dict(maps=['weak'])).eval()
        sizes = batch_sizes_of(model.salient_head)
        model(*make_batch(BOXES), mode='predict')
        assert sizes == []

    @pytest.mark.parametrize('fuse', ['logit', 'prob'])
    def test_fused_map(self, build, make_batch, fuse):
        model = build(alpha=0.6, fuse=fuse, test_cfg=dict(maps=MAPS)).eval()
        maps = model(make_batch(BOXES)[0])
        if fuse == 'prob':
            expected = 0.6 * maps['salient'] + 0.4 * maps['transferred']
        else:
            logits = 0.6 * maps['salient'].logit() + 0.4 * maps['transferred'].logit()
            expected = logits.sigmoid()
        torch.testing.assert_close(maps['fused'], expected)

    @pytest.mark.parametrize(
        ('heads', 'available'),
        [
            ('weak', ('weak',)),
            ('salient', ('salient', 'fused')),
            ('weak + transferred', ('weak', 'transferred', 'fused')),
            ('weak + salient', ('weak', 'salient', 'fused')),
            ('all', ('weak', 'salient', 'transferred', 'fused')),
        ],
    )
    @pytest.mark.parametrize('fuse', ['logit', 'prob'])
    def test_rows_of_table_4(self, build, make_batch, heads, available, fuse):
        model = build(**HEADS[heads], fuse=fuse).eval()
        assert model.available_maps == available
        assert model.maps == (model.output_map,) == (available[-1],)
        inputs, samples = make_batch(MASKS)
        maps = model.probability_maps(inputs, available)
        if heads != 'all' and 'fused' in available:
            # One head alone has all of the weight, whatever alpha says.
            torch.testing.assert_close(maps['fused'], maps[available[-2]])
            # So has its loss: Eq. 3 with alpha 0 or 1.
            target = torch.stack([s.gt_sem_seg.sem_seg for s in samples]).float()
            expected = torch.nn.functional.binary_cross_entropy(maps[available[-2]], target)
            torch.testing.assert_close(
                model(inputs, samples, mode='loss')['loss_pixel'], expected, atol=1e-6, rtol=1e-5
            )


class TestMapOfTheBox:
    def test_whole_patch_is_upsampled(self, build, make_batch):
        # What there was before boxes were given, bit for bit.
        model = build(test_cfg=dict(maps=MAPS)).eval()
        inputs, samples = make_batch(BOXES)
        for sample in samples:
            sample.gt_instances.bboxes = torch.tensor([[0.0, 0, 32, 32]])
        maps = model(inputs, samples)
        features = model.extract_feat(inputs)
        logits = torch.nn.functional.interpolate(
            model.salient_head(features), (32, 32), mode='bilinear', align_corners=False
        )
        assert torch.equal(maps['salient'], logits.sigmoid())
        for name, value in model(inputs).items():
            assert torch.equal(maps[name], value), name

    def test_training_looks_at_the_whole_patch(self, build, make_batch):
        model = build().eval()
        inputs, samples = make_batch(MASKS)
        before = model(inputs, samples, mode='loss')['loss_pixel']
        for sample in samples:
            sample.gt_instances.bboxes = torch.tensor([[3.0, 3, 9, 9]])
        assert model(inputs, samples, mode='loss')['loss_pixel'] == before


class TestPrompt:
    @staticmethod
    def teach(model):
        """Let the prompt matter, as training does."""
        stem = next(m for m in model.backbone.modules() if isinstance(m, torch.nn.Conv2d))
        assert stem.in_channels == 4
        with torch.no_grad():
            stem.weight[:, 3].normal_()
        return model.eval()

    def test_box_is_the_fourth_channel(self, build, make_batch):
        model = build(prompt=OWN)
        seen = []
        model.backbone.register_forward_pre_hook(lambda module, args: seen.extend(args))
        inputs, samples = make_batch(MIXED)
        bbox = torch.tensor([[4.0, 6, 26.5, 29]])
        expected = torch.zeros(4, 32, 32)
        expected[:, 6:29, 4:26] = 1
        expected[:, 6:29, 26] = 0.5
        for sample in samples:
            sample.gt_instances.bboxes = bbox
        for mode in ('loss', 'predict', 'tensor'):
            model(inputs, samples, mode=mode)
        model.probability_maps(inputs, ['fused'], bbox.expand(4, 4))
        assert len(seen) == 4
        for images in seen:
            assert torch.equal(images[:, :3], inputs)
            assert torch.equal(images[:, 3], expected)

    def test_without_boxes_the_whole_patch_is_one(self, build, make_batch):
        model = self.teach(build(prompt=OWN))
        inputs, _ = make_batch(BOXES)
        whole = torch.tensor([[0.0, 0, 32, 32]]).expand(3, 4)
        maps = model(inputs)['fused']
        assert torch.equal(maps, model.probability_maps(inputs, ['fused'], whole)['fused'])
        small = torch.tensor([[8.0, 8, 24, 24]]).expand(3, 4)
        features = model.extract_feat(inputs, small)
        assert not torch.allclose(features, model.extract_feat(inputs), atol=1e-3)

    @pytest.mark.parametrize(
        ('slack', 'moved', 'drawn'),
        [
            (0.0, (None, None, None), [1, 1, 1]),
            (0.0, (True, False, None), [0.5, 1, 1]),
            (0.1, (None, None, None), [0.5, 0.5, 0.5]),
        ],
    )
    def test_loose_boxes_are_those_moved_in_training_or_all_of_a_slack(
        self, build, make_batch, slack, moved, drawn
    ):
        model = build(prompt=dict(OWN, loose=True), test_cfg=dict(slack=slack))
        seen = []
        model.backbone.register_forward_pre_hook(lambda module, args: seen.extend(args))
        inputs, samples = make_batch(BOXES)
        for sample, loose in zip(samples, moved, strict=True):
            sample.set_metainfo({} if loose is None else dict(loose=loose))
        model(inputs, samples, mode='loss')
        assert seen[0][:, 3].amax((1, 2)).tolist() == drawn

    def test_starts_as_the_network_without(self, any_backbone, make_batch):
        plain = any_backbone().eval()
        prompted = any_backbone(prompt=OWN).eval()
        prompted.load_state_dict(plain.state_dict())
        inputs, _ = make_batch(BOXES, size=64)
        torch.testing.assert_close(prompted(inputs)['fused'], plain(inputs)['fused'])

    def test_trains(self, any_backbone, make_batch):
        model = any_backbone(prompt=OWN, channels_last=True)
        weight = next(m for m in model.backbone.modules() if isinstance(m, torch.nn.Conv2d)).weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert backward(model, make_batch(MIXED, size=64)).isfinite()
        assert weight.grad[:, 3].abs().sum() > 0

    def test_saved_and_loaded(self, build, make_batch, tmp_path):
        model = self.teach(build(prompt=OWN))
        torch.save(model.state_dict(), tmp_path / 'model.pth')
        other = build(prompt=OWN).eval()
        other.load_state_dict(torch.load(tmp_path / 'model.pth'))
        inputs, samples = make_batch(BOXES)
        assert torch.equal(model(inputs, samples)['fused'], other(inputs, samples)['fused'])


class TestErrors:
    @pytest.mark.parametrize('alpha', [-0.1, 1.1, math.nan, '0.7', None])
    def test_alpha(self, build, alpha):
        with pytest.raises(InputError, match=r'alpha must be in \[0, 1\]'):
            build(alpha=alpha)

    def test_transferred_without_weak(self, build):
        with pytest.raises(InputError, match='takes its weights from weak_head'):
            build(weak_head=None)

    def test_no_head(self, build):
        with pytest.raises(InputError, match='at least one'):
            build(weak_head=None, salient_head=None, transferred_head=None)

    def test_map_that_no_head_gives(self, build):
        with pytest.raises(InputError, match=r"asks for \['salient'\]"):
            build(salient_head=None, test_cfg=dict(maps=['salient', 'fused']))

    def test_fusion(self, build):
        with pytest.raises(InputError, match="fuse must be 'logit' or 'prob', not 'logits'"):
            build(fuse='logits')

    @pytest.mark.parametrize(
        'old',
        [dict(prompt=True), dict(prompt=False), dict(neighbours=True), dict(neighbours=False)],
    )
    def test_prompts_of_an_old_config(self, build, old):
        with pytest.raises(
            InputError, match=r"write prompt=dict\(type='mmboxcaseg.BoxPrompt', own"
        ):
            build(**old)

    def test_fusion_of_an_old_config(self, build):
        with pytest.raises(InputError, match='fuse is a setting of BoxCaseg, no longer of loss_pi'):
            build(loss_pixel=dict(type='mmboxcaseg.PixelLoss', fuse='prob'))

    def test_mode(self, build, make_batch):
        with pytest.raises(ValueError, match="not 'train'"):
            build()(*make_batch(BOXES), mode='train')
