import math

import pytest
import torch

from mmboxcaseg.errors import InputError
from mmboxcaseg.models.segmentors import box_caseg as box_caseg_module
from mmboxcaseg.registry import MODELS

BACKBONES = {
    'mmseg HRNet': (None, 4 + 8 + 16 + 32),
    'EfficientNetLite': (dict(type='mmboxcaseg.EfficientNetLite'), 24 + 40 + 112 + 320),
    'mmdet ResNet': (
        dict(type='ResNet', depth=18, base_channels=4, norm_eval=False),
        4 + 8 + 16 + 32,
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


def batch_sizes_of(module):
    """Collect the batch size of every call of a module."""
    sizes = []
    module.register_forward_hook(lambda m, args, out: sizes.append(len(args[0])))
    return sizes


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
        weak, salient = batch_sizes_of(model.weak_head), batch_sizes_of(model.salient_head)
        transferred = batch_sizes_of(model.transferred_head)
        model(*make_batch(('box', 'mask', 'box', 'box', 'mask')), mode='loss')
        assert (weak, salient, transferred) == ([5], [2], [2])

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
        salient, _, target, alpha = seen
        assert target.flatten(1).any(1).tolist() == [True, False]
        assert alpha == model.alpha
        features = model.extract_feat(inputs)[[1, 3]]
        expected = torch.nn.functional.interpolate(
            model.salient_head(features), (32, 32), mode='bilinear'
        )
        torch.testing.assert_close(salient, expected)

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


class TestLossOfBoxes:
    loss_box = dict(type='mmboxcaseg.ProjectionAffinityLoss', max_distance=1)

    @pytest.mark.parametrize('fuse', ['logit', 'prob'])
    def test_is_that_of_the_fused_map_of_box_patches(self, build, make_batch, fuse):
        model = build(
            loss_box=self.loss_box, loss_pixel=dict(type='mmboxcaseg.PixelLoss', fuse=fuse)
        )
        model.eval()
        # Far from flat, so that it matters which neighbours are compared.
        for head in (model.salient_head, model.transferred_head):
            head.norm.weight.data *= 100
        inputs, samples = make_batch(('box', 'mask', 'box'))
        inputs[1] = 0
        samples[2].gt_instances.bboxes = torch.tensor([[1.0, 2, 9, 8]])
        losses = model(inputs, samples, mode='loss')
        maps = model.probability_maps(inputs, ['fused'])['fused'][[0, 2]]
        bboxes = torch.cat([samples[i].gt_instances.bboxes for i in (0, 2)])
        expected = model.loss_box(maps.logit(), bboxes, inputs[[0, 2]])
        for name, value in expected.items():
            assert value > 0.1
            torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-5)

    def test_pixel_loss_is_that_of_mask_patches(self, build, make_batch):
        inputs, samples = make_batch(MIXED)
        model = build(loss_box=self.loss_box).eval()
        plain = build().eval()
        plain.load_state_dict(model.state_dict())
        losses = model(inputs, samples, mode='loss')
        expected = plain(inputs, samples, mode='loss')
        assert losses.keys() - expected.keys() == {'loss_projection', 'loss_affinity'}
        for name, value in expected.items():
            torch.testing.assert_close(losses[name], value)

    @pytest.mark.parametrize('heads', ['salient', 'weak + transferred', 'weak + salient', 'all'])
    @pytest.mark.parametrize('supervisions', [BOXES, MASKS, MIXED])
    def test_every_parameter_gets_a_gradient(self, build, make_batch, heads, supervisions):
        model = build(loss_box=self.loss_box, **HEADS[heads])
        losses = model(*make_batch(supervisions), mode='loss')
        assert ('loss_projection' in losses) == ('box' in supervisions)
        assert (losses['loss_pixel'] > 0) == ('mask' in supervisions)
        model.parse_losses(losses)[0].backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name

    def test_boxes_teach_the_salient_head(self, build, make_batch):
        model = build(loss_box=self.loss_box, **HEADS['salient'])
        backward(model, make_batch(BOXES))
        assert all(p.grad.any() for p in model.salient_head.conv2.parameters())

    def test_half_precision(self, build, make_batch):
        model = build(loss_box=self.loss_box)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            losses = model(*make_batch(MIXED), mode='loss')
        assert {loss.dtype for loss in losses.values()} == {torch.float32}
        assert all(loss.isfinite() for loss in losses.values())

    def test_needs_a_fused_map(self, build):
        with pytest.raises(InputError, match='loss_box teaches the fused map: give a salient_head'):
            build(loss_box=self.loss_box, **HEADS['weak'])


class TestNeighbours:
    def test_box_stays_the_fourth_channel(self, build, make_batch):
        inputs, samples = make_batch(BOXES)
        plain = build(prompt=True).eval()
        model = build(prompt=True, neighbours=True).eval()
        weights = plain.state_dict()
        for name, value in model.state_dict().items():
            if value.shape != weights[name].shape:
                torch.nn.init.normal_(weights[name])
                weights[name] = torch.cat([weights[name], torch.zeros_like(value[:, :1])], dim=1)
        model.load_state_dict(weights)
        plain.load_state_dict(
            {k: v[:, :4] if v.ndim == 4 and v.shape[1] == 5 else v for k, v in weights.items()}
        )
        bboxes = torch.cat([sample.gt_instances.bboxes for sample in samples])
        more = torch.cat([inputs, torch.rand_like(inputs[:, :1])], dim=1)
        with torch.no_grad():
            expected = plain.probability_maps(inputs, ['fused'], bboxes)['fused']
            maps = model.probability_maps(more, ['fused'], bboxes)['fused']
        torch.testing.assert_close(maps, expected)

    def test_is_no_colour(self, build, make_batch):
        inputs, samples = make_batch(MIXED)
        loss_box = dict(type='mmboxcaseg.ProjectionAffinityLoss')
        model = build(neighbours=True, loss_box=loss_box)
        seen = []
        model.loss_box.register_forward_hook(lambda m, args, out: seen.append(args[2].shape[1]))
        model(torch.cat([inputs, inputs[:, :1]], dim=1), samples, mode='loss')
        assert seen == [3]

    @pytest.mark.parametrize('neighbours', [False, True])
    def test_other_number_of_channels(self, build, make_batch, neighbours):
        inputs, samples = make_batch(BOXES)
        if not neighbours:
            inputs = torch.cat([inputs, inputs[:, :1]], dim=1)
        with pytest.raises(InputError, match=f'the patches have {3 + (not neighbours)} channels'):
            build(neighbours=neighbours)(inputs, samples, mode='loss')


class TestPrediction:
    def test_threshold_goes_with_the_maps(self, build, make_batch):
        for test_cfg, expected in ((None, 0.5), (dict(threshold='best'), 'best')):
            model = build(test_cfg=test_cfg).eval()
            samples = model(*make_batch(BOXES), mode='predict')
            assert {sample.threshold for sample in samples} == {expected}
        with pytest.raises(InputError, match='test_cfg.threshold must be in'):
            build(test_cfg=dict(threshold=2))

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
        loss_pixel = dict(type='mmboxcaseg.PixelLoss', fuse=fuse)
        model = build(alpha=0.6, loss_pixel=loss_pixel, test_cfg=dict(maps=MAPS)).eval()
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
        loss_pixel = dict(type='mmboxcaseg.PixelLoss', fuse=fuse)
        model = build(**HEADS[heads], loss_pixel=loss_pixel).eval()
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

    @pytest.mark.parametrize('bbox', [[8, 4, 24, 20], [6.5, 5, 30, 28], [9, 9, 10, 10]])
    def test_pixels_lie_where_they_are_in_the_patch(self, bbox):
        # A map that rises by 2 a patch pixel in x and falls by 3 in y, a quarter of the size.
        y, x = torch.meshgrid(torch.arange(10) + 0.5, torch.arange(12) + 0.5, indexing='ij')
        logits = (2 * 4 * x - 3 * 4 * y)[None, None]
        size = (40, 48)
        got = box_caseg_module._box_logits(logits, size, torch.tensor([bbox]))
        assert got.shape == (1, 1, *size)
        x1, y1, x2, y2 = bbox
        rows = y1 + (torch.arange(40) + 0.5) / 40 * (y2 - y1)
        columns = x1 + (torch.arange(48) + 0.5) / 48 * (x2 - x1)
        expected = 2 * columns - 3 * rows[:, None]
        torch.testing.assert_close(got[0, 0], expected, atol=1e-3, rtol=0)

    def test_each_patch_has_its_own_box(self):
        logits = torch.randn(2, 1, 8, 8)
        bboxes = torch.tensor([[0.0, 0, 32, 32], [8, 8, 24, 24]])
        both = box_caseg_module._box_logits(logits, (32, 32), bboxes)
        for index in (0, 1):
            one = slice(index, index + 1)
            alone = box_caseg_module._box_logits(logits[one], (32, 32), bboxes[one])
            torch.testing.assert_close(both[one], alone, atol=1e-5, rtol=0)

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
        model = build(prompt=True)
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
        model = self.teach(build(prompt=True))
        inputs, _ = make_batch(BOXES)
        whole = torch.tensor([[0.0, 0, 32, 32]]).expand(3, 4)
        maps = model(inputs)['fused']
        assert torch.equal(maps, model.probability_maps(inputs, ['fused'], whole)['fused'])
        small = torch.tensor([[8.0, 8, 24, 24]]).expand(3, 4)
        features = model.extract_feat(inputs, small)
        assert not torch.allclose(features, model.extract_feat(inputs), atol=1e-3)

    def test_starts_as_the_network_without(self, any_backbone, make_batch):
        plain = any_backbone().eval()
        prompted = any_backbone(prompt=True).eval()
        prompted.load_state_dict(plain.state_dict())
        inputs, _ = make_batch(BOXES, size=64)
        torch.testing.assert_close(prompted(inputs)['fused'], plain(inputs)['fused'])

    def test_trains(self, any_backbone, make_batch):
        model = any_backbone(prompt=True, channels_last=True)
        weight = next(m for m in model.backbone.modules() if isinstance(m, torch.nn.Conv2d)).weight
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert backward(model, make_batch(MIXED, size=64)).isfinite()
        assert weight.grad[:, 3].abs().sum() > 0

    def test_saved_and_loaded(self, build, make_batch, tmp_path):
        model = self.teach(build(prompt=True))
        torch.save(model.state_dict(), tmp_path / 'model.pth')
        other = build(prompt=True).eval()
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

    def test_mode(self, build, make_batch):
        with pytest.raises(ValueError, match="not 'train'"):
            build()(*make_batch(BOXES), mode='train')
