"""Networks on backbones of other libraries: neck and heads find the channels themselves."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from mmboxcaseg.errors import InputError
from mmboxcaseg.models import TIMMBackbone
from mmboxcaseg.models.layers import find_scales, widen_stem
from mmboxcaseg.registry import MODELS

needs_timm = pytest.mark.skipif(
    not all(map(find_spec, ('timm', 'torchvision'))),
    reason="timm, or the torchvision that it imports, is not installed: pip install '.[timm]'",
)
SWIN = dict(type='mmdet.SwinTransformer', embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
MIT = dict(type='mmseg.MixVisionTransformer', embed_dims=8, num_layers=[1] * 4)
MAPPER = dict(type='ChannelMapper', out_channels=8, kernel_size=1)


def cfg_of(box_caseg_cfg, backbone, **changes):
    head = dict(type='mmboxcaseg.PatchHead')
    heads = dict(
        weak_head=head,
        salient_head=dict(head, in_channels=None),
        transferred_head=dict(type='mmboxcaseg.TransferredHead', expansion=1),
    )
    return box_caseg_cfg(**{**heads, 'backbone': backbone, **changes})


class Scales(nn.Module):
    """Gives whatever it is told to, for an image of 64x96."""

    def __init__(self, shapes):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.shapes = shapes

    def forward(self, x):
        assert x.shape == (1, 3, 64, 96) and not self.training
        return [torch.zeros(shape) for shape in self.shapes]


@pytest.mark.parametrize(
    ('shapes', 'channels', 'behind'),
    [
        ([(1, 16, 16, 24), (1, 32, 8, 12), (1, 64, 2, 3)], [16, 32, 64], False),
        ([(1, 16, 24, 16), (1, 8, 12, 32), (1, 2, 3, 64)], [16, 32, 64], True),
        # As many channels as rows or columns.
        ([(1, 24, 16, 24)], [24], False),
        ([(1, 16, 24, 16)], [16], True),
        # Padded to patches of 14 pixels.
        ([(1, 8, 5, 7), (1, 8, 5, 7)], [8, 8], False),
        ([(1, 5, 7, 8), (1, 5, 7, 8)], [8, 8], True),
    ],
)
def test_layouts_are_told_apart(shapes, channels, behind):
    backbone = Scales(shapes)
    scales, found = find_scales(backbone)
    assert ([scale.shape[1] for scale in scales], found) == (channels, behind)
    assert backbone.training


@pytest.mark.parametrize(
    ('shapes', 'message'),
    [
        ([(1, 197, 768)], r'Scales gives \[\(1, 197, 768\)\] of an image of 64x96 and a BoxCaseg'),
        ([(1, 768)], 'needs a list of maps'),
        ([], 'Scales gives list of an image'),
        ([(1, 8, 16, 24), (1, 4, 6, 16)], 'needs a list of maps'),
        ([(1, 8, 2, 3), (1, 8, 4, 6)], r'maps of \[2, 4\] rows, and a BoxCaseg needs the finest'),
    ],
)
def test_what_is_no_scales_is_refused(shapes, message):
    with pytest.raises(InputError, match=message):
        find_scales(Scales(shapes))


def test_another_size_is_refused():
    with pytest.raises(InputError, match='Scales does not take an image of 32x32 .*give it img_si'):
        find_scales(Scales([]), size=32)


@pytest.mark.parametrize('neck', [None, dict(type='mmboxcaseg.FineNeck'), MAPPER])
@pytest.mark.parametrize('backbone', [SWIN, MIT])
def test_trains_a_step(box_caseg_cfg, make_batch, backbone, neck):
    prompt = dict(type='mmboxcaseg.BoxPrompt', others=True)
    model = MODELS.build(cfg_of(box_caseg_cfg, backbone, neck=neck, prompt=prompt))
    channels = {None: 8 + 16 + 32 + 64, 'mmboxcaseg.FineNeck': 32, 'ChannelMapper': 4 * 8}
    for head in (model.weak_head, model.salient_head):
        assert head.conv1.in_channels == channels[neck and neck['type']]
    losses = model.loss(*make_batch(['box', 'mask']))
    sum(losses.values()).backward()
    stems = [p for p in model.backbone.parameters() if p.ndim == 4 and p.shape[1] == 5]
    assert len(stems) == 1 and stems[0].grad.abs().sum(dim=(0, 2, 3)).min() > 0


class Behind(nn.Module):
    """A backbone with the channels behind."""

    def __init__(self, inner):
        super().__init__()
        self.inner = MODELS.build(inner)

    def forward(self, x):
        return [scale.permute(0, 2, 3, 1) for scale in self.inner(x)]


def test_channels_behind_change_nothing(box_caseg_cfg, make_batch, monkeypatch):
    monkeypatch.setitem(MODELS._module_dict, 'Behind', Behind)
    inputs, _ = make_batch(['box', 'box'])
    plain = MODELS.build(cfg_of(box_caseg_cfg, MIT, neck=MAPPER)).eval()
    turned = MODELS.build(
        cfg_of(box_caseg_cfg, dict(type='mmboxcaseg.Behind', inner=MIT), neck=MAPPER)
    ).eval()
    assert turned.channels_behind and not plain.channels_behind
    state = plain.state_dict()
    turned.load_state_dict(
        {k.replace('backbone.', 'backbone.inner.', 1): v for k, v in state.items()}
    )
    expected, found = plain(inputs)['fused'], turned(inputs)['fused']
    torch.testing.assert_close(found, expected)


def test_fine_neck_wants_several_scales(box_caseg_cfg):
    backbone = dict(type='ResNet', depth=18, base_channels=4, out_indices=(3,))
    with pytest.raises(InputError, match='FineNeck joins the finest scale with coarser ones'):
        MODELS.build(cfg_of(box_caseg_cfg, backbone, neck=dict(type='mmboxcaseg.FineNeck')))


def test_channels_that_are_given_are_taken(box_caseg_cfg, monkeypatch):
    """No backbone runs for them."""
    monkeypatch.setattr('mmboxcaseg.models.segmentors.box_caseg.find_scales', None)
    assert MODELS.build(box_caseg_cfg()).weak_head.conv1.in_channels == 60


def test_without_timm_it_is_said(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'timm', None)
    with pytest.raises(InputError, match='TIMMBackbone needs timm, which cannot be imported'):
        TIMMBackbone('resnet18')


@needs_timm
@pytest.mark.parametrize(
    ('settings', 'channels', 'behind'),
    [
        (dict(model_name='sam2_hiera_tiny'), [96, 192, 384, 768], False),
        (
            dict(model_name='swin_tiny_patch4_window7_224', img_size=64, depths=(1, 1, 1, 1)),
            *([96, 192, 384, 768], True),
        ),
        (
            dict(model_name='vit_small_patch14_dinov2', img_size=56, out_indices=(5, 11)),
            *([384, 384], False),
        ),
        (dict(model_name='convnext_atto', out_indices=(1, 2)), [80, 160], False),
    ],
)
def test_timm_trains_a_step(box_caseg_cfg, make_batch, settings, channels, behind):
    backbone = dict(type='mmboxcaseg.TIMMBackbone', **settings)
    model = MODELS.build(
        cfg_of(box_caseg_cfg, backbone, weak_head=None, transferred_head=None, neck=MAPPER)
    )
    assert [conv.conv.in_channels for conv in model.neck.convs] == channels
    assert model.channels_behind == behind
    inputs, samples = make_batch(['mask', 'mask'], size=settings.get('img_size', 32))
    sum(model.loss(inputs, samples).values()).backward()
    assert all(p.grad is not None for p in model.neck.parameters())


@needs_timm
@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(model_name='resnet19'), "timm .* has no model 'resnet19'"),
        (dict(model_name='tiny_vit_5m_224', img_size=64), 'timm does not make tiny_vit_5m_224'),
        (dict(model_name='swin_tiny_patch4_window7_224'), 'an image of 64x96 .*give it img_size'),
    ],
)
def test_timm_refuses_in_one_sentence(box_caseg_cfg, settings, message):
    with pytest.raises(InputError, match=message):
        MODELS.build(cfg_of(box_caseg_cfg, dict(type='mmboxcaseg.TIMMBackbone', **settings)))


@needs_timm
@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_timm_loads_a_file_when_training_begins(tmp_path, suffix):
    import timm
    from safetensors.torch import save_file

    source = timm.create_model('resnet18')
    path = tmp_path / f'weights.{suffix}'
    save = save_file if suffix == 'safetensors' else torch.save
    save(source.state_dict(), path)
    backbone = TIMMBackbone('resnet18', out_indices=(1, 2), weights=str(path))
    widen_stem(backbone, 2)
    backbone.init_weights()
    inputs = torch.randn(1, 5, 64, 64)
    source.eval()
    expected = source.forward_intermediates(inputs[:, :3], indices=[1, 2], intermediates_only=True)
    for found, scale in zip(backbone.eval()(inputs), expected, strict=True):
        torch.testing.assert_close(found, scale)

    other = TIMMBackbone('resnet34', weights=str(path))
    with pytest.raises(InputError, match='for resnet34 are weights of another model: '):
        other.init_weights()
    path.write_bytes(b'weights')
    with pytest.raises(InputError, match='weights .* cannot be loaded: '):
        backbone.init_weights()
