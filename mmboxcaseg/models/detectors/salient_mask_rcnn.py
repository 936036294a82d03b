"""The rows B+S of Table 1, BBTP and ShapeProp: one Mask R-CNN, two kinds of images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmdet.models.detectors import MaskRCNN
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from torch import Tensor

from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import MODELS

#: What the masks of salient images supervise, of a RoI head that gives it, and the loss's name.
SALIENT_LOSSES = dict(mask_preds='loss_salient_mask', shape_activation='loss_propagating')


@MODELS.register_module()
class SalientMaskRCNN(MaskRCNN):
    """A Mask R-CNN that learns from images with boxes and, in the same batches, salient images.

    Images with boxes train all heads as they always do; with
    :class:`~mmboxcaseg.models.roi_heads.MILMaskHead` this is BBTP, and with
    :class:`~mmboxcaseg.models.roi_heads.ShapePropRoIHead` ShapeProp. Salient images, whose data
    samples say ``supervision='mask'``, train the mask head and what is below it alone, by the
    cross-entropy of all pixels: the object has no class, and what else is in the image has no box.
    The mask head has one channel for all classes, for the same reason.

    The paper does not say how its rows were trained; see docs/paper.md.

    Args:
        *args: As in ``MaskRCNN``.
        salient_weight: Weight of the losses on salient images against the other losses, the
            lambda of Eq. 4.
        **kwargs: As in ``MaskRCNN``.

    Raises:
        InputError: If the mask head has a channel for each class.
    """

    def __init__(self, *args, salient_weight: float = 1.0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if not self.roi_head.mask_head.class_agnostic:
            raise InputError(
                'salient objects have no class: SalientMaskRCNN needs '
                'model.roi_head.mask_head.class_agnostic=True'
            )
        self.salient_weight = salient_weight

    def loss(self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample]) -> dict:
        """Compute the losses of a mixed batch.

        Args:
            batch_inputs: Images (N, 3, H, W), normalised.
            batch_data_samples: N of them; those of salient images have bitmap ``masks``.

        Returns:
            The losses of a ``MaskRCNN`` on the images with boxes, ``loss_salient_mask`` and, where
            the RoI head has a shape activation, its ``loss_propagating``.

        Raises:
            InputError: If the batch has images of one kind only.
        """
        by_mask = [sample.get('supervision') == 'mask' for sample in batch_data_samples]
        salient = [index for index, is_salient in enumerate(by_mask) if is_salient]
        boxes = [index for index, is_salient in enumerate(by_mask) if not is_salient]
        if not salient or not boxes:
            raise InputError(
                f'a batch has {len(boxes)} images with boxes and {len(salient)} salient ones: use '
                'a sampler that gives every batch both, such as MultiSourceSampler'
            )
        losses = super().loss(batch_inputs[boxes], [batch_data_samples[i] for i in boxes])
        samples = [batch_data_samples[index] for index in salient]
        losses.update(self._salient_losses(batch_inputs[salient], samples))
        return losses

    def _salient_losses(self, inputs: Tensor, samples: list[DetDataSample]) -> dict[str, Tensor]:
        features = self.extract_feat(inputs)
        with torch.no_grad():
            proposals = self.rpn_head.predict(features, samples, rescale=False)
        head = self.roi_head
        sampled = []
        for result, sample in zip(proposals, samples, strict=True):
            result.priors = result.pop('bboxes')
            assigned = head.bbox_assigner.assign(result, sample.gt_instances)
            sampled.append(head.bbox_sampler.sample(assigned, result, sample.gt_instances))
        rois = bbox2roi([result.pos_priors for result in sampled])
        maps = head._mask_forward(features, rois)
        instances = [sample.gt_instances for sample in samples]
        losses = {}
        for key, name in SALIENT_LOSSES.items():
            if key in maps:
                size = ConfigDict(mask_size=maps[key].shape[-1])
                targets = head.mask_head.get_targets(sampled, instances, size)
                loss = F.binary_cross_entropy_with_logits(maps[key].squeeze(1), targets)
                losses[name] = self.salient_weight * loss
        return losses
