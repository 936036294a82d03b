import torch

from mmboxcaseg.models.layers import concat_scales


def test_scales_are_resized_to_the_first_and_concatenated():
    fine = torch.randn(2, 3, 6, 4)
    coarse = torch.arange(2.0).expand(2, 1, 3, 2)
    out = concat_scales([fine, coarse])
    assert out.shape == (2, 4, 6, 4)
    assert torch.equal(out[:, :3], fine)
    # Pixel centres, not corners, are aligned: 0 and 1 become 0, 1/4, 3/4 and 1.
    assert out[0, 3, 2].tolist() == [0, 0.25, 0.75, 1]


def test_one_scale_stays_as_it_is():
    features = torch.randn(1, 2, 3, 3)
    assert torch.equal(concat_scales([features]), features)
