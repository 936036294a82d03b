"""Maps of ids: PNG files whose pixels tell class and object, as of Pascal VOC and Cityscapes."""

from __future__ import annotations

import numpy as np
from PIL import Image as PillowImage

from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import write_bytes
from mmboxcaseg.proxy import pixel_bboxes

from .mask_export import Instance, MaskExport

_VOID = 255
#: Classes of Pascal VOC, or objects of an image, are numbered from 1; 255 is void.
MOST_VOC = 254
#: Cityscapes has 1000 numbers for each class, and 16 bits.
_EACH = 1000
MOST_CITYSCAPES = 64


def write_voc_png(export: MaskExport) -> None:
    """Write ``SegmentationClass``, ``SegmentationObject`` and ``ImageSets`` of Pascal VOC.

    Classes are numbered from 1 as ``class_names.txt`` has them, objects from 1 in each image. The
    box of a dropped mask is void (255) where no other object is. Where masks share pixels the
    smaller one has them.
    """
    sets = dict(train='', val='')
    for image, good, dropped in export.good_masks():
        if len(good) > MOST_VOC:
            raise InputError(
                f'image {image.file_name} has {len(good)} masks, and an object map of Pascal VOC '
                f'can tell {MOST_VOC}: write cityscapes-png'
            )
        numbers = _number(good, image.shape)
        classes = np.array([0, *(instance.label + 1 for instance in good)], dtype=np.uint8)[numbers]
        void = _boxes_of(dropped, image.shape) & (numbers == 0)
        for folder, pixels in (('SegmentationClass', classes), ('SegmentationObject', numbers)):
            pixels = np.where(void, _VOID, pixels).astype(np.uint8)
            path = export.file(folder, image.file_name, suffix='.png')
            picture = PillowImage.fromarray(pixels)
            picture.putpalette(_palette())
            picture.save(path)
        _record(export, good, np.asarray(PillowImage.open(path)), range(1, len(good) + 1))
        sets[export.part(image)] += image.file_name.rpartition('.')[0] + '\n'
    for name, text in sets.items():
        write_bytes(text.encode(), export.file('ImageSets', 'Segmentation', f'{name}.txt'))
    names = ['background', *(category.name for category in export.categories)]
    write_bytes('\n'.join(names).encode(), export.file('class_names.txt'))


def write_cityscapes_png(export: MaskExport) -> None:
    """Write ``gtFine`` of Cityscapes: ``labelIds`` in 8 bits and ``instanceIds`` in 16.

    Classes are numbered from 1 as ``class_names.txt`` has them from 0 on; object k of class c is
    1000 c + k. The box of a dropped mask is c alone in ``instanceIds``, a group that training
    ignores, where no other object is, and 0 in ``labelIds``. Where masks share pixels the smaller
    one has them.
    """
    for image, good, dropped in export.good_masks():
        seen: dict[int, int] = {}
        ids = []
        for instance in good:
            number = seen[instance.label] = seen.get(instance.label, -1) + 1
            if number >= _EACH:
                raise InputError(f'image {image.file_name} has more than {_EACH} masks of a class')
            ids.append(_EACH * (instance.label + 1) + number)
        pixels = np.array([0, *ids], dtype=np.uint16)[_number(good, image.shape)]
        labels = (pixels // _EACH).astype(np.uint8)
        for instance in dropped:
            pixels[_boxes_of([instance], image.shape) & (pixels < _EACH)] = instance.label + 1
        for name, values in (('labelIds', labels), ('instanceIds', pixels)):
            folder = f'gtFine/{export.part(image)}'
            path = export.file(folder, image.file_name, suffix=f'_gtFine_{name}.png')
            PillowImage.fromarray(values).save(path)
        _record(export, good, np.asarray(PillowImage.open(path)), ids)
    names = ['unlabeled', *(category.name for category in export.categories)]
    write_bytes('\n'.join(names).encode(), export.file('class_names.txt'))


def _number(instances: list[Instance], img_shape: tuple[int, int]) -> np.ndarray:
    """Number the pixels of objects from 1 on, (H, W) int64."""
    numbers = np.zeros(img_shape, dtype=np.int64)
    masks = [instance.mask for instance in instances]
    for index in np.argsort([-np.count_nonzero(mask) for mask in masks], kind='stable').tolist():
        numbers[masks[index]] = index + 1
    return numbers


def _boxes_of(instances: list[Instance], img_shape: tuple[int, int]) -> np.ndarray:
    filled = np.zeros(img_shape, dtype=bool)
    for instance in instances:
        x, y, width, height = instance.annotation.bbox
        x1, y1, x2, y2 = pixel_bboxes([x, y, x + width, y + height], img_shape)[0]
        filled[y1:y2, x1:x2] = True
    return filled


def _record(export: MaskExport, instances: list[Instance], pixels: np.ndarray, ids) -> None:
    for instance, number in zip(instances, ids, strict=True):
        export.record(instance, pixels == number)


def _palette() -> list[int]:
    """VOC's colours: the bits of a number, from the lowest on, are dealt to red, green and blue."""
    return [
        sum((number >> 3 * bit + channel & 1) << 7 - bit for bit in range(8))
        for number in range(256)
        for channel in range(3)
    ]
