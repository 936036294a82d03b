"""The network from the pixels of patches to what makes masks, as a graph can hold it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmboxcaseg.proxy.quality import BEST, LEAST, LEVELS, TIGHT, TIGHTNESS

from .box_caseg import BoxCaseg


class BoxCasegGraph(nn.Module):
    """What other programs run without this package: normalisation, prompts, network, quality.

    All that a mask takes but to crop the patch before and to resize the map behind it. Nothing in
    it depends on the data, so that ``torch.export`` and ONNX can hold it.

    Args:
        model: The network; of its maps the graph gives :attr:`BoxCaseg.output_map`, and it makes
            masks by its ``threshold``, ``slack`` and ``calibration``.

    Example:
        >>> import mmboxcaseg, torch
        >>> from mmboxcaseg.apis import init_model
        >>> model = init_model(mmboxcaseg.config_path('demo/boxcaseg_toy.py'))
        >>> graph = BoxCasegGraph(model)
        >>> patches = torch.zeros(2, 64, 64, 3, dtype=torch.uint8)
        >>> bboxes = torch.tensor([[8.0, 8, 56, 56]] * 2)
        >>> maps, levels, quality = graph(patches, bboxes, bboxes)
        >>> maps.shape, levels.shape, quality.shape
        (torch.Size([2, 64, 64]), torch.Size([2]), torch.Size([2]))
    """

    def __init__(self, model: BoxCaseg) -> None:
        super().__init__()
        self.model = model.folded()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what :meth:`forward` takes of this network."""
        told = self.model.prompt and self.model.prompt.others
        return ('patches', 'bboxes', 'windows', *(['others'] if told else []))

    def forward(
        self, patches: Tensor, bboxes: Tensor, windows: Tensor, others: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predict.

        Args:
            patches: (N, H, W, 3) uint8, BGR, as OpenCV has them.
            bboxes: (N, 4) float, xyxy, patch pixels.
            windows: (N, 4) float, xyxy, patch pixels, what the maps are of: the boxes, or with a
                slack :func:`mmboxcaseg.proxy.mask_windows`.
            others: (N, K, 4) float, xyxy, patch pixels, the other boxes of the image that a patch
                shows a part of; patches that have fewer are filled up with zeros.

        Returns:
            (N, H, W) float32 probability maps of the windows, (N,) float32 levels: a pixel of a map
            that is resized to its window belongs to the mask above its level, and (N,) float32
            quality of the masks, see :func:`mmboxcaseg.proxy.expected_iou`.
        """
        model = self.model
        loose = None
        if model.slack:
            loose = torch.ones_like(bboxes[:, 0], dtype=torch.bool)
        maps = model.probability_maps(
            self._normalized(patches), (model.output_map,), bboxes, others, loose, windows
        )[model.output_map]
        maps = maps.squeeze(1).float()
        levels, quality = self._rate(maps.double())
        return maps, levels.float(), quality.float()

    def _normalized(self, patches: Tensor) -> Tensor:
        preprocessor = self.model.data_preprocessor
        images = patches.permute(0, 3, 1, 2).float()
        if preprocessor._channel_conversion:
            images = images.flip(1)
        if preprocessor._enable_normalize:
            images = (images - preprocessor.mean) / preprocessor.std
        return images

    def _rate(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Levels and quality (N,), as ``proxy.quality`` finds them of one map."""
        low, high = maps.amin((1, 2)), maps.amax((1, 2))
        flat = high <= low
        # A flat map has nothing to stretch: it is compared as it is.
        low, span = torch.where(flat, 0.0, low), torch.where(flat, 1.0, high - low)
        stretched = (maps - low[:, None, None]) / span[:, None, None]
        threshold = self.model.threshold
        if threshold in (BEST, TIGHT):
            tight = threshold == TIGHT and not self.model.slack
            thresholds = torch.where(flat, 0.5, _best_thresholds(maps, stretched, tight))
        else:
            thresholds = torch.full_like(low, threshold)
        masks = (stretched > thresholds[:, None, None]).double()
        common = (maps * masks).sum((1, 2))
        union = masks.sum((1, 2)) + maps.sum((1, 2)) - common
        quality = common / union.clamp(min=torch.finfo(union.dtype).tiny)
        slope, offset = self.model.calibration
        odds = quality.clamp(LEAST, 1 - LEAST)
        calibrated = (slope * (odds / (1 - odds)).log() + offset).sigmoid()
        calibrated = quality if (slope, offset) == (1, 0) else calibrated
        return low + thresholds * span, torch.where(common > 0, calibrated, 0.0)


def _best_thresholds(maps: Tensor, stretched: Tensor, tight: bool) -> Tensor:
    """:func:`mmboxcaseg.proxy.best_threshold` of (N, H, W) maps, (N,)."""
    levels = (stretched * LEVELS).ceil().long()
    pixels, values = levels.flatten(1), maps.flatten(1)
    # Of the mask of each threshold: its pixels, and the probability in them.
    sums = [
        values.new_zeros(maps.shape[0], LEVELS + 1)
        .scatter_add(1, pixels, source)[:, 1:]
        .flip(1)
        .cumsum(1)
        .flip(1)
        for source in (torch.ones_like(values), values)
    ]
    area, common = sums
    worth = common / (area + values.sum(1, keepdim=True) - common)
    if tight:
        worth = worth + TIGHTNESS * _covered(levels.amax(1)) * _covered(levels.amax(2))
    return worth.argmax(1).double() / LEVELS


def _covered(levels: Tensor) -> Tensor:
    """The share of lines (N, n), by threshold, from the first pixel above to the last one."""
    length = levels.shape[1]
    place = torch.arange(length, device=levels.device)
    above = levels[:, None] > torch.arange(LEVELS, device=levels.device)[:, None]
    first = torch.where(above, place, length).amin(2)
    last = torch.where(above, place, -1).amax(2)
    return (last + 1 - first).clamp(min=0).double() / length
