"""Instance AP on bitmaps as in the SBD evaluation, the metric of Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from pycocotools import mask as coco_mask

from mmboxcaseg.coco.annotations import (
    Annotation,
    Flag,
    Image,
    annotation_bboxes,
    annotations_by_image,
    check_masks,
    decode_annotation,
    is_set,
    load_coco,
    naming_mask,
)
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import box_mask, check_segmentation, decode_rle
from mmboxcaseg.registry import METRICS

# The thresholds that each figure is the mean over.
_THRESHOLDS = dict(
    AP25=(0.25,), AP50=(0.5,), AP70=(0.7,), AP75=(0.75,), APvol=tuple(np.arange(1, 10) / 10)
)


@dataclass
class Matches:
    """Detections, each with the object of its class and image that it overlaps most.

    Attributes:
        labels: (N,) int, class of each detection.
        scores: (N,) float.
        ious: (N,) float, IoU with that object; 0 where there is none.
        objects: (N,) int, number of that object; without a meaning where ``ious`` is 0.
        difficult: (N,) bool, whether that object counts neither way.
        positives: (K,) int, class of each object that is to be found.
    """

    labels: np.ndarray
    scores: np.ndarray
    ious: np.ndarray
    objects: np.ndarray
    difficult: np.ndarray
    positives: np.ndarray


def match_detections(
    masks: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    object_masks: np.ndarray,
    object_labels: np.ndarray,
    difficult: np.ndarray,
    void: np.ndarray | None = None,
) -> Matches:
    """Match the detections of an image with its objects.

    Void pixels are taken out of all masks first. Then a detection that lay in them entirely is no
    longer there, and an object that did is none to be found; a detection that was empty before
    stays, as a false one. Of objects that are overlapped equally the first one counts.

    Args:
        masks: (N, H, W) bool, of the detections.
        labels: (N,) int.
        scores: (N,) float.
        object_masks: (M, H, W) bool.
        object_labels: (M,) int.
        difficult: (M,) bool.
        void: (H, W) bool, or None where no pixel is.

    Returns:
        The matches; ``objects`` are numbered from 0.

    Example:
        >>> detections, objects = np.array([[[1, 1, 0]]], bool), np.array([[[0, 1, 0]]], bool)
        >>> one, no = np.array([7]), np.array([False])
        >>> matches = match_detections(detections, one, np.array([0.9]), objects, one, no)
        >>> matches.ious.tolist(), matches.objects.tolist()
        ([0.5], [0])
    """
    if void is not None:
        visible, object_masks = masks & ~void, object_masks & ~void
        kept = visible.any(axis=(1, 2)) | ~masks.any(axis=(1, 2))
        masks, labels, scores = visible[kept], labels[kept], scores[kept]
    there = object_masks.any(axis=(1, 2))
    object_masks, object_labels = object_masks[there], object_labels[there]
    difficult = difficult[there]
    # The last column stands for no object.
    ious = np.zeros((len(masks), len(object_masks) + 1))
    if len(masks) and len(object_masks):
        no_crowds = np.zeros(len(object_masks), np.uint8)
        overlaps = coco_mask.iou(_encode(masks), _encode(object_masks), no_crowds)
        ious[:, :-1] = np.where(labels[:, None] == object_labels, overlaps, 0)
    objects = ious.argmax(axis=1)
    return Matches(
        labels,
        scores,
        ious.max(axis=1),
        objects,
        np.append(difficult, False)[objects],
        object_labels[~difficult],
    )


def join_matches(matches: Sequence[Matches]) -> Matches:
    """Put the matches of several images one after the other; objects stay apart.

    Args:
        matches: One for each image.

    Returns:
        The matches of all.

    Example:
        >>> one = Matches(*map(np.array, ([7], [0.9], [0.5], [0], [False], [7])))
        >>> both = join_matches([one, one])
        >>> both.objects.tolist(), both.positives.tolist()
        ([0, 1], [7, 7])
    """
    counts = [int(match.objects.max(initial=-1)) + 1 for match in matches]
    starts = np.cumsum([0, *counts[:-1]])
    objects = [match.objects + start for match, start in zip(matches, starts, strict=True)]
    parts = {
        name: np.concatenate([getattr(match, name) for match in matches])
        for name in ('labels', 'scores', 'ious', 'difficult', 'positives')
    }
    return Matches(objects=np.concatenate(objects), **parts)


def average_precision(matches: Matches, label: int, threshold: float) -> float:
    """Area under the interpolated precision/recall curve of a class (VOC 2010 and later).

    From the highest score down, a detection whose IoU reaches the threshold is right if its
    object was not found before; any other is wrong, but for those that reach a difficult object,
    which count neither way. Equal scores are taken in the order of the detections.

    Args:
        matches: Of all images.
        label: The class.
        threshold: The lowest IoU of a right detection, above 0.

    Returns:
        AP in [0, 1]; NaN if the class has no object to be found.

    Example:
        >>> labels, scores, ious = np.array([7, 7]), np.array([0.9, 0.8]), np.array([0.3, 0.6])
        >>> objects, difficult = np.array([0, 1]), np.array([False, False])
        >>> matches = Matches(labels, scores, ious, objects, difficult, positives=labels)
        >>> average_precision(matches, label=7, threshold=0.5)
        0.25
    """
    num_objects = np.count_nonzero(matches.positives == label)
    if not num_objects:
        return float('nan')
    reached = matches.ious >= threshold
    kept = np.flatnonzero((matches.labels == label) & ~(reached & matches.difficult))
    kept = kept[np.argsort(-matches.scores[kept], kind='stable')]
    candidates = np.flatnonzero(reached[kept])
    first = np.unique(matches.objects[kept[candidates]], return_index=True)[1]
    right = np.zeros(len(kept), dtype=bool)
    right[candidates[first]] = True
    precision = np.cumsum(right) / np.arange(1, len(kept) + 1)
    # The highest precision at this recall or more; the recall grows where a detection is right.
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(precision[right].sum() / num_objects)


class VOCImage(Image, gc=False):
    """An image, perhaps with pixels that count neither way, an RLE."""

    void: Any = msgspec.UNSET


class VOCAnnotation(Annotation, gc=False):
    """An annotation, perhaps of an object that does not count."""

    difficult: Flag = 0


@METRICS.register_module()
class VOCInstanceMetric(BaseMetric):
    """AP of instance masks at IoU 0.25, 0.5, 0.7 and 0.75, and APvol (Table 1).

    As in the evaluation of SBD (Hariharan et al., "Simultaneous detection and segmentation"),
    which BBTP follows: on bitmaps, see :func:`match_detections` and :func:`average_precision`.
    APvol is the mean over the thresholds 0.1, 0.2 to 0.9. Each figure is the mean over the
    classes that have an object which is not ``difficult``.

    Void pixels count neither way: those of ``void`` of an image, and those of crowds and other
    annotations that are no objects, or of their boxes where they have no mask.

    Two details differ between published scripts. BBTP's own gives a detection to the object that
    it overlaps most among those *not found yet*; here, as in VOC's devkit, it goes to the one that
    it overlaps most, found or not. The two can differ at IoU 0.5 and less only, as objects share
    no pixels. And BBTP's script takes void pixels for ground and difficult objects for any other.

    Results are named ``voc/AP25``, ``voc/AP50``, ``voc/AP70``, ``voc/AP75`` and ``voc/APvol``.

    Args:
        ann_file: COCO-format file with masks. An image may have ``void``, the RLE of the pixels
            that count neither way, an annotation ``difficult``, 1 for an object that does not.
        classwise: Whether to give each class's figures too, as ``voc/AP50_<class>``.
        **kwargs: As in mmengine's ``BaseMetric``.

    Raises:
        InputError: If the file is missing or not COCO, a mask is missing or of another size than
            its image, or there is no object to be found.
    """

    default_prefix = 'voc'

    def __init__(self, ann_file: str | Path, classwise: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.ann_file = ann_file
        self.classwise = classwise
        coco = load_coco(ann_file, VOCAnnotation, VOCImage)
        self._images = {image.id: image for image in coco.images}
        self._objects = annotations_by_image(coco)
        self._categories = {category.name: category.id for category in coco.categories}
        for img_id, image in self._images.items():
            if image.void is not msgspec.UNSET:
                with naming_mask(f'void of image {img_id}', ann_file):
                    check_segmentation(image.void, image.shape)
        check_masks(coco, ' to score against')
        if all(not a.is_object or is_set(a.difficult) for a in coco.annotations):
            raise InputError(f'{ann_file} holds no object to score against')

    @BaseMetric.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        """Take the dataset's ``classes``; they are set before a run begins.

        Raises:
            InputError: If a class is not in the annotation file.
        """
        for name in dataset_meta['classes']:
            if name not in self._categories:
                raise InputError(
                    f'class {name!r} of the dataset is not in {self.ann_file}, whose categories '
                    f'are {", ".join(map(repr, self._categories))}'
                )
        self._dataset_meta = dataset_meta
        self._labels = {self._categories[n]: i for i, n in enumerate(dataset_meta['classes'])}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Match a batch; one entry for each data sample, which holds no masks."""
        for sample in data_samples:
            image = self._images.get(sample['img_id'])
            if image is None:
                raise InputError(f'image {sample["img_id"]!r} is not in {self.ann_file}')
            predicted = sample['pred_instances']
            shape = image.shape
            masks = _bitmaps(predicted['masks'], shape)
            if masks.shape[1:] != shape:
                raise InputError(
                    f'image {image.file_name} has height and width {list(shape)} in '
                    f'{self.ann_file}, but {list(masks.shape[1:])} in the dataset'
                )
            labels, scores = (predicted[key].cpu().numpy() for key in ('labels', 'scores'))
            self.results.append(match_detections(masks, labels, scores, *self._truth(image)))

    def compute_metrics(self, results: list[Matches]) -> dict[str, float]:
        """Sum up all entries; raises :class:`InputError` if there is none."""
        if not results:
            raise InputError('VOCInstanceMetric has nothing to score: the data set has no image')
        matches = join_matches(results)
        metrics, by_class = {}, {}
        for name, thresholds in _THRESHOLDS.items():
            aps = {
                self.dataset_meta['classes'][label]: float(
                    np.mean([average_precision(matches, label, t) for t in thresholds])
                )
                for label in np.unique(matches.positives)
            }
            metrics[name] = sum(aps.values()) / len(aps) if aps else float('nan')
            by_class |= {f'{name}_{class_}': ap for class_, ap in aps.items()}
        return metrics | by_class if self.classwise else metrics

    def _truth(
        self, image: VOCImage
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Masks, labels and ``difficult`` of an image's objects, and its void pixels."""
        labels = self._labels
        objects, voids = [], []
        for annotation in self._objects[image.id]:
            if not annotation.is_object:
                voids.append(self._void(annotation, image))
            elif annotation.category_id in labels:
                objects.append(annotation)
        if image.void is not msgspec.UNSET:
            with naming_mask(f'void of image {image.id}', self.ann_file):
                voids.append(decode_rle(image.void, image.shape))
        masks = np.zeros((len(objects), *image.shape), dtype=bool)
        for mask, annotation in zip(masks, objects, strict=True):
            mask[:] = decode_annotation(annotation, image.shape, self.ann_file)
        return (
            masks,
            np.array([labels[annotation.category_id] for annotation in objects], dtype=int),
            np.array([is_set(annotation.difficult) for annotation in objects], dtype=bool),
            np.any(voids, axis=0) if voids else None,
        )

    def _void(self, annotation: VOCAnnotation, image: VOCImage) -> np.ndarray:
        """Pixels (H, W) of what is no object: its mask's, or its box's if it has none."""
        if annotation.segmentation:
            return decode_annotation(annotation, image.shape, self.ann_file)
        x1, y1, x2, y2 = annotation_bboxes([annotation])[0]
        edges = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
        return box_mask(np.array(edges), image.shape)


def _bitmaps(masks: torch.Tensor | Sequence[dict], shape: tuple[int, int]) -> np.ndarray:
    """Predicted masks, a tensor or RLEs, as (N, H, W) bool."""
    if isinstance(masks, torch.Tensor):
        return masks.cpu().numpy().astype(bool)
    bitmaps = [coco_mask.decode(rle).astype(bool) for rle in masks]
    return np.stack(bitmaps) if bitmaps else np.zeros((0, *shape), dtype=bool)


def _encode(masks: np.ndarray) -> list[dict]:
    return coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8))
