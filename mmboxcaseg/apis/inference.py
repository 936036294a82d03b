"""Masks for boxes: load a trained BoxCaseg, set an image, ask for many boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm

from mmboxcaseg.datasets.transforms import crop_patches
from mmboxcaseg.datasets.transforms.patches import patch_size
from mmboxcaseg.engine.checkpoint import load_model_weights
from mmboxcaseg.engine.config import build_model, load_config
from mmboxcaseg.errors import InputError, check_count, check_share
from mmboxcaseg.models import BoxCaseg
from mmboxcaseg.proxy import paste_probability


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


class BoxCasegPredictor:
    """Predict masks for the boxes of an image.

    Args:
        model: The network.
        size: Height and width of the patches, or one number for both. By default that of the
            model config's ``BoxPatch``, or else 320x320 as in the paper.
        batch_size: Patches that go through the network at once.
        threshold: A pixel is object where its normalised probability is above this.

    Raises:
        InputError: If a number is out of its range.
    """

    def __init__(
        self,
        model: BoxCaseg,
        size: int | tuple[int, int] | None = None,
        batch_size: int = 32,
        threshold: float = 0.5,
    ) -> None:
        check_count('batch_size', batch_size)
        check_share('threshold', threshold)
        if size is None:
            size = _test_patch_size(getattr(model, 'cfg', None))
        self.model = model
        self.size = patch_size(size)
        self.batch_size = batch_size
        self.threshold = threshold
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
        return self.predict_patches(self.crop_patches(self._current_image(), bboxes))

    def crop_patches(self, image: np.ndarray, bboxes: np.ndarray) -> np.ndarray:
        """Crop the patches that :meth:`predict_patches` takes, from any image.

        Args:
            image: ``(H, W, 3)`` uint8, BGR.
            bboxes: ``(N, 4)``, xyxy, image pixels.

        Returns:
            ``(N, h, w, 3)`` uint8.

        Raises:
            InputError: If a box is not four finite numbers, is empty or lies outside the image.
        """
        return crop_patches(image, _checked_bboxes(bboxes, image.shape[:2]), self.size)

    @torch.inference_mode()
    def predict_patches(self, patches: np.ndarray) -> np.ndarray:
        """Predict probability maps of patches, which may come from several images.

        Args:
            patches: ``(N, h, w, 3)`` uint8, BGR.

        Returns:
            ``(N, h, w)`` float32.
        """
        maps = np.zeros(patches.shape[:3], dtype=np.float32)
        name = self.model.output_map
        for start in range(0, len(patches), self.batch_size):
            batch = patches[start : start + self.batch_size]
            inputs = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy())
            # At once, not patch by patch as the preprocessor would.
            inputs = list(inputs.to(self.model.data_preprocessor.device))
            inputs = self.model.data_preprocessor(dict(inputs=inputs))['inputs']
            probs = self.model.probability_maps(inputs, [name])[name]
            maps[start : start + len(batch)] = probs[:, 0].float().cpu().numpy()
        return maps

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


def _test_patch_size(config: Config | None) -> int | tuple[int, int]:
    loader = (config or {}).get('test_dataloader') or {}
    for transform in loader.get('dataset', {}).get('pipeline', ()):
        if transform['type'] == 'mmboxcaseg.BoxPatch':
            return transform.get('size', 320)
    return 320
