"""Initial weights of the heads and of the weight transfer."""

from __future__ import annotations

from mmengine.model.weight_init import BaseInit, update_init_info
from torch import nn

from mmboxcaseg.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class NormalInit(BaseInit):
    """Draw weights from N(0, std), and biases from a normal distribution too or not at all.

    For an ``init_cfg``; mmengine's ``Normal`` sets biases to a number. The paper does not say what
    heads begin with. In the released code the weights of their convolutions are from N(0, 0.001)
    and the biases are torch's; both of the weight transfer are from N(0, 0.01).

    Args:
        std: Standard deviation of the weights.
        layer: Name of the class of the layers to initialise.
        bias_std: Standard deviation of the biases; None leaves them as they are.

    Example:
        >>> from torch import nn
        >>> linear = nn.Linear(1000, 1000)
        >>> NormalInit(std=0.01, layer='Linear', bias_std=0.1)(linear)
        >>> f'{linear.weight.std():.3f}, {linear.bias.std():.1f}'
        '0.010, 0.1'
    """

    def __init__(self, std: float, layer: str, bias_std: float | None = None) -> None:
        super().__init__(layer=layer)
        self.std = std
        self.bias_std = bias_std

    def __call__(self, module: nn.Module) -> None:
        """Initialise the layers of a module."""
        for part in module.modules():
            if type(part).__name__ in self.layer:
                nn.init.normal_(part.weight, std=self.std)
                if self.bias_std is not None and part.bias is not None:
                    nn.init.normal_(part.bias, std=self.bias_std)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())

    def _get_init_info(self) -> str:
        return f'{type(self).__name__}: std={self.std}, bias_std={self.bias_std}'
