"""Backbones of timm, with weights from a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class TIMMBackbone(BaseModule):
    """A backbone of timm that gives several scales.

    Those of the same name in mmseg and mmpretrain load weights when they are built, also to load
    others over them, and from a file only those that were saved of this class. Here weights are
    loaded when a training begins, from a file as timm and the Hugging Face hub have it.

    Args:
        model_name: Of timm, such as ``'sam2_hiera_tiny'``; ``timm.list_models`` knows all.
        out_indices: Which scales are given out, the finest first; by default all.
        weights: File of the whole model's weights, ``.pth``, ``.bin`` or ``.safetensors``, which
            :meth:`init_weights` loads; no code in it is run.
        pretrained: Whether :meth:`init_weights` downloads timm's own weights instead.
        init_cfg: As in mmengine.
        **kwargs: Of the model, such as ``img_size`` and ``drop_path_rate``.

    Raises:
        InputError: If timm is not installed, has no such model, or has none that gives scales.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] | None = None,
        weights: str | None = None,
        pretrained: bool = False,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg)
        self.weights = weights
        self.pretrained = pretrained
        self._settings = dict(kwargs, model_name=model_name, features_only=True)
        if out_indices is not None:
            self._settings['out_indices'] = tuple(out_indices)
        self.timm_model = self._create()

    def _create(self, **weights: Any) -> Any:
        name = self._settings['model_name']
        try:
            import timm
        except (ImportError, RuntimeError) as error:  # torchvision of another torch
            raise InputError(
                f'TIMMBackbone needs timm, which cannot be imported ({error}): run pip install '
                'timm, with the torchvision that belongs to this torch'
            ) from error
        if not timm.is_model(name):
            raise InputError(f'timm {timm.__version__} has no model {name!r}: see timm.list_models')
        try:
            return timm.create_model(**self._settings, **weights)
        except (AssertionError, RuntimeError, TypeError, ValueError, IndexError) as error:
            raise InputError(
                f'timm does not make {name} of these settings: {_first_line(error)}'
            ) from error

    def init_weights(self) -> None:
        """Initialise, with the weights of the file or of timm if there are any.

        Raises:
            InputError: If the file cannot be loaded or is of another model.
        """
        super().init_weights()
        if not (self.weights or self.pretrained):
            return
        state = _read_weights(self.weights) if self.weights else None
        # timm renames what others have published, of a model that it makes.
        overlay = {} if state is None else dict(state_dict=dict(state))
        loaded = self._create(pretrained=True, pretrained_cfg_overlay=overlay)
        if state is not None:
            _check_taken(loaded, state, f'{self.weights} for {self._settings["model_name"]}')
        self.timm_model.load_state_dict(loaded.state_dict())

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) to the model's feature maps, the finest first, in timm's layout."""
        return self.timm_model(x)


def _read_weights(path: str) -> dict[str, Tensor]:
    from timm.models import load_state_dict

    try:
        return load_state_dict(path, weights_only=True)
    except Exception as error:  # bytes that are no weights fail anywhere
        raise InputError(f'weights {path} cannot be loaded: {_first_line(error)}') from error


def _check_taken(model: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Refuse weights of another model, which timm takes without a word.

    Names may have changed and a few weights may have been resized, such as embeddings of positions.
    """
    by_shape = defaultdict(list)
    for weight in state.values():
        by_shape[weight.shape].append(weight)
    names = [name for name, weight in model.named_parameters() if weight.numel() > 1]
    weights = dict(model.named_parameters())
    missing = [
        name
        for name in names
        if not any(torch.equal(weights[name], w) for w in by_shape[weights[name].shape])
    ]
    if len(missing) > len(names) / 10:
        raise InputError(
            f'{what} are weights of another model: {len(missing)} of {len(names)} are not in '
            f'them (such as {missing[0]})'
        )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
