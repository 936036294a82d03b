"""Masks for boxes: load a trained BoxCaseg, set an image, ask for many boxes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import revert_sync_batchnorm

from mmboxcaseg.engine.checkpoint import load_model_weights
from mmboxcaseg.engine.checks import check_slack
from mmboxcaseg.engine.config import box_pipeline, build_model, config_errors, load_config
from mmboxcaseg.errors import InputError, check_count
from mmboxcaseg.models import BoxCaseg
from mmboxcaseg.pretrained import or_shipped
from mmboxcaseg.proxy import (
    UNCALIBRATED,
    BoxMask,
    check_map,
    check_threshold,
    exclusive_maps,
    expected_iou,
    mask_of,
    merge_masks,
)
from mmboxcaseg.registry import MODELS

from .mask_stream import MaskStream, cpu_threads


def init_model(
    config: str | Path | Config | None = None,
    checkpoint: str | Path | None = None,
    device: str = 'cpu',
) -> BoxCaseg:
    """Build the network of a config and load a checkpoint.

    Args:
        config: Config file of a BoxCaseg, or the loaded config; without config and checkpoint this
            is the trained network that comes with the package.
        checkpoint: Checkpoint file; to a config without one the weights are random.
        device: Where the network runs.

    Returns:
        The network in eval mode.

    Raises:
        InputError: If a file is missing or broken, the config is of another model, or the
            checkpoint is of another architecture.

    Example:
        >>> import mmboxcaseg
        >>> model = init_model(mmboxcaseg.config_path('demo/boxcaseg_toy.py'))
        >>> model.output_map
        'fused'
    """
    if config is None:
        config, checkpoint = or_shipped(config, checkpoint)
    if isinstance(config, str | Path):
        config = load_config(config)
    if not isinstance(config, Config):
        raise InputError(
            f'config must be a config file or a loaded Config, not a {type(config).__name__}'
        )
    if config.get('model', {}).get('type') != 'mmboxcaseg.BoxCaseg':
        raise InputError(
            f'{config.filename or "this"} is not the config of a BoxCaseg: its model is '
            f'{config.get("model", {}).get("type")!r}'
        )
    model = revert_sync_batchnorm(build_model(config))
    if checkpoint is not None:
        load_model_weights(model, checkpoint)
    model.cfg = config
    return model.to(device).eval()


class BoxCasegPredictor:
    """Predict masks for the boxes of an image.

    Boxes go through the test pipeline of the model's config or, for test-time augmentation, through
    its ``tta_pipeline``, and through ``model.test_step``, so that masks are those of
    ``tools/test.py`` but for rounding: the predictor has a copy of the network, as it is when the
    predictor is made, with its norms folded (:meth:`mmboxcaseg.BoxCaseg.folded`). A network that is
    told the other boxes of the image is told those that it is asked for in the same call.

    Args:
        model: The network, of :func:`init_model`.
        tta: Whether maps are averaged over all views of the config's ``tta_pipeline``.
        batch_size: Boxes that go through the network at once.
        threshold: See :func:`mmboxcaseg.proxy.mask_of`. By default that of the model's
            ``test_cfg``.
        slack: How far a mask may leave its box, so that boxes may be drawn loosely; see
            :func:`mmboxcaseg.proxy.mask_windows`. By default that of the model's ``test_cfg``.
        amp: Whether the network runs in half precision where that does no harm: bfloat16 on a
            CPU, float16 on a GPU.

    Raises:
        InputError: If a number is out of its range, or the config has no such pipeline or one that
            cannot be built or shows less around a box than the slack.

    Example:
        >>> import mmboxcaseg
        >>> model = init_model(mmboxcaseg.config_path('demo/boxcaseg_toy.py'))
        >>> predictor = BoxCasegPredictor(model)
        >>> predictor.set_image(np.zeros((40, 60, 3), np.uint8))
        >>> masks, quality = predictor.predict([[10, 5, 30, 35], [20, 5, 60, 40]])
        >>> masks.shape, masks.dtype, quality.shape
        ((2, 40, 60), dtype('bool'), (2,))

        The masks' own tight boxes, such as to correct loose ones by:

        >>> mmboxcaseg.proxy.tight_bboxes(masks).shape
        (2, 4)
    """

    def __init__(
        self,
        model: BoxCaseg,
        tta: bool = False,
        batch_size: int = 32,
        threshold: float | str | None = None,
        amp: bool = False,
        slack: float | None = None,
    ) -> None:
        check_count('batch_size', batch_size)
        if threshold is not None:
            check_threshold('threshold', threshold)
        if getattr(model, 'cfg', None) is None:
            raise InputError('the model has no config to take its pipeline from: use init_model')
        self.slack = model.slack if slack is None else slack
        pipeline = box_pipeline(model.cfg, tta)
        check_slack(model.cfg, pipeline, self.slack)
        with config_errors(model.cfg):
            self._pipeline = Compose(pipeline)
        # Which map is wanted, and what makes a mask of it, is not the business of whoever else has
        # the model.
        model = model.folded()
        self.output_map = model.output_map
        model.maps = (model.output_map,)
        if threshold is not None:
            model.threshold = threshold
        model.slack = self.slack
        self.exclusive = model.exclusive
        self.model = MODELS.build(dict(model.cfg.tta_model, module=model)) if tta else model
        self.batch_size = batch_size
        self.amp = amp
        self._image: np.ndarray | None = None

    def set_image(self, image: np.ndarray) -> None:
        """Choose the image that boxes are asked for.

        Args:
            image: (H, W, 3) uint8, BGR, as ``cv2.imread`` gives it.

        Raises:
            InputError: If it is not of this form.
        """
        check_image(image)
        self._image = image

    def predict(self, bboxes: np.ndarray, merge: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Predict the masks of boxes.

        Args:
            bboxes: (N, 4), xyxy, pixels of the image set before.
            merge: Whether a pixel belongs to one object alone, as in what ``mmboxcaseg generate``
                writes: with ``exclusive`` in the network's ``test_cfg`` the boxes share out the
                image's pixels, and what several masks still claim goes to the object with the
                smallest box. :func:`mmboxcaseg.proxy.box_agreement` then gives the file's
                ``box_agreement`` too.

        Returns:
            (N, H, W) bool masks and (N,) float64 in [0, 1], how good each probably is: see
            :func:`mmboxcaseg.proxy.expected_iou`. It is that of the mask before overlaps go to
            the smallest box, and 0 if nothing is left of it.

        Raises:
            InputError: If no image is set, or a box is not four finite numbers, is empty or lies
                outside the image.
        """
        if self._image is None:
            raise InputError('no image is set: call set_image before asking for boxes')
        image, bboxes = self._image, checked_bboxes(bboxes, self._image.shape[:2])
        threads = cpu_threads(next(self.model.parameters()).device)
        (rated,) = MaskStream(self, threads=threads).run(
            [(0, image)],
            load=lambda image: (image, bboxes),
            finish=lambda _, rated: rated,
            exclusive=merge,
        )
        masks = np.zeros((len(bboxes), *image.shape[:2]), dtype=bool)
        for mask, ((window, (x, y), _), _) in zip(masks, rated, strict=True):
            mask[y : y + len(window), x : x + window.shape[1]] = window
        quality = np.array([quality for _, quality in rated], dtype=np.float64)
        if not merge:
            return masks, quality
        masks = merge_masks(masks, bboxes)
        # Smaller objects may take all pixels of a mask that was rated.
        return masks, np.where(masks.any(axis=(1, 2)), quality, 0.0)

    def pack(self, image: np.ndarray, bboxes: np.ndarray) -> Iterator[dict]:
        """Run the pipeline on one after the other of an image's boxes.

        Args:
            image: (H, W, 3) uint8, BGR.
            bboxes: (N, 4), xyxy, image pixels.

        Yields:
            For each box what the pipeline gives: ``inputs`` and ``data_samples``, with ``tta``
            lists of as many as there are views.

        Raises:
            InputError: If a box is not four finite numbers, is empty or lies outside the image, or
                the pipeline does not pack.
        """
        bboxes = checked_bboxes(bboxes, image.shape[:2])
        # As far as they lie in the image, like the box itself.
        clipped = np.clip(bboxes, 0, np.tile(image.shape[1::-1], 2))
        indices = np.arange(len(bboxes))
        for index, bbox in enumerate(bboxes):
            others = clipped[indices != index]
            try:
                packed = self._pipeline(dict(img=image, bbox=bbox, other_bboxes=others))
            except KeyError as error:
                raise InputError(
                    f'the pipeline that boxes are cropped by asks for {error}, which is not known '
                    'of a box in an image: load with mmboxcaseg.LoadPatchImage'
                ) from error
            if not packed or not {'inputs', 'data_samples'} <= packed.keys():
                raise InputError(
                    'the pipeline that boxes are cropped by must end with '
                    'mmboxcaseg.PackPatchInputs, in a tta_pipeline within TestTimeAug'
                )
            yield packed

    @torch.inference_mode()
    def predict_packed(self, packed: Sequence[dict]) -> list[DetDataSample]:
        """Predict the maps of boxes, which may come from several images.

        Args:
            packed: Of :meth:`pack`.

        Returns:
            A data sample a box, with the map in ``pred_maps``, on the CPU; see :meth:`masks_of`.
        """
        samples = []
        device = next(self.model.parameters()).device.type
        for start in range(0, len(packed), self.batch_size):
            batch = pseudo_collate(packed[start : start + self.batch_size])
            with torch.autocast(device, enabled=self.amp):
                samples += self.model.test_step(batch)
        if device != 'cpu':  # here, so that who asks for a map does not wait for the next batch's
            for sample in samples:
                sample.pred_maps = sample.pred_maps.cpu()
        return samples

    def masks_of(
        self,
        samples: Iterable[DetDataSample],
        exclusive: bool = False,
        taken: np.ndarray | None = None,
    ) -> list[tuple[BoxMask, float]]:
        """Turn the maps of an image's boxes into masks.

        Args:
            samples: Of :meth:`predict_packed`, of one image.
            exclusive: Whether these boxes share out its pixels, if the network's ``test_cfg`` says
                so. Their maps are then held at once.
            taken: Of :func:`mmboxcaseg.proxy.exclusive_maps`, where they do.

        Returns:
            For each box its mask, and how good it probably is.
        """
        if not (exclusive and self.exclusive):
            return [self._rated(sample, self._prob(sample)) for sample in samples]
        samples = list(samples)
        if not samples:
            return []
        probs = list(map(self._prob, samples))
        bboxes = [sample.bbox for sample in samples]
        for prob, bbox in zip(probs, bboxes, strict=True):
            check_map(prob, bbox)  # Here, for what is no number would go over to the other boxes.
        probs = exclusive_maps(probs, bboxes, samples[0].ori_shape, self.slack, taken)
        return list(map(self._rated, samples, probs))

    def _prob(self, sample: DetDataSample) -> np.ndarray:
        return sample.pred_maps.get(self.output_map)[0].numpy()

    def _rated(self, sample: DetDataSample, prob: np.ndarray) -> tuple[BoxMask, float]:
        mask = mask_of(prob, sample.bbox, sample.ori_shape, sample.threshold, self.slack)
        calibration = sample.get('calibration', UNCALIBRATED)
        return mask, expected_iou(prob, mask.threshold, calibration)


def check_image(image: np.ndarray) -> None:
    """Check that an image is (H, W, 3) uint8.

    Raises:
        InputError: If it is not.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(
            f'an image must be an array, not a {type(image).__name__}: cv2.imread gives None '
            'for a file that is missing or no image'
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise InputError(f'an image must be (H, W, 3) uint8, not {image.shape} {image.dtype}')


def as_bboxes(bboxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) float64 of anything like an array; one box may stand alone.

    Raises:
        InputError: If they are of another form.
    """
    try:
        bboxes = np.asarray(bboxes, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError('bboxes must be numbers, (N, 4) xyxy') from None
    if bboxes.size == 0:
        return bboxes.reshape(0, 4)
    if bboxes.ndim > 2 or bboxes.shape[-1:] != (4,):
        raise InputError(f'bboxes must be (N, 4) xyxy, not {bboxes.shape}')
    return bboxes.reshape(-1, 4)


def checked_bboxes(bboxes: np.ndarray, img_shape: tuple[int, int]) -> np.ndarray:
    """Boxes as :func:`as_bboxes` gives them; a wrong one would get the mask of the nearest pixel.

    Args:
        bboxes: (N, 4) xyxy.
        img_shape: (height, width) of their image.

    Raises:
        InputError: If one is not four finite numbers, is empty or lies outside the image.
    """
    bboxes = as_bboxes(bboxes)
    height, width = img_shape
    x1, y1, x2, y2 = bboxes.T
    faults = {
        'is not finite': ~np.isfinite(bboxes).all(axis=1),
        'is empty: xyxy needs x1 < x2 and y1 < y2': (x1 >= x2) | (y1 >= y2),
        f'lies outside the image ({width}x{height})': (
            (x1 >= width) | (y1 >= height) | (x2 <= 0) | (y2 <= 0)
        ),
    }
    for fault, which in faults.items():
        if which.any():
            index = int(which.argmax())
            raise InputError(f'box {index}, {bboxes[index].tolist()}, {fault}')
    return bboxes
