"""VOC 2012 with SBD as COCO files whose masks are the bitmaps, never polygons (Sec. 4)."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmdet.datasets import VOCDataset
from PIL import Image
from scipy.io import loadmat
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from mmboxcaseg.coco.annotations import object_annotation
from mmboxcaseg.converters.linking import check_apart, link_files
from mmboxcaseg.errors import InputError
from mmboxcaseg.fileio import check_output, read_text, write_json
from mmboxcaseg.images import read_image_shape
from mmboxcaseg.proxy import encode_rle, pairwise_iou, tight_bboxes

CLASSES = VOCDataset.METAINFO['classes']
SPLITS = ('train', 'val')
BOX_EDGES = ('xmin', 'ymin', 'xmax', 'ymax')
VOID = 255
# Below it the box of a bitmap and the one of the XML file disagree.
MIN_IOU = 0.5
PAPER_COUNTS = {'training images': 10_582, 'training instances': 25_815, 'validation images': 1_449}
WHY_COUNTS_DIFFER = {
    'images': 'the lists of VOC or SBD are not the released ones',
    'instances': 'the paper says neither whose bitmaps it counts where VOC and SBD both segment '
    'an image, nor whether difficult and tiny ones count',
}


@dataclass(frozen=True)
class Sample:
    """The files of an image: its bitmaps are two PNG files of VOC or one .mat file of SBD."""

    image: Path
    xml: Path
    bitmaps: tuple[Path, ...]


@dataclass
class Bitmaps:
    """What a data set segments in an image.

    Attributes:
        labels: (N,) int64 classes, 1 to 20.
        masks: (N, H, W) bool.
        void: (H, W) bool, pixels that count neither as object nor as ground.
        numbers: (N,) int64 numbers that the data set gives its objects, from 1.
        left_out: Objects without a pixel or a class.
    """

    labels: np.ndarray
    masks: np.ndarray
    void: np.ndarray
    numbers: np.ndarray
    left_out: int


@dataclass
class Objects:
    """Objects of an XML file, in its order.

    Attributes:
        labels: (M,) int64 classes, 1 to 20, 0 for another one.
        bboxes: (M, 4) float64 boxes xyxy, x2 and y2 exclusive.
        difficult: (M,) int64, 0 or 1.
    """

    labels: np.ndarray
    bboxes: np.ndarray
    difficult: np.ndarray


@dataclass
class Report:
    """What a user should know of the bitmaps of one data set.

    Attributes:
        ious: IoU of each instance's box with that of its object, and the image's name; 0 where the
            XML file has no box of its class.
        left_out: Objects without a pixel or a class.
    """

    ious: list[tuple[float, str]] = field(default_factory=list)
    left_out: int = 0


def convert_voc_sbd(voc: Path, sbd: Path, out: Path) -> list[str]:
    """Turn VOC 2012 with SBD into COCO files.

    Args:
        voc: VOCdevkit, or VOC2012 in it.
        sbd: benchmark_RELEASE of SBD, or dataset in it.
        out: Folder to write: ``images`` and ``annotations/instances_{train,val}.json``.

    Returns:
        Lines that tell what was written and how well both data sets agree with their boxes.

    Raises:
        InputError: If a file is missing, broken or cannot be written.
    """
    given = (voc, sbd)
    voc = find_folder(voc, ('VOC2012', ''), 'ImageSets/Segmentation', 'VOC 2012')
    sbd = find_folder(sbd, ('dataset', '', 'benchmark_RELEASE/dataset'), 'inst', 'SBD')
    check_apart(out, (*given, voc, sbd))
    splits = list_samples(voc, sbd)
    outputs = {name: out / 'annotations' / f'instances_{name}.json' for name in splits}
    for path in outputs.values():
        check_output(path)

    reports = dict(VOC=Report(), SBD=Report())
    cocos = {name: convert(name, split, reports) for name, split in splits.items()}
    # After all files were read: a broken image is not linked.
    samples = [sample for split in splits.values() for sample in split]
    copied = link_files([sample.image for sample in samples], out / 'images')
    lines = []
    for name, coco in cocos.items():
        write_json(coco, outputs[name])
        lines.append(f'{outputs[name]}: {summarize(coco)}')
    if copied:
        lines.append(f'{copied} images were copied: {out} takes no hard links of them')
    lines += count_lines(cocos)
    for source, report in reports.items():
        lines += report_lines(source, report)
    return lines


def find_folder(given: Path, places: tuple[str, ...], holds: str, what: str) -> Path:
    """Find the folder of a data set in or at the one given."""
    for place in places:
        if (given / place / holds).is_dir():
            return given / place
    raise InputError(f'{given} is not {what}: no folder {holds} in it or in its {places[0]}')


def list_samples(voc: Path, sbd: Path) -> dict[str, list[Sample]]:
    """List what belongs to each split and make sure that all files are there.

    Training takes all of SBD and VOC's training images, less VOC's validation images. Images that
    VOC segments too take VOC's bitmaps: they are its organisers' own, mark what is void, and are
    what validation scores against; SBD's were drawn on Mechanical Turk, without void.
    """
    lists = {name: read_list(voc / f'ImageSets/Segmentation/{name}.txt') for name in SPLITS}
    in_sbd = read_list(sbd / 'train.txt') | read_list(sbd / 'val.txt')
    names = dict(train=(in_sbd | lists['train']) - lists['val'], val=lists['val'])
    in_voc = lists['train'] | lists['val']

    def sample(name: str) -> Sample:
        image = voc / 'JPEGImages' / f'{name}.jpg'
        if name in in_voc:
            folders = ('SegmentationObject', 'SegmentationClass')
            bitmaps = tuple(voc / folder / f'{name}.png' for folder in folders)
        else:
            # A slim VOC has only the images that it segments.
            image = image if image.is_file() else sbd / 'img' / image.name
            bitmaps = (sbd / 'inst' / f'{name}.mat',)
        files = Sample(image, voc / 'Annotations' / f'{name}.xml', bitmaps)
        for path in (files.image, files.xml, *bitmaps):
            if not path.is_file():
                raise InputError(f'{path} does not exist: unpack the data set again')
        return files

    splits = {split: [sample(name) for name in sorted(names[split])] for split in SPLITS}
    for split, samples in splits.items():
        if not samples:
            raise InputError(f'the lists of {voc} and {sbd} leave no image for {split}')
    return splits


def read_list(path: Path) -> set[str]:
    """Read the image names of a list file."""
    return set(read_text(path).split())


def convert(split: str, samples: list[Sample], reports: dict[str, Report]) -> dict:
    """Make the COCO file of a split.

    Args:
        split: Its name, for the progress bar.
        samples: Its images, which are numbered in this order.
        reports: Filled, by data set.

    Returns:
        Content of a COCO file. Boxes are the tight ones of the bitmaps; annotations have
        ``difficult``, images ``void`` where they have void pixels.
    """
    coco = dict(
        info=dict(description=f'VOC 2012 with SBD, {split}'),
        images=[],
        annotations=[],
        categories=[dict(id=label, name=name) for label, name in enumerate(CLASSES, start=1)],
    )
    with tqdm(samples, desc=split, unit='image') as progress:
        for img_id, sample in enumerate(progress, start=1):
            is_voc = len(sample.bitmaps) == 2
            read = read_voc_bitmaps if is_voc else read_sbd_bitmaps
            bitmaps = read(*sample.bitmaps)
            height, width = bitmaps.void.shape
            if read_image_shape(sample.image) != (height, width):
                raise InputError(
                    f'{sample.bitmaps[0]} is {width}x{height}, another size than {sample.image}: '
                    'unpack the data set again'
                )
            image = dict(id=img_id, file_name=sample.image.name, height=height, width=width)
            if bitmaps.void.any():
                image['void'] = encode_rle(bitmaps.void)
            coco['images'].append(image)

            bboxes = tight_bboxes(bitmaps.masks)
            objects = read_objects(sample.xml)
            report = reports['VOC' if is_voc else 'SBD']
            matches, ious = match_objects(bitmaps, bboxes, objects, by_number=is_voc)
            report.left_out += bitmaps.left_out
            report.ious += [(iou, sample.image.stem) for iou in ious.tolist()]

            rows = zip(bitmaps.labels, bitmaps.masks, matches, ious, strict=True)
            for label, mask, match, iou in rows:
                id_ = len(coco['annotations']) + 1
                annotation = object_annotation(id_, img_id, int(label), mask)
                annotation['difficult'] = int(objects.difficult[match]) if iou > 0 else 0
                coco['annotations'].append(annotation)
    return coco


def read_voc_bitmaps(object_png: Path, class_png: Path) -> Bitmaps:
    """Read the bitmaps of an image that VOC segments.

    The pixels of SegmentationObject hold the numbers of the objects, those of SegmentationClass
    their classes.
    """
    objects, classes = read_indices(object_png), read_indices(class_png)
    if objects.shape != classes.shape:
        raise InputError(f'{object_png} and {class_png} differ in size: unpack the data set again')
    void = (objects == VOID) | (classes == VOID)
    if classes[~void].max(initial=0) > len(CLASSES):
        raise InputError(f'{class_png} has a class above {len(CLASSES)}: unpack the data set again')
    numbers = np.setdiff1d(objects[~void], [0]).astype(np.int64)
    masks = (objects == numbers[:, None, None]) & ~void
    labels = np.zeros(len(masks), dtype=np.int64)
    for index, mask in enumerate(masks):
        counts = np.bincount(classes[mask])
        counts[0] = 0  # ground is no class
        labels[index] = counts.argmax()
    return keep_objects(labels, masks, void, numbers)


def read_indices(path: Path) -> np.ndarray:
    """Read the (H, W) uint8 palette indices, not the colours, of a PNG file."""
    try:
        with Image.open(path) as image:
            mode, indices = image.mode, np.array(image)
    except Exception:  # a broken file makes Pillow raise nearly anything
        raise InputError(f'{path} cannot be decoded: unpack the data set again') from None
    if mode not in ('P', 'L'):
        raise InputError(f'{path} holds colours, not indices: take the released PNG file')
    return indices


def read_sbd_bitmaps(mat: Path) -> Bitmaps:
    """Read the bitmaps of an image that SBD alone segments; there is no void in SBD.

    The pixels of ``GTinst.Segmentation`` hold the numbers of the objects, ``GTinst.Categories``
    their classes.
    """
    try:
        truth = loadmat(mat, variable_names=['GTinst'])['GTinst'][0, 0]
        objects, labels = truth['Segmentation'], truth['Categories'].ravel()
    except Exception:  # a broken file makes loadmat raise nearly anything
        raise InputError(f'{mat} is not an instance file of SBD: unpack SBD again') from None
    for values, highest, name in (
        (labels, len(CLASSES), 'Categories'),
        (objects, len(labels), 'Segmentation'),
    ):
        whole = np.issubdtype(values.dtype, np.integer)
        if not whole or values.min(initial=0) < 0 or values.max(initial=0) > highest:
            raise InputError(
                f'{mat} has a value in {name} that is not in 0 to {highest}: unpack SBD again'
            )
    if objects.ndim != 2:
        raise InputError(f'{mat} has a Segmentation that is no image: unpack SBD again')
    numbers = np.arange(1, len(labels) + 1)
    masks = objects == numbers[:, None, None]
    return keep_objects(labels.astype(np.int64), masks, np.zeros(objects.shape, bool), numbers)


def keep_objects(
    labels: np.ndarray, masks: np.ndarray, void: np.ndarray, numbers: np.ndarray
) -> Bitmaps:
    """Leave out what has no pixel or no class."""
    keep = masks.any(axis=(1, 2)) & (labels > 0)
    return Bitmaps(labels[keep], masks[keep], void, numbers[keep], int((~keep).sum()))


def read_objects(xml: Path) -> Objects:
    """Read the objects of an XML file of VOC.

    VOC counts pixels from 1 and includes the last one; some coordinates have decimals. Objects
    without ``difficult``, or with an empty one, are not.
    """
    labels, bboxes, difficult = [], [], []
    try:
        for element in ElementTree.parse(xml).getroot().findall('object'):  # noqa: S314 -- as in formats.voc
            name = element.findtext('name')
            labels.append(CLASSES.index(name) + 1 if name in CLASSES else 0)
            # Not its parts, which have boxes too.
            edges = [float(element.findtext(f'bndbox/{edge}')) for edge in BOX_EDGES]
            bboxes.append([edges[0] - 1, edges[1] - 1, *edges[2:]])
            difficult.append(int(element.findtext('difficult', '').strip() or '0'))
        if not np.isfinite(bboxes).all() or not set(difficult) <= {0, 1}:
            raise ValueError
    except (ElementTree.ParseError, OSError, TypeError, ValueError):
        raise InputError(
            f'{xml} is not an annotation file of VOC: unpack the data set again'
        ) from None
    return Objects(
        np.array(labels, dtype=np.int64),
        np.array(bboxes, dtype=np.float64).reshape(-1, 4),
        np.array(difficult, dtype=np.int64),
    )


def match_objects(
    bitmaps: Bitmaps, bboxes: np.ndarray, objects: Objects, by_number: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Find the object of the XML file that each bitmap shows, no two the same.

    Args:
        bitmaps: N of them.
        bboxes: (N, 4) their tight boxes xyxy.
        objects: M of them.
        by_number: Whether the numbers of the bitmaps are places in the XML file, as VOC's are. A
            number is believed if class and box agree; otherwise, and without numbers, boxes of
            the same class are matched so that their IoUs have the largest sum.

    Returns:
        (N,) int64 indices into the objects and (N,) float64 IoUs of both boxes. An IoU of 0 says
        that there is no such object, whatever the index is.
    """
    same_class = bitmaps.labels[:, None] == objects.labels[None]
    ious = pairwise_iou(bboxes, objects.bboxes) * same_class
    gains = ious.copy()
    if by_number:
        numbered = bitmaps.numbers[:, None] - 1 == np.arange(len(objects.labels))
        gains += 2 * (numbered & (ious >= MIN_IOU))  # no two IoUs outweigh it
    matches = np.zeros(len(bboxes), dtype=np.int64)
    rows, columns = linear_sum_assignment(gains, maximize=True)
    matches[rows] = columns
    matched_ious = np.zeros(len(bboxes))
    matched_ious[rows] = ious[rows, columns]
    return matches, matched_ious


def summarize(coco: dict) -> str:
    """Say what a file holds."""
    annotations = coco['annotations']
    difficult = sum(annotation['difficult'] for annotation in annotations)
    bare = len(coco['images']) - len({annotation['image_id'] for annotation in annotations})
    return (
        f'{len(coco["images"])} images ({bare} without an instance), {len(annotations)} instances '
        f'({difficult} difficult)'
    )


def count_lines(cocos: dict[str, dict]) -> list[str]:
    """Compare what there is with the paper's counts (Sec. 4)."""
    counts = (
        len(cocos['train']['images']),
        len(cocos['train']['annotations']),
        len(cocos['val']['images']),
    )
    lines = []
    for (what, paper), count in zip(PAPER_COUNTS.items(), counts, strict=True):
        if count == paper:
            lines.append(f'{what}: {count}, as in the paper')
        else:
            why = WHY_COUNTS_DIFFER[what.split()[-1]]
            lines.append(f'{what}: {count}, {count - paper:+} to the {paper} of the paper: {why}')
    return lines


def report_lines(source: str, report: Report) -> list[str]:
    """Say how the bitmaps of a data set agree with the boxes of VOC's annotations."""
    unmatched = sum(iou == 0 for iou, _ in report.ious)
    disagreeing = sorted((iou, name) for iou, name in report.ious if 0 < iou < MIN_IOU)
    lines = [
        f'{source}: the tight box of {len(disagreeing)} of {len(report.ious)} bitmaps has an IoU '
        f'under {MIN_IOU} with the box in Annotations, {unmatched} have none of their class there'
    ]
    if disagreeing:
        worst = ', '.join(f'{name} ({iou:.2f})' for iou, name in disagreeing[:5])
        lines.append(f'  the worst: {worst}')
    if disagreeing or unmatched:
        lines.append(
            '  bitmaps leave out the void border and what hides the object, and others drew them '
            'than the boxes; bbox is the tight box of the bitmap'
        )
    if report.left_out:
        lines.append(f'  {report.left_out} objects without a pixel or a class are left out')
    return lines
