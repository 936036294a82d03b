"""The annotations of a large COCO file image by image, packed."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from msgspec import Raw

from .annotations import Annotation, Coco, Image, tell_left_out

_decoder = msgspec.json.Decoder(Annotation)


class ImageGroups:
    """The annotations of a COCO file image by image, without masks but true ones that are kept.

    Their JSON texts lie in one block, which takes a sixth of what Python objects do.

    Args:
        coco: The file; nothing of it is held but its images and the texts of its keys.
        keep_masks: Whether annotations with a true mask keep it.

    Attributes:
        keep_masks: As given.
        images: Of the file.
        top: JSON text of each key of the file but ``annotations``, which is empty.
        order: (N,) int64, the index in the file of every annotation, image after image.
        num_boxes: (number of images,) int64, how many objects of each are to get a mask.
        left_out: What is said of the annotations that are no objects, see :func:`tell_left_out`.
    """

    def __init__(self, coco: Coco, keep_masks: bool = False) -> None:
        self.keep_masks = keep_masks
        self.images = coco.images
        self.left_out = tell_left_out(coco.annotations)
        # A copy: a part of the file's text would keep all of it.
        self.top = {key: b'' if key == 'annotations' else bytes(t) for key, t in coco.top.items()}
        positions = {image.id: index for index, image in enumerate(coco.images)}
        owners = np.array([positions[a.image_id] for a in coco.annotations], dtype=np.int64)
        kept = [keep_masks and a.true_mask is not None for a in coco.annotations]
        is_wanted = [a.is_object and not k for a, k in zip(coco.annotations, kept, strict=True)]
        is_wanted = np.array(is_wanted, dtype=bool)
        self.order = np.argsort(owners, kind='stable')
        self.num_boxes = np.bincount(owners[is_wanted], minlength=len(positions))
        self._starts = np.searchsorted(owners[self.order], np.arange(len(positions) + 1))
        self._ends = np.zeros(len(owners) + 1, dtype=np.int64)
        self._texts = bytearray()
        for index, annotation in enumerate(coco.annotations, 1):
            text = annotation.text
            self._texts += bytes(text) if kept[index - 1] else _without_mask(text)
            self._ends[index] = len(self._texts)

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Image:
        """The image at a position in the file."""
        return self.images[index]

    def annotations(self, index: int) -> list[Annotation]:
        """The annotations of the image at a position, in the file's order."""
        return [self._read(i) for i in self.order[self.span(index, index + 1)].tolist()]

    def wanted(self, index: int) -> list[Annotation]:
        """The objects of the image at a position that are to get a mask."""
        return list(filter(self.wants, self.annotations(index)))

    def wants(self, annotation: Annotation) -> bool:
        """Whether an annotation is an object that is to get a mask."""
        return annotation.is_object and not (self.keep_masks and annotation.true_mask is not None)

    def span(self, start: int, stop: int) -> slice:
        """Where the annotations of a range of images lie in :attr:`order`."""
        return slice(int(self._starts[start]), int(self._starts[stop]))

    def in_file_order(self, entries: Iterable[bytes]) -> list[bytes]:
        """Put what was made of each annotation, image after image, in the file's order."""
        ordered = [b''] * len(self.order)
        for place, entry in zip(self.order.tolist(), entries, strict=True):
            ordered[place] = entry
        return ordered

    def _read(self, index: int) -> Annotation:
        text = bytes(memoryview(self._texts)[self._ends[index] : self._ends[index + 1]])
        annotation = _decoder.decode(text)
        annotation.text = Raw(text)
        return annotation


def _without_mask(text: Raw) -> bytes:
    fields = msgspec.json.decode(text, type=dict[str, Raw])
    if 'segmentation' in fields:
        fields['segmentation'] = Raw(b'null')
    return msgspec.json.encode(fields)
