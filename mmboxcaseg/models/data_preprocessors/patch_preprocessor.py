"""Normalisation of a batch of patches."""

from __future__ import annotations

import torch
from mmengine.model import ImgDataPreprocessor

from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class PatchPreprocessor(ImgDataPreprocessor):
    """An ``ImgDataPreprocessor`` that copies less where images are of one size.

    Pixels are the same, bit for bit: each image is normalised in its place in the batch, without
    the copies between. To a GPU they go in one copy, and few kernels normalise all of them. Images
    of several sizes are padded as ever.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise a batch.

        Args:
            data: ``inputs``, a list of (3, H, W), and ``data_samples``.
            training: As in mmengine.

        Returns:
            The data on the model's device, with ``inputs`` (N, 3, H, W) float32.
        """
        images = data['inputs']
        padded = self.pad_size_divisor > 1 or len({image.shape for image in images}) > 1
        if padded or not self._enable_normalize:
            return super().forward(data, training)
        on_cpu = self.device.type == 'cpu'
        data = self.cast_data(data if on_cpu else dict(data, inputs=torch.stack(tuple(images))))
        images = data['inputs']
        batch = torch.empty((len(images), *images[0].shape), device=images[0].device)
        # An image stays in a CPU's cache, where a batch does not.
        for place, part in zip(batch, images, strict=True) if on_cpu else [(batch, images)]:
            place.copy_(part.flip(-3) if self._channel_conversion else part)
            place.sub_(self.mean).div_(self.std)
        return dict(data, inputs=batch, data_samples=data.get('data_samples'))
