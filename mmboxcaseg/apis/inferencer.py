"""Masks for the boxes of one image or many, used as mmdet's ``DetInferencer``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from itertools import compress, count, zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer
from msgspec import Raw
from tqdm import tqdm

from mmboxcaseg.archives import file_names, is_file, is_folder
from mmboxcaseg.coco.annotations import Annotation, Image, annotation_bboxes, annotations_by_image
from mmboxcaseg.coco.checks import check_bboxes, check_images, check_true_masks
from mmboxcaseg.coco.shards import SHARD_IMAGES
from mmboxcaseg.engine.config import box_pipeline
from mmboxcaseg.engine.device import check_device, default_device
from mmboxcaseg.engine.reading import reading_of
from mmboxcaseg.errors import InputError, check_count, check_share
from mmboxcaseg.fileio import check_inside, make_folder, write_bytes, write_json
from mmboxcaseg.formats import read_boxes
from mmboxcaseg.images import IMAGE_SUFFIXES, ImageReader
from mmboxcaseg.pretrained import or_shipped
from mmboxcaseg.proxy import BoxMask, decode_rle, read_rles
from mmboxcaseg.visualization.draw import draw_instances

from .inference import BoxCasegPredictor, as_bboxes, check_image, checked_bboxes, init_model
from .mask_stream import MaskStream, cpu_threads
from .proxy_generation import proxies_and_results, true_pixels

_ABSENT = object()


@dataclass
class _Picture:
    """An image with its boxes; once they are predicted, with its masks.

    Attributes:
        name: What its files are called.
        image: Its path or its pixels, (H, W, 3) uint8 BGR.
        annotations: Its boxes, and the crowds and boxes without an area of a file.
        bboxes: (N, 4) float64 xyxy, those that are objects.
        labels: (N,) int64.
        wanted: (N,) bool, which are to get a mask: not those that keep a true one.
        shape: Its (height, width); of an image that is not read yet, what a file says.
        masks: The annotations with ``segmentation``, ``quality`` and ``box_agreement``.
    """

    name: str
    image: Path | np.ndarray
    annotations: list[Annotation]
    bboxes: np.ndarray
    labels: np.ndarray
    wanted: np.ndarray
    shape: tuple[int, int] | None = None
    masks: list[dict] | None = None

    def pixels(self, reader: ImageReader) -> np.ndarray:
        is_read = isinstance(self.image, np.ndarray)
        return self.image if is_read else reader.read(self.image, self.shape)

    @property
    def objects(self) -> list[dict]:
        pairs = zip(self.annotations, self.masks, strict=True)
        return [content for annotation, content in pairs if annotation.is_object]

    def numbers(self, name: str) -> np.ndarray:
        return np.array([content.get(name, 0.0) for content in self.objects], dtype=np.float64)

    def arrays(self) -> np.ndarray:
        masks = np.zeros((len(self.bboxes), *self.shape), dtype=bool)
        for mask, content in zip(masks, self.objects, strict=True):
            mask[:] = decode_rle(content['segmentation'], self.shape)
        return masks


class BoxCasegInferencer:
    """Predict masks for the boxes of images; used as mmdet's ``DetInferencer``.

    Masks, quality and agreement are those that ``mmboxcaseg masks`` writes: of the same images in
    the same order they are equal to the last bit.

    Args:
        model: Config of a BoxCaseg, or its file; without model and weights this is the network that
            comes with the package.
        weights: Its checkpoint.
        device: Where the network runs; by default the GPU if there is one.
        tta: See :class:`BoxCasegPredictor`, as for the next three.
        amp: Whether the network runs in half precision.
        threshold: How masks are made of probabilities.
        slack: How far a mask may leave its box.
        workers: Threads that read images and make masks, beside the network.
        show_progress: Whether to show a progress bar.
        reader: How images are read, such as ``ImageReader(exif=True)``; by default as the config
            says.

    Raises:
        InputError: If one of model and weights is missing, or they cannot be used.

    Example:
        >>> inferencer = BoxCasegInferencer(device='cpu', show_progress=False)
        >>> result = inferencer(np.zeros((40, 60, 3), np.uint8), [[10, 5, 30, 35]])
        >>> sorted(result['predictions'][0])
        ['bboxes', 'box_agreement', 'labels', 'masks', 'scores']
        >>> inferencer('images', 'boxes.json', out_dir='masks')  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path | Config | None = None,
        weights: str | Path | None = None,
        device: str | None = None,
        *,
        tta: bool = False,
        amp: bool = False,
        threshold: float | str | None = None,
        slack: float | None = None,
        workers: int = 2,
        show_progress: bool = True,
        reader: ImageReader | None = None,
    ) -> None:
        device = device or default_device()
        check_device(device)
        self.model = init_model(*or_shipped(model, weights), device)
        self.cfg = self.model.cfg
        self.predictor = BoxCasegPredictor(
            self.model, tta=tta, threshold=threshold, amp=amp, slack=slack
        )
        self.show_progress = show_progress
        self.reader = reader or reading_of(box_pipeline(self.cfg, tta))
        self._stream = MaskStream(self.predictor, workers, cpu_threads(device))

    def __call__(
        self,
        inputs: Any,
        bboxes: Any = None,
        *,
        batch_size: int = 32,
        merge: bool = True,
        keep_masks: bool = True,
        trust_boxes: bool = False,
        return_as: str = 'dict',
        return_datasamples: bool = False,
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        pred_score_thr: float = 0.0,
        out_dir: str | Path = '',
        no_save_vis: bool = False,
        no_save_pred: bool = True,
        print_result: bool = False,
    ) -> dict[str, list]:
        """Predict.

        Args:
            inputs: The path of an image, an image (H, W, 3) uint8 BGR as ``cv2.imread`` gives it,
                many of both in a list or from a generator, or a folder, whose images are taken in
                the order of their names.
            bboxes: Boxes in pixels, xyxy: (N, 4) of one image; of many as many such arrays, or of a
                folder a dict of them by file name. Left out, ``inputs`` gives pairs of an image and
                its boxes. To a folder also the path of a file of boxes in any format that
                :func:`mmboxcaseg.formats.read_boxes` knows, such as COCO.
            batch_size: Boxes predicted at once, of however many images.
            merge: Whether a pixel belongs to one object alone; see
                :meth:`BoxCasegPredictor.predict`.
            keep_masks: Whether annotations of a file that have a true mask keep it.
            trust_boxes: Whether boxes of a file that look wrong are taken all the same; see
                :func:`mmboxcaseg.coco.checks.check_bboxes`.
            return_as: ``'dict'``, as ``DetInferencer`` gives it and ready for JSON: ``bboxes``,
                ``labels`` (places in the file's categories, 0 without a file), ``scores`` (how good
                each mask probably is: :func:`mmboxcaseg.proxy.expected_iou`), ``box_agreement`` and
                ``masks``, compressed RLEs; ``'array'``, the same as NumPy arrays, masks (N, H, W)
                bool; ``'coco'``, lists of COCO annotations as ``mmboxcaseg masks`` writes them;
                ``'supervision'``, ``supervision.Detections``; ``'datasample'``, ``DetDataSample``
                with ``pred_instances``.
            return_datasamples: mmdet's name for ``return_as='datasample'``.
            return_vis: Whether to return pictures.
            show: Whether to show each picture in a window.
            wait_time: Seconds for which it is shown; 0 until a key is pressed.
            pred_score_thr: Masks of a lower quality are not drawn.
            out_dir: Folder for pictures, in ``vis``, and predictions, in ``preds``.
            no_save_vis: Whether to leave the pictures out.
            no_save_pred: Whether to leave the predictions out.
            print_result: Whether to print the predictions.

        Returns:
            ``predictions``, one for each image, and ``visualization``, pictures (H, W, 3) uint8 RGB
            if they are asked for.

        Raises:
            InputError: If an image is missing or broken, there are not as many arrays of boxes as
                images, a box is not four finite numbers, is empty or lies outside its image, two
                images would be saved under one name, or a setting is none.
        """
        return_as = 'datasample' if return_datasamples else return_as
        if return_as not in _FORMS:
            raise InputError(f'return_as must be one of {", ".join(_FORMS)}, not {return_as!r}')
        check_count('batch_size', batch_size)
        check_share('pred_score_thr', pred_score_thr)
        self.predictor.batch_size = batch_size
        if isinstance(bboxes, str | Path):
            pictures = _read_file(inputs, bboxes, keep_masks, trust_boxes, self.reader)
        else:
            pictures = _read_inputs(inputs, bboxes)
        save_vis = bool(out_dir) and not no_save_vis
        save_pred = bool(out_dir) and not no_save_pred
        names = set()
        result = dict(predictions=[], visualization=[])
        for picture in self._predict(pictures, merge, keep_masks):
            result['predictions'].append(_FORMS[return_as](picture))
            if (save_vis or save_pred) and picture.name in names:
                raise InputError(f'{out_dir}: two images are called {picture.name}, rename one')
            names.add(picture.name)
            if save_pred:
                path = Path(out_dir, 'preds', picture.name).with_suffix('.json')
                make_folder(path.parent)
                write_json(_as_dict(picture), path)
            if not (save_vis or show or return_vis):
                continue
            shown = picture.numbers('quality') >= pred_score_thr
            pixels = picture.pixels(self.reader)
            drawn = draw_instances(pixels, picture.bboxes[shown], picture.arrays()[shown])
            if save_vis:
                path = Path(out_dir, 'vis', picture.name)
                make_folder(path.parent)
                write_bytes(cv2.imencode(path.suffix, drawn)[1].tobytes(), path)
            rgb = np.ascontiguousarray(drawn[..., ::-1])
            if show:
                Visualizer().show(rgb, win_name=picture.name, wait_time=wait_time)
            if return_vis:
                result['visualization'].append(rgb)
        if print_result:
            print(result['predictions'])
        return result

    def _predict(
        self, pictures: Iterable[_Picture], merge: bool, keep_masks: bool
    ) -> Iterator[_Picture]:
        """Give each picture its masks, in the pictures' order."""
        settings = dict(merge=merge, mask_bbox=self.predictor.slack > 0, keep_masks=keep_masks)

        def load(picture: _Picture) -> tuple[np.ndarray, ...]:
            pixels = picture.pixels(self.reader)
            picture.shape = pixels.shape[:2]
            try:
                bboxes = checked_bboxes(picture.bboxes, picture.shape)
            except InputError as error:
                raise InputError(f'{picture.name}: {error}') from None
            wanted = bboxes[picture.wanted]
            if not (keep_masks and merge and self.predictor.exclusive):
                return pixels, wanted
            return pixels, wanted, true_pixels(picture.annotations, picture.shape)

        def finish(picture: _Picture, rated: list[tuple[BoxMask, float]]) -> _Picture:
            height, width = picture.shape
            image = Image(id=0, file_name=picture.name, width=width, height=height)
            objects = [annotation for annotation in picture.annotations if annotation.is_object]
            wanted = list(compress(objects, picture.wanted))
            picture.masks, _ = proxies_and_results(
                image, picture.annotations, wanted, rated, **settings
            )
            return picture

        total = len(pictures) if isinstance(pictures, Sized) else None
        tasks = ((index // SHARD_IMAGES, picture) for index, picture in enumerate(pictures))
        found = self._stream.run(tasks, load, finish, exclusive=merge)
        return tqdm(found, 'masks', total, unit='image', disable=not self.show_progress)


def _read_file(
    folder: Any, boxes: str | Path, keep_masks: bool, trust_boxes: bool, reader: ImageReader
) -> list[_Picture]:
    """The images of a file of boxes, in its order."""
    if not isinstance(folder, str | Path) or not is_folder(folder):
        raise InputError(f'boxes are those of the file {boxes}: give the folder of its images')
    coco = read_boxes(boxes, folder, reader=reader).coco
    check_bboxes(coco, strict=not trust_boxes, trust=trust_boxes)
    check_images(coco, folder, reader)
    if keep_masks:
        check_true_masks(coco)
    places = {category.id: place for place, category in enumerate(coco.categories)}
    groups = annotations_by_image(coco)
    pictures = []
    for image in coco.images:
        objects = [annotation for annotation in groups[image.id] if annotation.is_object]
        labels = np.array([places[a.category_id] for a in objects], dtype=np.int64)
        kept = [keep_masks and a.true_mask is not None for a in objects]
        pictures.append(
            _Picture(
                image.file_name,
                Path(folder, image.file_name),
                groups[image.id],
                annotation_bboxes(objects),
                labels,
                ~np.array(kept, dtype=bool),
                image.shape,
            )
        )
    return pictures


def _read_inputs(inputs: Any, bboxes: Any) -> Iterable[_Picture]:
    """Images with boxes of theirs; of a generator, one after the other."""
    if isinstance(inputs, str | Path) and is_folder(inputs):
        folder = Path(inputs)
        names = sorted(file_names(folder))
        inputs = [folder / name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
        if not inputs:
            raise InputError(f'{folder} holds no image')
        if isinstance(bboxes, Mapping):
            unknown = set(bboxes) - {path.name for path in inputs}
            if unknown:
                raise InputError(f'{folder} holds no image {min(unknown)}, which has boxes')
            inputs = [path for path in inputs if path.name in bboxes]
            bboxes = [bboxes[path.name] for path in inputs]
        for path in inputs:
            check_inside(folder, path.name, f'image {path}')
    elif isinstance(inputs, str | Path | np.ndarray):
        inputs, bboxes = [inputs], None if bboxes is None else [bboxes]
    elif not isinstance(inputs, Iterable):
        raise InputError(
            f'inputs must be an image, a folder or many images, not a {type(inputs).__name__}'
        )
    ids = count(1)
    numbered = enumerate(_pairs(inputs, bboxes))
    pictures = (_picture(number, image, boxes, ids) for number, (image, boxes) in numbered)
    # All that is there already is looked at before the network runs.
    return list(pictures) if isinstance(inputs, Sized) else pictures


def _pairs(inputs: Iterable, bboxes: Iterable | None) -> Iterator[tuple[Any, Any]]:
    if bboxes is None:
        for pair in inputs:
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise InputError('without bboxes, inputs must be pairs of an image and its boxes')
            yield pair
        return
    counts = [len(values) if isinstance(values, Sized) else None for values in (inputs, bboxes)]
    if None not in counts and counts[0] != counts[1]:
        raise InputError(
            f'there are {counts[0]} images and {counts[1]} arrays of boxes: give each image its own'
        )
    for number, pair in enumerate(zip_longest(inputs, bboxes, fillvalue=_ABSENT)):
        if any(one is _ABSENT for one in pair):
            missing = 'no boxes' if pair[1] is _ABSENT else 'boxes but no image'
            raise InputError(f'image {number} has {missing}: give each image its own array')
        yield pair


def _picture(number: int, image: Any, bboxes: Any, ids: Iterator[int]) -> _Picture:
    if isinstance(image, str | Path):
        image = Path(image)
        name = image.name
        if not is_file(image):
            raise InputError(f'image {image} does not exist')
    else:
        name = f'{number:08d}.jpg'
    try:
        if not isinstance(image, Path):
            check_image(image)
        bboxes = as_bboxes(bboxes)
    except InputError as error:
        raise InputError(f'image {number}: {error}') from None
    annotations = []
    for x1, y1, x2, y2 in bboxes.tolist():
        box = [x1, y1, x2 - x1, y2 - y1]
        fields = dict(id=next(ids), image_id=number + 1, category_id=1, bbox=box)
        annotations.append(Annotation(**fields, text=Raw(json.dumps(fields).encode())))
    labels, wanted = np.zeros(len(bboxes), dtype=np.int64), np.ones(len(bboxes), dtype=bool)
    return _Picture(name, image, annotations, bboxes, labels, wanted)


def _without_masks(picture: _Picture) -> dict[str, np.ndarray]:
    return dict(
        bboxes=picture.bboxes,
        labels=picture.labels,
        scores=picture.numbers('quality'),
        box_agreement=picture.numbers('box_agreement'),
    )


def _as_arrays(picture: _Picture) -> dict[str, np.ndarray]:
    return _without_masks(picture) | dict(masks=picture.arrays())


def _as_dict(picture: _Picture) -> dict[str, list]:
    rles = read_rles([content['segmentation'] for content in picture.objects], picture.shape)
    fields = _without_masks(picture)
    return {name: values.tolist() for name, values in fields.items()} | dict(masks=rles)


def _as_coco(picture: _Picture) -> list[dict]:
    return picture.masks


def _as_detections(picture: _Picture) -> Any:
    try:
        from supervision import Detections
    except ImportError:
        raise InputError(
            "return_as='supervision' needs the package supervision: pip install supervision"
        ) from None
    fields = _as_arrays(picture)
    return Detections(
        xyxy=fields['bboxes'],
        mask=fields['masks'],
        confidence=fields['scores'],
        class_id=fields['labels'],
        data=dict(box_agreement=fields['box_agreement']),
    )


def _as_datasample(picture: _Picture) -> DetDataSample:
    sample = DetDataSample(metainfo=dict(ori_shape=picture.shape, img_shape=picture.shape))
    if isinstance(picture.image, Path):
        sample.set_metainfo(dict(img_path=str(picture.image)))
    fields = {name: torch.from_numpy(values) for name, values in _as_arrays(picture).items()}
    numbers = {name: fields[name].float() for name in ('bboxes', 'scores', 'box_agreement')}
    sample.pred_instances = InstanceData(**(fields | numbers))
    return sample


_FORMS: dict[str, Callable[[_Picture], Any]] = {
    'dict': _as_dict,
    'array': _as_arrays,
    'coco': _as_coco,
    'supervision': _as_detections,
    'datasample': _as_datasample,
}
