"""Raw masks by the attribution maps of a trained detector (BBAM)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from mmdet.structures.bbox import bbox2roi, bbox_overlaps
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn
from torch.nn import functional as F

from mmboxcaseg.models.detectors.attribution import BBAM, Answer
from mmboxcaseg.proxy import box_mask


def masks_by_attribution(
    model: nn.Module, packed: dict, bboxes: np.ndarray, labels: Sequence[int], bbam: BBAM
) -> Iterator[np.ndarray]:
    """Draw masks into given boxes of one image by what a detector needs to find them.

    Args:
        model: A two-stage detector of mmdet's with one box head, in eval mode. Its weights take no
            gradients any more.
        packed: The image, as its test pipeline gives it.
        bboxes: (N, 4) boxes xyxy in pixels of the image as it is stored.
        labels: N classes.
        bbam: How the maps are found.

    Yields:
        (H, W) bool masks, each false outside its pixel box; empty where the detector does not
        find the object.
    """
    model.requires_grad_(False)
    data = model.data_preprocessor(pseudo_collate([packed]), False)
    (sample,) = data['data_samples']
    image, shape = data['inputs'], sample.img_shape
    factor = np.tile(sample.metainfo.get('scale_factor', (1, 1)), 2)
    features = model.extract_feat(image)
    for given, label in zip(bboxes, labels, strict=True):
        bbox = image.new_tensor(given * factor)
        proposals, boxes = _positives(model, features, bbox, label, shape, bbam)
        mask = box_mask(given, sample.ori_shape)
        if len(proposals):
            predict = partial(_look, model, image, shape, proposals, label)
            soft = bbam.attribute(predict, _cells(boxes, bbam.grid(bbox, shape), shape))
            soft = mask * _enlarge(soft, sample.ori_shape).cpu().numpy()
            mask &= (soft > 0) & (soft >= bbam.threshold * soft.max())
        yield mask & (len(proposals) > 0)


def _positives(
    model: nn.Module,
    features: Sequence[Tensor],
    bbox: Tensor,
    label: int,
    shape: tuple[int, int],
    bbam: BBAM,
) -> tuple[Tensor, Tensor]:
    """Proposals (P, 4) by which the detector finds a box, and the boxes that it makes of them."""
    drawn = bbam.draw_proposals(bbox, shape)
    scores, offsets = _answer(model, features, drawn, label)
    boxes = model.roi_head.bbox_head.bbox_coder.decode(drawn, offsets, max_shape=shape)
    ious = bbox_overlaps(boxes, bbox[None])[:, 0]
    chosen = bbam.choose(ious, scores.argmax(dim=1) == label)
    return drawn[chosen], boxes[chosen]


def _look(
    model: nn.Module,
    image: Tensor,
    shape: tuple[int, int],
    proposals: Tensor,
    label: int,
    mask: Tensor,
) -> Answer:
    """The detector's answer on what a mask shows of an image (1, 3, H, W) of a shape within it."""
    # Of the normalised image 0 is the mean, and what it is padded by.
    rim = 0, image.shape[3] - shape[1], 0, image.shape[2] - shape[0]
    features = model.extract_feat(image * F.pad(_enlarge(mask, shape), rim))
    scores, offsets = _answer(model, features, proposals, label)
    return scores[:, label], offsets


def _answer(
    model: nn.Module, features: Sequence[Tensor], proposals: Tensor, label: int
) -> tuple[Tensor, Tensor]:
    """Probabilities (P, classes and ground) of proposals (P, 4), and offsets (P, 4) for a class."""
    head = model.roi_head
    answer = head._bbox_forward(features, bbox2roi([proposals]))
    offsets = answer['bbox_pred'].reshape(len(proposals), -1, 4)
    place = 0 if head.bbox_head.reg_class_agnostic else label
    return answer['cls_score'].softmax(dim=1), offsets[:, place]


def _enlarge(mask: Tensor, shape: tuple[int, int]) -> Tensor:
    """Draw a map (h, w) as large as an image, (H, W)."""
    return F.interpolate(mask[None, None], shape, mode='bilinear', align_corners=True)[0, 0]


def _cells(boxes: Tensor, grid: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """1 where a cell of the grid meets any of the boxes (P, 4), else 0."""
    cells = boxes.new_zeros(grid)
    scale = boxes.new_tensor([grid[1] / shape[1], grid[0] / shape[0]] * 2)
    scaled = boxes * scale
    first, last = scaled[:, :2].floor().int().tolist(), scaled[:, 2:].ceil().int().tolist()
    for (x1, y1), (x2, y2) in zip(first, last, strict=True):
        cells[y1:y2, x1:x2] = 1
    return cells
