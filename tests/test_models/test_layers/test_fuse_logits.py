import pytest
import torch

from mmboxcaseg.models.layers import fuse_logits


def fused(salient, transferred, alpha, fuse):
    if fuse == 'logit':
        return 1 / (1 + torch.exp(-(alpha * salient + (1 - alpha) * transferred)))
    return alpha / (1 + torch.exp(-salient)) + (1 - alpha) / (1 + torch.exp(-transferred))


@pytest.mark.parametrize('alpha', [0, 0.3, 0.7, 1])
@pytest.mark.parametrize('fuse', ['logit', 'prob'])
def test_are_those_of_the_fused_map(fuse, alpha):
    salient, transferred = torch.randn(2, 1, 1, 3, 3, dtype=torch.float64)
    logits = fuse_logits(salient, transferred, alpha, fuse)
    torch.testing.assert_close(logits.sigmoid(), fused(salient, transferred, alpha, fuse))
    # Where the probability is 1 in floating point, its logit still is not infinite.
    far = torch.full((1,), 100.0)
    torch.testing.assert_close(fuse_logits(far, far, alpha, fuse), far)
