"""Normalisation of a batch of patches, and their size in training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.model import ImgDataPreprocessor
from torch import Tensor

from mmboxcaseg.errors import check_count
from mmboxcaseg.registry import MODELS


def resize_patches(inputs: Tensor, data_samples: Sequence[DetDataSample], size: int) -> Tensor:
    """Resize a batch of patches, in place what their samples hold.

    Args:
        inputs: (N, 3, H, W) float.
        data_samples: N, as of ``mmboxcaseg.PackPatchInputs``; boxes and masks go along.
        size: Height and width of the result.

    Returns:
        (N, 3, size, size) float, without aliasing where it shrinks.
    """

    def resize(maps: Tensor) -> Tensor:
        return F.interpolate(maps, (size, size), mode='bilinear', antialias=True)

    height, width = inputs.shape[-2:]
    factor = torch.tensor([size / width, size / height] * 2, device=inputs.device)
    for sample in data_samples:
        for instances in (sample.gt_instances, sample.other_instances):
            instances.bboxes = instances.bboxes * factor.to(instances.bboxes)
        sample.set_metainfo(dict(img_shape=(size, size)))
    by_mask = [sample for sample in data_samples if 'gt_sem_seg' in sample]
    if by_mask:
        masks = resize(torch.stack([sample.gt_sem_seg.sem_seg for sample in by_mask]).float())
        for sample, mask in zip(by_mask, masks > 0.5, strict=True):
            del sample.gt_sem_seg.sem_seg  # its data are all of one size
            sample.gt_sem_seg.sem_seg = mask.to(torch.uint8)
    return resize(inputs)


@MODELS.register_module()
class PatchPreprocessor(ImgDataPreprocessor):
    """An ``ImgDataPreprocessor`` that copies less where images are of one size.

    Pixels are the same, bit for bit: each image is normalised in its place in the batch, without
    the copies between. Images of several sizes are padded as ever.

    Args:
        sizes: In training each batch is resized to one of these sides, drawn at random, so that
            one network serves them all. By default batches stay as they are.
        **kwargs: As in mmengine.

    Raises:
        InputError: If a size is no positive number.
    """

    def __init__(self, sizes: Sequence[int] = (), **kwargs) -> None:
        super().__init__(**kwargs)
        for size in sizes:
            check_count('sizes', size)
        self.sizes = tuple(sizes)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise a batch.

        Args:
            data: ``inputs``, a list of (3, H, W), and ``data_samples``.
            training: Whether the batch is resized.

        Returns:
            The data on the model's device, with ``inputs`` (N, 3, H, W) float32.
        """
        images = data['inputs']
        padded = self.pad_size_divisor > 1 or len({image.shape for image in images}) > 1
        if padded or not self._enable_normalize:
            data = super().forward(data, training)
        else:
            data = self._normalize(data)
        if training and self.sizes:
            size = self.sizes[int(torch.randint(len(self.sizes), ()))]
            data['inputs'] = resize_patches(data['inputs'], data['data_samples'], size)
        return data

    def _normalize(self, data: dict) -> dict:
        images = data['inputs']
        at_once = self.device.type != 'cpu'
        if at_once:
            # One copy to the device in place of one an image.
            images = [images if isinstance(images, Tensor) else torch.stack(list(images))]
        data = self.cast_data(dict(data, inputs=images))
        images = data['inputs']
        shape = images[0].shape if at_once else (len(images), *images[0].shape)
        batch = torch.empty(shape, device=self.device)
        for place, image in zip([batch] if at_once else batch, images, strict=True):
            place.copy_(image.flip(-3) if self._channel_conversion else image)
            place.sub_(self.mean).div_(self.std)
        return dict(data, inputs=batch, data_samples=data.get('data_samples'))
