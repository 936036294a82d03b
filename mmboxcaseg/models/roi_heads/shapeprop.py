"""ShapeProp: saliency that spreads inside a box is a prior of the mask (Table 1, B+S)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.bbox import bbox2roi
from mmengine.model import caffe2_xavier_init
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmboxcaseg.registry import MODELS

#: Keeps what is divided by finite, as in ShapeProp's release.
EPS = 1e-5


def propagate(embedding: Tensor, weights: Tensor) -> Tensor:
    """Pass messages between the pixels of a grid until they can have crossed it.

    In each step a pixel becomes the weighted mean of its 3x3 neighbourhood, itself among it. What
    lies outside the grid is zero, and counts in the mean. There are as many steps as the longer
    side has pixels.

    Args:
        embedding: (N, C, h, w) float.
        weights: (N, 9 C, h, w), not negative: for each channel the nine weights of a pixel's
            neighbours, row by row. They are divided by their sum.

    Returns:
        (N, C, h, w).

    Example:
        Pixels that look at their left neighbour alone are reached by what lies left of them:

        >>> weights = torch.zeros(1, 9, 1, 3)
        >>> weights[:, 4, 0, 0] = weights[:, 3, 0, 1:] = 1
        >>> propagate(torch.tensor([[[[1.0, 0, 0]]]]), weights).round(decimals=2)
        tensor([[[[1., 1., 1.]]]])
    """
    count, channels, height, width = shape = embedding.shape
    weights = weights.reshape(count, channels, 9, height * width)
    weights = weights / (weights.sum(dim=2, keepdim=True) + EPS)
    for _ in range(max(height, width)):
        neighbours = F.unfold(embedding, 3, padding=1).view_as(weights)
        embedding = (neighbours * weights).sum(dim=2).view(shape)
    return embedding


def _convs(*channels: int) -> nn.Sequential:
    """3x3 convolutions, a ReLU between each two."""
    *inner, last = pairwise(channels)
    layers = [ConvModule(*pair, 3, padding=1) for pair in inner]
    return nn.Sequential(*layers, ConvModule(*last, 3, padding=1, act_cfg=None))


@MODELS.register_module()
class ShapePropMaskHead(FCNMaskHead):
    """An ``FCNMaskHead`` with a shape as its prior, after ShapeProp (Zhou et al., 2020).

    Each class and the ground have a map over the RoI, whose mean is the score of the RoI's class:
    so boxes teach where an object is salient. This saliency is encoded, passed from pixel to pixel
    by weights that the features give (:func:`propagate`), and decoded to the shape activation. Its
    positive part, divided by its maximum, is encoded again and put beside the features of the RoI.

    As in the release: both branches are ``num_convs`` convolutions and one of 1x1, the weights are
    sigmoids, the encoder and the decoder of the messages have three convolutions and that of the
    shape has four. Otherwise than there: saliency is that of the foreground class whose mean is
    the highest, where the release takes the label or, at test time, the detector's class. For
    salient objects have no class.

    Args:
        in_channels: Channels of the RoI features.
        latent_dim: Channels of the messages.
        **kwargs: As in ``FCNMaskHead``.
    """

    def __init__(self, in_channels: int = 256, latent_dim: int = 24, **kwargs) -> None:
        super().__init__(in_channels=2 * in_channels, **kwargs)

        def branch(out_channels: int) -> nn.Sequential:
            last = nn.Conv2d(self.conv_out_channels, out_channels, 1)
            caffe2_xavier_init(last)
            widths = [self.conv_out_channels] * self.num_convs
            return nn.Sequential(_convs(in_channels, *widths), nn.ReLU(), last)

        self.activating = branch(self.num_classes + 1)
        self.propagating = branch(9 * latent_dim)
        self.encoder = _convs(1, *[latent_dim] * 3)
        self.decoder = _convs(*[latent_dim] * 3, 1)
        self.shape_encoder = _convs(1, *[in_channels] * 4)

    def loss_activating(self, x: Tensor, labels: Tensor) -> Tensor:
        """Compute the multiple-instance loss: cross-entropy of the mean saliency of each class.

        Args:
            x: (N, in_channels, h, w) features of RoIs.
            labels: (N,) int64, their classes; ``num_classes`` is the ground.

        Returns:
            Scalar.
        """
        return F.cross_entropy(self.activating(x).mean(dim=(2, 3)), labels)

    def shape_activation(self, x: Tensor) -> Tensor:
        """Compute the shape activation.

        Args:
            x: (N, in_channels, h, w) features of RoIs.

        Returns:
            (N, 1, h, w) logits.
        """
        saliency = self.activating(x)[:, :-1]
        likeliest = saliency.mean(dim=(2, 3)).argmax(dim=1)
        saliency = saliency[torch.arange(len(x), device=x.device), likeliest].unsqueeze(1)
        return self.decoder(propagate(self.encoder(saliency), self.propagating(x).sigmoid()))

    def forward(self, x: Tensor, shape_activation: Tensor) -> Tensor:
        """Compute masks.

        Args:
            x: (N, in_channels, h, w) features of RoIs.
            shape_activation: (N, 1, h, w).

        Returns:
            Logits (N, num_classes or 1, 2 h, 2 w).
        """
        shape = shape_activation.relu()
        shape = shape / (shape.amax(dim=(2, 3), keepdim=True) + EPS)
        return super().forward(torch.cat([x, self.shape_encoder(shape)], dim=1))


@MODELS.register_module()
class ShapePropRoIHead(StandardRoIHead):
    """A ``StandardRoIHead`` for a :class:`ShapePropMaskHead`.

    Images with boxes train the saliency alone, on all sampled RoIs, those of the ground too. True
    masks, from which shape and mask learn, are those of the salient images of
    :class:`~mmboxcaseg.models.detectors.SalientMaskRCNN`.
    """

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        bbox_feats: Tensor,
        batch_gt_instances: list[InstanceData],
    ) -> dict:
        """Compute the multiple-instance loss.

        Args:
            x: Feature maps of all scales.
            sampling_results: Sampled RoIs, one result per image.
            bbox_feats: Not read.
            batch_gt_instances: Not read; ``masks`` may be missing.

        Returns:
            ``loss_mask``, a dict of ``loss_activating``.
        """
        ground = self.mask_head.num_classes
        rois = bbox2roi([result.priors for result in sampling_results])
        labels = [
            F.pad(result.pos_gt_labels, (0, len(result.neg_priors)), value=ground)
            for result in sampling_results
        ]
        loss = self.mask_head.loss_activating(self._mask_features(x, rois), torch.cat(labels))
        return dict(loss_mask=dict(loss_activating=loss))

    def _mask_features(self, x: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        return self.mask_roi_extractor(x[: self.mask_roi_extractor.num_inputs], rois)

    def _mask_forward(self, x: tuple[Tensor, ...], rois: Tensor) -> dict[str, Tensor]:
        features = self._mask_features(x, rois)
        shape_activation = self.mask_head.shape_activation(features)
        mask_preds = self.mask_head(features, shape_activation)
        return dict(mask_preds=mask_preds, shape_activation=shape_activation)
