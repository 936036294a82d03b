"""What writers of masks share: the masks, where they go, and how well what is written fits them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from mmboxcaseg.coco.annotations import Category, Coco, Id, Image, read_masks
from mmboxcaseg.coco.proxies import ProxyAnnotation
from mmboxcaseg.fileio import link_file, make_folder
from mmboxcaseg.proxy import decode_rle, rle_areas


@dataclass
class Instance:
    """An object with its mask.

    Attributes:
        annotation: Its entry in the file.
        rle: Compressed, not empty.
        label: Number of its category, from 0, in the file's order.
    """

    annotation: ProxyAnnotation
    rle: dict
    label: int

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool, decoded anew each time."""
        return decode_rle(self.rle, tuple(self.rle['size']))


@dataclass
class MaskExport:
    """Masks on their way into another format.

    Attributes:
        coco: File of masks, its annotations :class:`ProxyAnnotation`.
        images: Folder of its images.
        folder: Where to write; it is empty.
        place: Where that will lie when all is written.
        min_quality: Masks of a quality above it are to be trained on.
        val: Ids of the images that validate.
        ious: Annotation id to the IoU of what was written with the mask.
        left_out: How many objects or images are not written, by why.
    """

    coco: Coco
    images: Path
    folder: Path
    place: Path
    min_quality: float
    val: set[Id]
    ious: dict[Id, float] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def categories(self) -> list[Category]:
        """In the order in which labels number them."""
        return self.coco.categories

    @cached_property
    def _labels(self) -> dict[Id, int]:
        return {category.id: label for label, category in enumerate(self.categories)}

    def masks(self) -> Iterator[tuple[Image, list[Instance]]]:
        """Go through the images, each with its masks that are not empty."""
        for image, objects in self.coco.objects_by_image():
            segmentations = {annotation.id: annotation.segmentation for annotation in objects}
            rles = read_masks(segmentations, image.shape, self.coco.path)
            areas = rle_areas(list(rles.values()))
            there = [
                Instance(annotation, rles[annotation.id], self._labels[annotation.category_id])
                for annotation, area in zip(objects, areas, strict=True)
                if area
            ]
            self.left_out['empty masks'] += len(objects) - len(there)
            yield image, there

    def good_masks(self) -> Iterator[tuple[Image, list[Instance], list[Instance]]]:
        """Go through the images that have a mask to train on.

        Yields:
            An image, its masks of a quality above the least, and those that are dropped. An image
            of which all are dropped is left out: it would teach that there is nothing.
        """
        for image, instances in self.masks():
            good, dropped = [], []
            for instance in instances:
                (good if self._is_good(instance.annotation) else dropped).append(instance)
            self.left_out[f'masks of a quality of {self.min_quality:g} or less'] += len(dropped)
            if good:
                yield image, good, dropped
            elif dropped:
                self.left_out['images of which no mask is better'] += 1

    def _is_good(self, annotation: ProxyAnnotation) -> bool:
        # A mask of which nobody has told the quality may be a true one.
        return annotation.quality is None or annotation.quality > self.min_quality

    def part(self, image: Image, val: str = 'val') -> str:
        """Whether an image is to train or to validate: ``'train'`` or the name for the other."""
        return val if image.id in self.val else 'train'

    def record(self, instance: Instance, written: np.ndarray) -> None:
        """Note how well a mask, (H, W) bool, that was read from what was written fits."""
        mask = instance.mask
        union = np.count_nonzero(mask | written)
        self.ious[instance.annotation.id] = np.count_nonzero(mask & written) / union

    def file(self, *parts: str, suffix: str = '') -> Path:
        """A file to write, its folder made; with a suffix, in place of the last part's own."""
        name = PurePosixPath(*parts)
        path = self.folder / (name.with_name(name.stem + suffix) if suffix else name)
        make_folder(path.parent)
        return path

    def link_image(self, image: Image, folder: str) -> None:
        """Put an image below a folder of what is written."""
        link_file(self.images / image.file_name, self.file(folder, image.file_name))
