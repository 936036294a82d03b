"""Masks for boxes: load a trained BoxCaseg, set an image, ask for many boxes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm

from mmboxcaseg.datasets.transforms import crop_patches
from mmboxcaseg.datasets.transforms.patches import patch_size
from mmboxcaseg.engine.checkpoint import load_model_weights
from mmboxcaseg.engine.config import build_model, load_config
from mmboxcaseg.errors import InputError, check_count
from mmboxcaseg.models import BoxCaseg
from mmboxcaseg.models.segmentors import FLIP_AXES
from mmboxcaseg.proxy import check_threshold, paste_probability


def init_model(
    config: str | Path | Config, checkpoint: str | Path | None = None, device: str = 'cpu'
) -> BoxCaseg:
    """Build the network of a config and load a checkpoint.

    Args:
        config: Config file of a BoxCaseg, or the loaded config.
        checkpoint: Checkpoint file; without one the weights are random.
        device: Where the network runs.

    Returns:
        The network in eval mode.

    Raises:
        InputError: If a file is missing or broken, the config is of another model, or the
            checkpoint is of another architecture.
    """
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


@dataclass(frozen=True)
class View:
    """How the network looks at a box.

    Attributes:
        margin: See :class:`mmboxcaseg.datasets.transforms.BoxPatch`.
        flip: Direction that the patch is flipped in, ``'horizontal'``, ``'vertical'`` or
            ``'diagonal'``, or None.
    """

    margin: float = 0.0
    flip: str | None = None


class BoxCasegPredictor:
    """Predict masks for the boxes of an image.

    How boxes are cropped is read from the model's config: from its test pipeline or, for
    test-time augmentation, from its ``tta_pipeline``. The maps are those of ``tools/test.py``. A
    model with ``neighbours`` sees where the other boxes are that it is asked for in the same call.

    Args:
        model: The network.
        size: Height and width of the patches, or one number for both. By default that of the
            config's ``BoxPatch``, or else 320x320 as in the paper.
        batch_size: Boxes that go through the network at once.
        threshold: See :func:`mmboxcaseg.proxy.threshold_probability`. By default that of the
            model's ``test_cfg``.
        tta: Whether maps are averaged over all views of the config's ``tta_pipeline``.
        amp: Whether the network runs in half precision where that does no harm: bfloat16 on a
            CPU, float16 on a GPU.

    Attributes:
        views: How the network looks at each box.

    Raises:
        InputError: If a number is out of its range, or the config has no ``tta_pipeline`` to look
            through, or one of which not all is known here.
    """

    def __init__(
        self,
        model: BoxCaseg,
        size: int | tuple[int, int] | None = None,
        batch_size: int = 32,
        threshold: float | str | None = None,
        tta: bool = False,
        amp: bool = False,
    ) -> None:
        check_count('batch_size', batch_size)
        threshold = getattr(model, 'threshold', 0.5) if threshold is None else threshold
        check_threshold('threshold', threshold)
        config_size, self.views = read_views(getattr(model, 'cfg', None), tta)
        self.model = model
        self.size = patch_size(config_size if size is None else size)
        self.batch_size = batch_size
        self.threshold = threshold
        self.amp = amp
        self.neighbours = getattr(model, 'neighbours', False)
        self._image: np.ndarray | None = None

    def set_image(self, image: np.ndarray) -> None:
        """Choose the image that boxes are asked for.

        Args:
            image: ``(H, W, 3)`` uint8, BGR, as ``cv2.imread`` gives it.

        Raises:
            InputError: If it is not of this form.
        """
        if not isinstance(image, np.ndarray):
            raise InputError(
                f'an image must be an array, not a {type(image).__name__}: cv2.imread gives None '
                'for a file that is missing or no image'
            )
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(f'an image must be (H, W, 3) uint8, not {image.shape} {image.dtype}')
        self._image = image

    def predict(self, bboxes: np.ndarray) -> np.ndarray:
        """Predict the masks of boxes.

        Args:
            bboxes: ``(N, 4)``, xyxy, pixels of the image set before.

        Returns:
            ``(N, H, W)`` bool.

        Raises:
            InputError: If no image is set, or a box is not four finite numbers, is empty or lies
                outside the image.
        """
        shape = self._current_image().shape[:2]
        bboxes = _checked_bboxes(bboxes, shape)
        masks = np.zeros((len(bboxes), *shape), dtype=bool)
        for mask, prob, bbox in zip(masks, self.predict_maps(bboxes), bboxes, strict=True):
            mask[:] = paste_probability(prob, bbox, shape, self.threshold)
        return masks

    def predict_maps(self, bboxes: np.ndarray) -> np.ndarray:
        """Predict the probability maps of boxes.

        Args:
            bboxes: ``(N, 4)``, xyxy, pixels of the image set before.

        Returns:
            ``(N, h, w)`` float32, of the patches' size.

        Raises:
            InputError: As in :meth:`predict`.
        """
        return self.predict_patches(*self.crop_patches(self._current_image(), bboxes))

    def crop_patches(self, image: np.ndarray, bboxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Crop the patches that :meth:`predict_patches` takes, from any image.

        Args:
            image: ``(H, W, 3)`` uint8, BGR.
            bboxes: ``(N, 4)``, xyxy, image pixels.

        Returns:
            ``(N, V, h, w, 3)`` uint8 patches, one for each of the V views, with a fourth channel
            where the model has ``neighbours``, and ``(N, V, 4)``
            float32 boxes, xyxy, in the pixels of their patches.

        Raises:
            InputError: If a box is not four finite numbers, is empty or lies outside the image.
        """
        bboxes = _checked_bboxes(bboxes, image.shape[:2])
        crops = {
            margin: crop_patches(image, bboxes, self.size, margin, self.neighbours)
            for margin in {view.margin for view in self.views}
        }
        views = [_flipped(*crops[view.margin], view.flip) for view in self.views]
        patches, inner = zip(*views, strict=True)
        return np.stack(patches, axis=1), np.stack(inner, axis=1)

    @torch.inference_mode()
    def predict_patches(self, patches: np.ndarray, bboxes: np.ndarray) -> np.ndarray:
        """Predict probability maps of boxes, which may come from several images.

        Args:
            patches: ``(N, V, h, w, C)`` uint8, of :meth:`crop_patches`.
            bboxes: ``(N, V, 4)``, xyxy, the boxes in the patches.

        Returns:
            ``(N, h, w)`` float32 maps of the boxes, each the mean over its views.
        """
        maps = np.zeros((len(patches), *patches.shape[2:4]), dtype=np.float32)
        for start in range(0, len(patches), self.batch_size):
            batch = slice(start, start + self.batch_size)
            for index, view in enumerate(self.views):
                probs = self._predict_view(patches[batch, index], bboxes[batch, index])
                maps[batch] += np.flip(probs, FLIP_AXES[view.flip]) if view.flip else probs
        return maps / np.float32(len(self.views))

    def _predict_view(self, patches: np.ndarray, bboxes: np.ndarray) -> np.ndarray:
        """Maps (N, h, w) float32 of patches (N, h, w, C) uint8 and boxes (N, 4) in them."""
        device = torch.device(self.model.data_preprocessor.device)
        name = self.model.output_map
        inputs = torch.from_numpy(patches.transpose(0, 3, 1, 2).copy())
        # At once, not patch by patch as the preprocessor would.
        inputs = self.model.data_preprocessor(dict(inputs=list(inputs.to(device))))['inputs']
        bboxes = torch.from_numpy(np.ascontiguousarray(bboxes)).to(device)
        with torch.autocast(device.type, enabled=self.amp):
            probs = self.model.probability_maps(inputs, [name], bboxes)[name]
        return probs[:, 0].float().cpu().numpy()

    def _current_image(self) -> np.ndarray:
        if self._image is None:
            raise InputError('no image is set: call set_image before asking for boxes')
        return self._image


def _checked_bboxes(bboxes: np.ndarray, img_shape: tuple[int, int]) -> np.ndarray:
    """(N, 4) float64; a wrong box would get the mask of the pixel nearest to it."""
    try:
        bboxes = np.asarray(bboxes, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError('bboxes must be numbers, (N, 4) xyxy') from None
    if bboxes.size == 0:
        return bboxes.reshape(0, 4)
    if bboxes.ndim > 2 or bboxes.shape[-1:] != (4,):
        raise InputError(f'bboxes must be (N, 4) xyxy, not {bboxes.shape}')
    bboxes = bboxes.reshape(-1, 4)
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


def read_views(
    config: Config | None, tta: bool = False
) -> tuple[int | tuple[int, int], tuple[View, ...]]:
    """Read from a config how boxes are cropped.

    Args:
        config: Config of a BoxCaseg; without one, the paper's settings.
        tta: Whether to read its ``tta_pipeline``, not its test pipeline.

    Returns:
        Size of the patches, as the config gives it, and the views.

    Raises:
        InputError: If there is no ``tta_pipeline``, or something in it is not known here.
    """
    config = config or {}
    if not tta:
        loader = config.get('test_dataloader') or {}
        size, view = _read_view(loader.get('dataset', {}).get('pipeline', ()))
        return size or 320, (view,)
    if not config.get('tta_pipeline'):
        raise InputError(
            'test-time augmentation needs a tta_pipeline in the config: give it one, with '
            'TestTimeAug over BoxPatch and RandomFlip'
        )
    pairs = [_read_view(steps, known_only=True) for steps in product(*_choices(config))]
    sizes, views = zip(*pairs, strict=True)
    if len(set(map(str, sizes))) > 1 or None in sizes:
        raise InputError(
            'every view of tta_pipeline must crop its box by one mmboxcaseg.BoxPatch, all of them '
            f'of one size, not {sorted(set(map(str, sizes)))}'
        )
    return sizes[0], views


def _choices(config: Config) -> Iterator[Sequence[dict]]:
    """What each step of a tta_pipeline chooses from; its views are all combinations."""
    for transform in config['tta_pipeline']:
        if _name(transform) == 'TestTimeAug':
            yield from transform['transforms']
        else:
            yield [transform]


def _read_view(
    transforms: Iterable[dict], known_only: bool = False
) -> tuple[int | tuple[int, int] | None, View]:
    size, margin, flip = None, 0.0, None
    for transform in transforms:
        name = _name(transform)
        if name == 'BoxPatch':
            size, margin = transform.get('size', 320), transform.get('margin', 0.0)
        elif known_only and name == 'RandomFlip':
            flip = _read_flip(transform)
        elif known_only and name not in ('LoadPatchImage', 'NeighbourChannel', 'PackPatchInputs'):
            raise InputError(
                f'tta_pipeline has {transform["type"]}, which masks cannot be predicted through '
                'here: leave it out, views may differ in BoxPatch and RandomFlip'
            )
    return size, View(margin, flip)


def _read_flip(transform: dict) -> str | None:
    prob, direction = transform.get('prob'), transform.get('direction', 'horizontal')
    if prob not in (0, 1) or not isinstance(direction, str) or direction not in FLIP_AXES:
        raise InputError(
            f'RandomFlip in tta_pipeline must have prob 0 or 1 and one direction, not {prob!r} '
            f'and {direction!r}'
        )
    return direction if prob else None


def _name(transform: dict) -> str:
    return str(transform['type']).rsplit('.', 1)[-1]


def _flipped(
    patches: np.ndarray, bboxes: np.ndarray, flip: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Flip patches (N, h, w, C) and the boxes (N, 4) in them."""
    if flip is None:
        return patches, bboxes
    height, width = patches.shape[1:3]
    for axis in FLIP_AXES[flip]:
        patches = np.flip(patches, axis - 1)
        # Of xyxy: x is turned round by a horizontal flip, y by a vertical one.
        low, side = (0, width) if axis == -1 else (1, height)
        bboxes = bboxes.copy()
        bboxes[:, [low, low + 2]] = side - bboxes[:, [low + 2, low]]
    return patches, bboxes
