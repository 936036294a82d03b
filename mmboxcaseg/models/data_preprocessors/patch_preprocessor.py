"""Normalisation of a batch of patches."""

from __future__ import annotations

import torch
from mmengine.model import ImgDataPreprocessor

from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import MODELS

_COLOURS = 3


@MODELS.register_module()
class PatchPreprocessor(ImgDataPreprocessor):
    """An ``ImgDataPreprocessor`` that copies less where images are of one size.

    Pixels are the same, bit for bit: each image is normalised in its place in the batch, without
    the copies between. Images of several sizes are padded as ever. Channels behind the three of an
    image are maps, such as :class:`mmboxcaseg.NeighbourChannel` appends: they go from [0, 255] to
    [0, 1], and need images of one size.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise a batch.

        Args:
            data: ``inputs``, a list of ``(3, H, W)``, or more channels, and ``data_samples``.
            training: As in mmengine.

        Returns:
            The data on the model's device, with ``inputs`` ``(N, 3, H, W)`` float32, or of as many
            channels as were given.
        """
        data = self.cast_data(data)
        images = data['inputs']
        padded = self.pad_size_divisor > 1 or len({image.shape for image in images}) > 1
        if padded or not self._enable_normalize:
            if len(images[0]) > _COLOURS:
                raise InputError(
                    'channels behind the image need patches of one size, a mean and a std, and no '
                    'padding'
                )
            return super().forward(data, training)
        batch = torch.empty((len(images), *images[0].shape), device=images[0].device)
        for place, image in zip(batch, images, strict=True):
            colours = image[:_COLOURS]
            place[:_COLOURS].copy_(colours.flip(0) if self._channel_conversion else colours)
            place[:_COLOURS].sub_(self.mean).div_(self.std)
            if len(image) > _COLOURS:
                place[_COLOURS:].copy_(image[_COLOURS:]).div_(255)
        return dict(data, inputs=batch, data_samples=data.get('data_samples'))
