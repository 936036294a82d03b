"""One sample per annotated box of a COCO-format file."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.fileio import list_from_file
from mmengine.logging import print_log

from mmboxcaseg.coco.annotations import (
    Coco,
    Id,
    check_mask,
    load_coco,
    read_masks,
    tell_left_out,
)
from mmboxcaseg.coco.checks import check_bboxes, image_paths, images_of_objects
from mmboxcaseg.coco.proxies import known_quality, load_proxies
from mmboxcaseg.errors import InputError, check_share
from mmboxcaseg.proxy import bbox_iou
from mmboxcaseg.registry import DATASETS


@DATASETS.register_module()
class BoxInstanceDataset(BaseDataset):
    """Boxes of a COCO-format file, one sample each; the patches that a box supervises.

    Crowd annotations and boxes without area are left out. ``segmentation`` is never looked at,
    unless ``with_segmentation`` asks for it to score a test, or ``use_masks`` to train on those
    boxes whose true mask is known. Masks that a trained network drew, and that it finds good, may
    supervise a second training: they come from a file of their own.

    A sample holds ``img_path``, ``img_id``, ``ann_id``, ``height`` and ``width`` (of the image),
    ``bbox`` (xyxy, image pixels), ``label`` (index into ``metainfo['classes']``), ``area``,
    ``supervision`` (``'box'``, or ``'mask'`` with a mask to learn from), ``mask`` (compressed RLE)
    if there is one, ``other_bboxes`` (xyxy, image pixels, of the other samples of its
    image) and, if asked for, ``segmentation``.

    Args:
        ann_file: COCO-format JSON file.
        data_prefix: ``img``: the image folder.
        proxy_file: What ``tools/generate_proxy_masks.py`` made of ``ann_file``, or of a file that
            holds its annotations; a path as it is, not below ``data_root``. By default none.
        min_quality: A proxy mask supervises if its ``quality`` (its expected IoU) is above this;
            the other samples stay supervised by their boxes.
        use_masks: Whether boxes whose annotation has a true mask are supervised by it, as salient
            images are; it comes before a proxy mask.
        with_segmentation: Whether samples carry the true ``segmentation``; only for tests.
        **kwargs: As in mmengine's ``BaseDataset``. ``metainfo`` may give ``classes``; by default
            they are the file's categories, in the file's order.

    Raises:
        InputError: If the file is not COCO, an image is missing, a box lies outside its image, a
            category is unknown, no box is left, ``with_segmentation`` is set in training or
            beside ``proxy_file``, or a mask that it asks for is missing or of another size than its
            image; if ``use_masks`` is set in a test or there is no true mask; if a proxy mask has
            no quality or none is good enough; see also
            :func:`mmboxcaseg.coco.load_proxies`.
    """

    METAINFO = dict(supervision='box')

    def __init__(
        self,
        ann_file: str,
        data_prefix: dict | None = None,
        proxy_file: str | None = None,
        min_quality: float = 0.75,
        use_masks: bool = False,
        with_segmentation: bool = False,
        **kwargs,
    ) -> None:
        check_share('min_quality', min_quality)
        if proxy_file and with_segmentation:
            raise InputError(
                'proxy_file is for training, with_segmentation for tests: leave one out'
            )
        if with_segmentation and not kwargs.get('test_mode', False):
            raise InputError(
                'with_segmentation is for tests: training reads masks of boxes with use_masks alone'
            )
        if use_masks and kwargs.get('test_mode', False):
            raise InputError('use_masks is for training: a test takes with_segmentation')
        self.proxy_file = proxy_file
        self.min_quality = min_quality
        self.use_masks = use_masks
        self.with_segmentation = with_segmentation
        super().__init__(ann_file, data_prefix=data_prefix or dict(img=''), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the file; see the class for what a sample holds and what is raised."""
        coco = load_coco(self.ann_file)
        check_bboxes(coco)
        images = {image.id: image for image in coco.images}
        names = {category.id: category.name for category in coco.categories}
        classes = self._metainfo.setdefault('classes', tuple(names.values()))
        read_classes(classes)
        places = {name: place for place, name in enumerate(classes)}
        labels = {id_: places[name] for id_, name in names.items() if name in places}
        paths = image_paths(images_of_objects(coco), self.data_prefix['img'], self.ann_file)
        masks = self._load_good_masks(coco) if self.proxy_file else {}
        if self.use_masks:
            masks |= self._read_true_masks(coco)
        data_list = []
        for annotation in coco.objects:
            image = images[annotation.image_id]
            if annotation.category_id not in labels:
                raise InputError(
                    f'annotation {annotation.id} of {self.ann_file} has category '
                    f'{names[annotation.category_id]!r}, which is not among the classes of the '
                    "config: add it to metainfo['classes'] or remove the annotation"
                )
            x, y, width, height = annotation.bbox
            sample = dict(
                img_path=paths[image.id],
                img_id=image.id,
                ann_id=annotation.id,
                height=image.height,
                width=image.width,
                bbox=[x, y, x + width, y + height],
                label=labels[annotation.category_id],
                area=annotation.known_area,
                supervision=self.METAINFO['supervision'],
            )
            if annotation.id in masks:
                sample.update(supervision='mask', mask=masks[annotation.id])
            if self.with_segmentation:
                check_mask(annotation, image, self.ann_file, ' to score against')
                sample['segmentation'] = annotation.segmentation
            data_list.append(sample)
        self._index_boxes(data_list)
        if left_out := tell_left_out(coco.annotations):
            print_log(f'{self.ann_file}: {left_out}', 'current')
        return data_list

    def img_shapes(self) -> dict[str, tuple[int, int]]:
        """Path of each image that has a box to the (height, width) that the file says."""
        infos = (BaseDataset.get_data_info(self, index) for index in range(len(self)))
        return {info['img_path']: (info['height'], info['width']) for info in infos}

    def _load_good_masks(self, coco: Coco) -> dict[Id, dict]:
        """The proxy masks that are good enough to learn from, by annotation id.

        Empty masks, of objects that others hide altogether, are not among them.
        """
        proxies = load_proxies(self.proxy_file, coco)
        good = {
            id_: proxy.rle
            for id_, proxy in proxies.items()
            if known_quality(proxy, id_, self.proxy_file) > self.min_quality and not proxy.is_empty
        }
        if not good:
            raise InputError(
                f'{self.proxy_file} has no mask of a quality above {self.min_quality}: lower '
                'min_quality or leave out proxy_file'
            )
        print_log(
            f'{len(good)} of {len(proxies)} proxy masks of {self.proxy_file} have a quality above '
            f'{self.min_quality} and supervise',
            'current',
        )
        return good

    def _read_true_masks(self, coco: Coco) -> dict[Id, dict]:
        """The true masks of the file, by annotation id."""
        masks: dict[Id, dict] = {}
        for image, objects in coco.objects_by_image():
            own = {annotation.id: annotation.true_mask for annotation in objects}
            own = {id_: mask for id_, mask in own.items() if mask is not None}
            masks |= read_masks(own, image.shape, self.ann_file)
        if not masks:
            raise InputError(f'{self.ann_file} has no true mask: leave out use_masks')
        print_log(f'{len(masks)} true masks of {self.ann_file} supervise', 'current')
        return masks

    def _index_boxes(self, data_list: list[dict]) -> None:
        """Keep all boxes once, by image; a sample knows where those of its image are."""
        groups: dict[int | str, list[dict]] = {}
        for sample in data_list:
            groups.setdefault(sample['img_id'], []).append(sample)
        start = 0
        for group in groups.values():
            for place, sample in enumerate(group, start):
                sample['boxes'] = (start, place, start + len(group))
            start += len(group)
        samples = [sample for group in groups.values() for sample in group]
        bboxes = np.array([sample['bbox'] for sample in samples], dtype=np.float64)
        sizes = np.array([(sample['width'], sample['height']) for sample in samples])
        # As far as they lie in the image, like a patch's own box.
        self._bboxes = np.clip(bboxes.reshape(-1, 4), 0, np.tile(sizes.reshape(-1, 2), 2))

    def get_data_info(self, idx: int) -> dict:
        """Get a sample; see the class for what it holds."""
        sample = super().get_data_info(idx)
        start, place, stop = sample.pop('boxes')
        others = np.delete(self._bboxes[start:stop], place - start, axis=0)
        return sample | dict(other_bboxes=others.tolist())

    def overlapping(self, min_iou: float) -> np.ndarray:
        """Which boxes overlap another one of their image.

        Args:
            min_iou: A box overlaps if its IoU with another is above this.

        Returns:
            (len(self),) bool, in the dataset's order.
        """
        bboxes = np.empty((len(self), 4))
        images = np.empty(len(self), dtype=np.int64)
        numbers: dict[int | str, int] = {}
        for index in range(len(self)):
            # One at a time: to keep them all takes three times as long.
            sample = super().get_data_info(index)
            bboxes[index] = sample['bbox']
            images[index] = numbers.setdefault(sample['img_id'], len(numbers))
        order = np.argsort(images, kind='stable')
        bboxes, images = bboxes[order], images[order]
        overlapping = np.zeros(len(self), dtype=bool)
        # Boxes of an image now stand side by side: each is compared with the one that is `step`
        # places on, for every step that some image is long enough for.
        first = np.arange(len(self))
        for step in range(1, len(self)):
            first = first[first + step < len(self)]
            first = first[images[first] == images[first + step]]
            if not len(first):
                break
            close = first[bbox_iou(bboxes[first], bboxes[first + step]) > min_iou]
            overlapping[order[close]] = overlapping[order[close + step]] = True
        return overlapping


def read_classes(classes: Sequence[str] | str) -> Sequence[str]:
    """Read the classes of a config as mmengine does: a string is a file that lists them.

    Raises:
        InputError: If there is no such file. mmengine takes the string itself for the classes then,
            and its letters for their names.
    """
    if not isinstance(classes, str):
        return classes
    if not os.path.isfile(classes):
        raise InputError(
            f'metainfo.classes is the string {classes!r}, which names no file of classes: for one '
            f'class write ({classes!r},), with the comma'
        )
    return list_from_file(classes)
