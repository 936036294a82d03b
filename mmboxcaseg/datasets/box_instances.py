"""One sample per annotated box of a COCO-format file."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmboxcaseg.errors import InputError, check_share
from mmboxcaseg.proxy import bbox_iou, empty_rle
from mmboxcaseg.proxy.coco import check_bboxes, load_coco, paused_gc, wants_mask
from mmboxcaseg.registry import DATASETS

_MASK_TOOL = 'tools/generate_proxy_masks.py'


def check_segmentation(annotation: dict, image: dict, where: str) -> None:
    """Check the form of a mask without decoding it: its type and, of an RLE, its size.

    Args:
        annotation: COCO annotation with a ``segmentation``.
        image: The COCO image that it belongs to.
        where: The annotation, for the message.

    Raises:
        InputError: It is neither polygons nor an RLE, or an RLE of another size than the image.
    """
    segmentation = annotation['segmentation']
    if isinstance(segmentation, list):
        return
    if not isinstance(segmentation, dict) or not {'size', 'counts'} <= segmentation.keys():
        raise InputError(f'{where} has a segmentation that is neither polygons nor an RLE')
    size, shape = segmentation['size'], [image['height'], image['width']]
    if size != shape:
        raise InputError(
            f'{where} has a mask of height and width {size}, but its image {image["file_name"]} '
            f'has {shape}: correct or remove it'
        )


def image_paths(images: Iterable[dict], folder: str | Path, ann_file: str | Path) -> dict[int, str]:
    """Find the files of images.

    Args:
        images: COCO images.
        folder: Where they lie.
        ann_file: The annotation file, for the message.

    Returns:
        Image id to path.

    Raises:
        InputError: The folder or an image is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f'image folder {folder} does not exist')
    present = {entry.name for entry in folder.iterdir()}
    paths = {}
    for image in images:
        name = image['file_name']
        # One listing instead of a look-up per image; names with folders are looked up.
        if name not in present and not (folder / name).is_file():
            raise InputError(f'image {folder / name} of {ann_file} does not exist')
        paths[image['id']] = str(folder / name)
    return paths


def load_proxy_masks(
    path: str | Path, coco: dict, ann_file: str | Path, min_quality: float
) -> dict[int | str, dict]:
    """Read the proxy masks that are good enough to learn from.

    A mask is known for a proxy mask by the ``quality`` that ``tools/generate_proxy_masks.py``
    gives it; a file of true masks has none.

    Args:
        path: The file that the tool wrote.
        coco: Content of the COCO file of the boxes; its masks are not read.
        ann_file: That file, for the message.
        min_quality: A mask is good enough if its quality is above this.

    Returns:
        Annotation id to mask (compressed RLE) of the good ones. Empty masks, of objects that
        others hide altogether, are not among them.

    Raises:
        InputError: The file is missing or is not COCO, a box is not in it or is of another image
            or place there, or has a mask that is no compressed RLE, of another size than the image
            or without a quality; or no mask is good enough.
    """
    if not Path(path).is_file():
        raise InputError(f'there is no file of proxy masks {path}: make it with {_MASK_TOOL}')
    images = {image['id']: image for image in coco['images']}
    proxies = {proxy['id']: proxy for proxy in load_coco(path)['annotations']}
    good = {}
    for annotation in filter(wants_mask, coco['annotations']):
        proxy = proxies.get(annotation['id'])
        if proxy is None or any(proxy[key] != annotation[key] for key in ('image_id', 'bbox')):
            raise InputError(
                f'annotation {annotation["id"]} of {ann_file} is not in {path}, or has another '
                f'image or box there: make proxy masks of this file with {_MASK_TOOL}'
            )
        where = f'annotation {proxy["id"]} of {path}'
        rle, quality = proxy.get('segmentation'), proxy.get('quality')
        if not isinstance(rle, dict) or not isinstance(rle.get('counts'), str):
            raise InputError(f'{where} has no compressed RLE: make proxy masks with {_MASK_TOOL}')
        image = images[proxy['image_id']]
        check_segmentation(proxy, image, where)
        if rle['counts'] == _empty_counts(image['height'], image['width']):
            continue
        if not isinstance(quality, float | int):
            raise InputError(
                f'{where} has no quality, so it may be a true mask, which training never reads: '
                f'make proxy masks with {_MASK_TOOL}'
            )
        if quality > min_quality:
            good[proxy['id']] = rle
    if not good:
        raise InputError(
            f'{path} has no mask of a quality above {min_quality}: lower min_quality or leave out '
            'proxy_file'
        )
    return good


@cache
def _empty_counts(height: int, width: int) -> str:
    return empty_rle((height, width))['counts']


@DATASETS.register_module()
class BoxInstanceDataset(BaseDataset):
    """Boxes of a COCO-format file, one sample each; the patches that a box supervises.

    Crowd annotations and boxes without area are left out. ``segmentation`` is never looked at,
    unless ``with_segmentation`` asks for it to score a test. Masks that a trained network drew, and
    that it finds good, may supervise a second training: they come from a file of their own.

    A sample holds ``img_path``, ``img_id``, ``ann_id``, ``height`` and ``width`` (of the image),
    ``bbox`` (xyxy, image pixels), ``label`` (index into ``metainfo['classes']``), ``area``,
    ``supervision`` (``'box'``, or ``'mask'`` with a good proxy mask), ``proxy_mask`` (compressed
    RLE) if there is a good one, ``other_bboxes`` (xyxy, image pixels, of the other samples of its
    image) and, if asked for, ``segmentation``.

    Args:
        ann_file: COCO-format JSON file.
        data_prefix: ``img``: the image folder.
        proxy_file: What ``tools/generate_proxy_masks.py`` made of ``ann_file``, or of a file that
            holds its annotations; a path as it is, not below ``data_root``. By default none.
        min_quality: A proxy mask supervises if its ``quality`` (its expected IoU) is above this;
            the other samples stay supervised by their boxes.
        with_segmentation: Whether samples carry the true ``segmentation``; only for tests.
        **kwargs: As in mmengine's ``BaseDataset``. ``metainfo`` may give ``classes``; by default
            they are the file's categories, in the file's order.

    Raises:
        InputError: If the file is not COCO, an image is missing, a box lies outside its image, a
            category is unknown, no box is left, ``with_segmentation`` is set in training or
            beside ``proxy_file``, or a mask that it asks for is missing or of another size than its
            image; for the proxy masks see :func:`load_proxy_masks`.
    """

    METAINFO = dict(supervision='box')

    def __init__(
        self,
        ann_file: str,
        data_prefix: dict | None = None,
        proxy_file: str | None = None,
        min_quality: float = 0.75,
        with_segmentation: bool = False,
        **kwargs,
    ) -> None:
        check_share('min_quality', min_quality)
        if proxy_file and with_segmentation:
            raise InputError(
                'proxy_file is for training, with_segmentation for tests: leave one out'
            )
        if with_segmentation and not kwargs.get('test_mode', False):
            raise InputError('with_segmentation is for tests: training never reads masks of boxes')
        self.proxy_file = proxy_file
        self.min_quality = min_quality
        self.with_segmentation = with_segmentation
        super().__init__(ann_file, data_prefix=data_prefix or dict(img=''), **kwargs)

    @paused_gc()
    def load_data_list(self) -> list[dict]:
        """Read the file; see the class for what a sample holds and what is raised."""
        coco = load_coco(self.ann_file)
        check_bboxes(coco, self.ann_file)
        images = {image['id']: image for image in coco['images']}
        names = {category['id']: category['name'] for category in coco['categories']}
        classes = self._metainfo.setdefault('classes', tuple(names.values()))
        labels = {id_: classes.index(name) for id_, name in names.items() if name in classes}
        annotations = [a for a in coco['annotations'] if wants_mask(a)]
        used = {annotation['image_id'] for annotation in annotations}
        wanted = [image for image in coco['images'] if image['id'] in used]
        paths = image_paths(wanted, self.data_prefix['img'], self.ann_file)
        proxies = {}
        if self.proxy_file:
            proxies = load_proxy_masks(self.proxy_file, coco, self.ann_file, self.min_quality)
            print_log(
                f'{len(proxies)} of {len(annotations)} proxy masks of {self.proxy_file} have a '
                f'quality above {self.min_quality} and supervise',
                'current',
            )
        data_list = []
        for annotation in annotations:
            image = images[annotation['image_id']]
            where = f'annotation {annotation["id"]} of {self.ann_file}'
            if annotation['category_id'] not in labels:
                raise InputError(
                    f'{where} has category {names[annotation["category_id"]]!r}, which is not '
                    "among the classes of the config: add it to metainfo['classes'] or remove the "
                    'annotation'
                )
            x, y, width, height = annotation['bbox']
            sample = dict(
                img_path=paths[image['id']],
                img_id=image['id'],
                ann_id=annotation['id'],
                height=image['height'],
                width=image['width'],
                bbox=[x, y, x + width, y + height],
                label=labels[annotation['category_id']],
                area=annotation.get('area', width * height),
                supervision=self.METAINFO['supervision'],
            )
            if annotation['id'] in proxies:
                sample.update(supervision='mask', proxy_mask=proxies[annotation['id']])
            if self.with_segmentation:
                if not annotation.get('segmentation'):
                    raise InputError(f'{where} has no segmentation to score against')
                check_segmentation(annotation, image, where)
                sample['segmentation'] = annotation['segmentation']
            data_list.append(sample)
        self._index_boxes(data_list)
        if dropped := len(coco['annotations']) - len(data_list):
            print_log(f'{self.ann_file}: {dropped} crowd or empty boxes left out', 'current')
        return data_list

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
            ``(len(self),)`` bool, in the dataset's order.
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
