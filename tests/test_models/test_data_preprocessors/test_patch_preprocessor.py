import pytest
import torch
from mmengine.model import ImgDataPreprocessor

from mmboxcaseg.models import PatchPreprocessor

NORM = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def images(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes
    ]


@pytest.mark.parametrize('sizes', [[(8, 6)], [(8, 6)] * 3, [(8, 6), (5, 9)]])
@pytest.mark.parametrize(
    'settings',
    [dict(bgr_to_rgb=True, **NORM), NORM, dict(bgr_to_rgb=True), dict(pad_size_divisor=4, **NORM)],
)
def test_same_pixels_as_mmengine(sizes, settings):
    batch = dict(inputs=images(*sizes), data_samples=['sample'] * len(sizes))
    expected = ImgDataPreprocessor(**settings)(dict(batch))
    result = PatchPreprocessor(**settings)(batch)
    assert result.keys() == expected.keys()
    assert result['data_samples'] == expected['data_samples']
    assert torch.equal(result['inputs'], expected['inputs'])


def test_the_input_stays():
    inputs = images((4, 4), (4, 4))
    batch = dict(inputs=inputs)
    result = PatchPreprocessor(**NORM)(batch)
    assert result['data_samples'] is None
    assert all(map(torch.equal, batch['inputs'], images((4, 4), (4, 4))))
    assert torch.equal(PatchPreprocessor(**NORM)(batch)['inputs'], result['inputs'])


def test_a_stacked_batch_gives_the_same():
    inputs = torch.stack(images((4, 4), (4, 4)))
    preprocessor = PatchPreprocessor(bgr_to_rgb=True, **NORM)
    expected = preprocessor(dict(inputs=list(inputs)))['inputs']
    assert torch.equal(preprocessor(dict(inputs=inputs))['inputs'], expected)


@pytest.mark.parametrize('bgr_to_rgb', [False, True])
def test_a_gpu_gets_the_same_in_one_copy(bgr_to_rgb, monkeypatch):
    batch = dict(inputs=images((8, 6), (8, 6), (8, 6)))
    preprocessor = PatchPreprocessor(bgr_to_rgb=bgr_to_rgb, **NORM)
    expected = preprocessor(batch)['inputs']
    # A device that is not the CPU, and casting that leaves everything there.
    preprocessor._device = torch.device('meta')
    copied = []
    monkeypatch.setattr(preprocessor, 'cast_data', lambda data: copied.append(data) or data)
    assert torch.equal(preprocessor(batch)['inputs'], expected)
    assert [data['inputs'].shape for data in copied] == [(3, 3, 8, 6)]
    assert isinstance(batch['inputs'], list)


def test_on_another_device_everything_is_there():
    batch = dict(inputs=images((8, 6), (8, 6)))
    result = PatchPreprocessor(bgr_to_rgb=True, **NORM).to('meta')(batch)['inputs']
    assert result.is_meta and result.shape == (2, 3, 8, 6) and result.dtype == torch.float32
