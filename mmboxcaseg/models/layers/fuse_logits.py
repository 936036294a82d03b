"""One map from those of the salient and of the transferred head (Eq. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fuse_logits(salient: Tensor, transferred: Tensor, alpha: float, fuse: str) -> Tensor:
    """Fuse the logits of the two heads to those of one map.

    Args:
        salient: Logits ``l_a``, any shape.
        transferred: Logits ``l_t`` of the same shape.
        alpha: Weight of the salient head, in [0, 1].
        fuse: ``'logit'`` for the map ``sigmoid(alpha l_a + (1 - alpha) l_t)`` (the released code)
            or ``'prob'`` for ``alpha sigmoid(l_a) + (1 - alpha) sigmoid(l_t)`` (Eq. 3).

    Returns:
        Logits of the same shape.

    Example:
        >>> import torch
        >>> one, two = torch.tensor([0.75]).logit(), torch.tensor([0.25]).logit()
        >>> fuse_logits(one, two, 0.5, 'prob').sigmoid().tolist()
        [0.5]
    """
    if fuse == 'logit':
        return alpha * salient + (1 - alpha) * transferred
    # log(alpha S_a + (1 - alpha) S_t) from log-sigmoids: sigmoid saturates, its logarithm not.
    weights = salient.new_tensor([alpha, 1 - alpha]).log()
    log_object = torch.logaddexp(
        F.logsigmoid(salient) + weights[0], F.logsigmoid(transferred) + weights[1]
    )
    log_ground = torch.logaddexp(
        F.logsigmoid(-salient) + weights[0], F.logsigmoid(-transferred) + weights[1]
    )
    return log_object - log_ground
