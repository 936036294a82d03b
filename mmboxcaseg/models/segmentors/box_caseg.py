"""The joint network of Fig. 4: a backbone and a weak, a salient and a transferred head."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from mmcv.cnn import fuse_conv_bn
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.dist import all_reduce
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmboxcaseg.errors import InputError, check_share
from mmboxcaseg.models.layers import (
    concat_scales,
    find_scales,
    fuse_logits,
    map_of_box,
    run_once,
    whole_patches,
    widen_stem,
)
from mmboxcaseg.proxy import (
    UNCALIBRATED,
    bboxes_in_window,
    check_calibration,
    check_threshold,
    mask_windows,
)
from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class BoxCaseg(BaseModel):
    """Class-agnostic object segmentation learned from boxes and salient images (Sec. 3.2, 3.3).

    Every patch trains the weak head with ``loss_mil``; patches that are supervised by a mask
    train the salient and the transferred head with ``loss_pixel`` on their fused map. Heads set
    to ``None`` are left out, which gives the rows of Table 4; without a salient or without a
    transferred head the fused map is the other one's, whatever ``alpha`` says. Without a weak
    head patches that are supervised by a box teach nothing: train on salient images alone, or on
    boxes with proxy masks beside them.

    Args:
        backbone: Any backbone that gives several scales, the finest first, of any library of
            OpenMMLab or of timm (:class:`mmboxcaseg.TIMMBackbone`). Neck and heads that have no
            ``in_channels`` find them: the backbone runs once, on an image of its ``img_size`` if it
            has one.
        weak_head: Config of the weak head.
        salient_head: Config of the salient head.
        transferred_head: Config of the transferred head; it needs a weak head.
        neck: Config of a neck between backbone and heads, such as mmdet's ``ChannelMapper`` to
            bring down the channels; the paper has none.
        loss_mil: Config of the loss of the weak head.
        loss_pixel: Config of the loss of the fused map.
        alpha: Weight of the salient head in the fused map (Eq. 3, Table 6).
        fuse: What is fused: ``'logit'`` (the released code) or ``'prob'`` (Eq. 3); see
            :func:`mmboxcaseg.models.layers.fuse_logits`.
        channels_last: Whether the weights lie in channels-last layout, which feature maps then
            follow: convolutions on CPUs take about a third less time.
        prompt: Config of a :class:`mmboxcaseg.BoxPrompt`, which tells the network which object is
            asked for, in channels behind those of the image; by default none, as in the paper.
            Weights for images, such as pretrained ones, load as without.
        neighbours: A setting of old configs, now a part of ``prompt``.
        test_cfg: ``maps``: names of the maps to predict, out of ``'weak'``, ``'salient'``,
            ``'transferred'`` and ``'fused'``. By default :attr:`output_map` alone.
            ``threshold``: how masks are made of the maps, see
            :func:`mmboxcaseg.proxy.mask_of`; by default 0.5, as in the paper. ``slack``: how far
            masks may leave their boxes, see :func:`mmboxcaseg.proxy.mask_windows`; every map is
            then that of the grown box, which the margin of the test patches must show. The prompt
            stays the given box. By default 0. ``calibration``: slope and offset of the masks'
            quality, see :func:`mmboxcaseg.proxy.expected_iou`; by default it is taken as it is.
            That of several views is ``calibration`` of :class:`BoxCasegTTAModel`, if it has one.
            ``exclusive``: whether the boxes of an image share out its pixels before masks are made
            of their maps and merged, see :func:`mmboxcaseg.proxy.exclusive_maps`. A test, which
            scores each box by itself, does not. By default False, as in the paper.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation, as in mmengine.

    Raises:
        InputError: If ``alpha`` is not in [0, 1], ``fuse`` is none of these, no head is left, a
            transferred head stands without a weak head, ``test_cfg`` asks for a map that the heads
            do not give or has a wrong threshold or slack, or a setting is one of an old config.
    """

    def __init__(
        self,
        backbone: dict,
        weak_head: dict | None,
        salient_head: dict | None,
        transferred_head: dict | None,
        neck: dict | None = None,
        loss_mil: dict | None = None,
        loss_pixel: dict | None = None,
        alpha: float = 0.7,
        fuse: str = 'logit',
        channels_last: bool = False,
        prompt: dict | None = None,
        neighbours: None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        if neighbours is not None or isinstance(prompt, bool):
            raise InputError(
                'the network now draws its prompts: write '
                "prompt=dict(type='mmboxcaseg.BoxPrompt', own=True, others=True) for prompt=True "
                'and neighbours=True, leave both out for False, and remove NeighbourChannel and '
                'with_neighbours'
            )
        if 'fuse' in (loss_pixel or {}):
            raise InputError('fuse is a setting of BoxCaseg, no longer of loss_pixel: move it')
        check_share('alpha', alpha)
        if fuse not in ('logit', 'prob'):
            raise InputError(f"fuse must be 'logit' or 'prob', not {fuse!r}")
        if weak_head is None and transferred_head is not None:
            raise InputError('transferred_head takes its weights from weak_head, which is None')
        if weak_head is None and salient_head is None:
            raise InputError('at least one of weak_head and salient_head must be given')
        self.backbone = MODELS.build(backbone)
        self.prompt = prompt and MODELS.build(prompt)
        if self.prompt:
            widen_stem(self.backbone, self.prompt.channels)
        #: Whether the backbone gives (N, H, W, C).
        self.channels_behind = False
        scales = None
        heads = [weak_head, salient_head, transferred_head]
        if any(part and part.get('in_channels') is None for part in (neck, *heads)):
            channels = 3 + (self.prompt.channels if self.prompt else 0)
            size = backbone.get('img_size')
            scales, self.channels_behind = find_scales(self.backbone, channels, size)
            neck = _with_channels(neck, [scale.shape[1] for scale in scales])
        self.neck = neck and MODELS.build(neck)
        if scales is not None:
            scales = scales if self.neck is None else run_once(self.neck, scales)
            channels = sum(scale.shape[1] for scale in scales)
            heads = [_with_channels(head, channels) for head in heads]
        self.weak_head, self.salient_head, self.transferred_head = (
            head and MODELS.build(head) for head in heads
        )
        self.loss_mil = MODELS.build(loss_mil or dict(type='mmboxcaseg.MILLoss'))
        self.loss_pixel = MODELS.build(loss_pixel or dict(type='mmboxcaseg.PixelLoss'))
        self.alpha = alpha
        self.fuse = fuse
        test_cfg = test_cfg or {}
        self.threshold = test_cfg.get('threshold', 0.5)
        check_threshold('test_cfg.threshold', self.threshold)
        self.slack = test_cfg.get('slack', 0.0)
        check_share('test_cfg.slack', self.slack)
        calibration = test_cfg.get('calibration', UNCALIBRATED)
        check_calibration('test_cfg.calibration', calibration)
        self.calibration = tuple(calibration)
        self.maps = tuple(test_cfg.get('maps') or (self.output_map,))
        #: See ``test_cfg``.
        self.exclusive = test_cfg.get('exclusive', False)
        if not isinstance(self.exclusive, bool):
            raise InputError(f'test_cfg.exclusive must be True or False, not {self.exclusive!r}')
        if missing := set(self.maps) - set(self.available_maps):
            raise InputError(
                f'test_cfg.maps asks for {sorted(missing)}, but the heads give '
                f'{list(self.available_maps)}'
            )

        if channels_last:
            # Here and not in a hook: DDP records the layout of the weights when it wraps them.
            self.to(memory_format=torch.channels_last)

    @property
    def available_maps(self) -> tuple[str, ...]:
        """Names of the maps that the heads can give."""
        heads = dict(
            weak=self.weak_head, salient=self.salient_head, transferred=self.transferred_head
        )
        names = tuple(name for name, head in heads.items() if head is not None)
        return names + ('fused',) if {'salient', 'transferred'} & set(names) else names

    @property
    def output_map(self) -> str:
        """The map that proxy masks are made from: the fused one, or else the weak one."""
        return 'fused' if 'fused' in self.available_maps else 'weak'

    def folded(self) -> BoxCaseg:
        """Copy the network for tests, with batch norms folded into the convolutions before them.

        Returns:
            A network in eval mode that predicts the same maps but for rounding, in a fifth less
            time on a CPU.

        Example:
            >>> import mmboxcaseg
            >>> from mmboxcaseg.apis import init_model
            >>> model = init_model(mmboxcaseg.config_path('demo/boxcaseg_toy.py'))
            >>> len(list(model.folded().buffers())) < len(list(model.buffers()))
            True
        """
        model = deepcopy(self).eval()
        parts = [model.backbone, model.neck, model.salient_head]
        # The transferred head makes its weights of the weak head's as they were trained.
        parts += [model.weak_head] if model.transferred_head is None else []
        for part in filter(None, parts):
            fuse_conv_bn(part)
        return model

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[DetDataSample] | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | list[DetDataSample]:
        """Compute losses, predictions or probability maps.

        Args:
            inputs: Patches (N, 3, H, W), normalised.
            data_samples: One a patch: ``supervision`` (``'box'`` or ``'mask'``) in the metainfo,
                ``gt_instances.bboxes`` (1, 4) in patch pixels, for a prompt of the other boxes
                ``other_instances.bboxes`` (K, 4) and, for a mask, ``gt_sem_seg.sem_seg``
                (1, H, W).
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            What :meth:`loss`, :meth:`predict` or :meth:`_forward` gives.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self._forward(inputs, data_samples)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', not {mode!r}")

    def loss(self, inputs: Tensor, data_samples: Sequence[DetDataSample]) -> dict[str, Tensor]:
        """Compute the losses of a mixed batch (Eq. 4) by name; arguments as in :meth:`forward`."""
        boxes = self._boxes(data_samples)
        features = self.extract_feat(inputs, **boxes)
        size = inputs.shape[-2:]
        losses = {}
        if self.weak_head is not None:
            maps = map_of_box(self.weak_head(features), size)
            losses.update(self.loss_mil(maps, boxes['bboxes']))
        if self.output_map == 'fused':
            losses['loss_pixel'] = self._loss_pixel(features, data_samples, size)
        return losses

    def predict(self, inputs: Tensor, data_samples: Sequence[DetDataSample]) -> list[DetDataSample]:
        """Predict the maps of ``test_cfg.maps``; arguments as in :meth:`forward`.

        Returns:
            The data samples, each with ``pred_maps``, a ``PixelData`` of (1, H, W)
            probabilities by map name, see :meth:`probability_maps`, and with the ``threshold``, the
            ``slack`` and the ``calibration`` of ``test_cfg`` in its metainfo.

        Raises:
            InputError: If a patch does not show its box grown by the slack.
        """
        maps = self._forward(inputs, data_samples)
        for index, sample in enumerate(data_samples):
            sample.pred_maps = PixelData(**{name: m[index].float() for name, m in maps.items()})
            sample.set_metainfo(
                dict(threshold=self.threshold, slack=self.slack, calibration=self.calibration)
            )
        return list(data_samples)

    def _forward(
        self, inputs: Tensor, data_samples: Sequence[DetDataSample] | None = None
    ) -> dict[str, Tensor]:
        """The maps of ``test_cfg.maps``, (N, 1, H, W) probabilities by name."""
        if data_samples is None:
            return self.probability_maps(inputs, self.maps)
        windows = None
        if self.slack:
            size = tuple(inputs.shape[-2:])
            windows = torch.cat([_grown_box(sample, self.slack, size) for sample in data_samples])
        boxes = self._boxes(data_samples)
        return self.probability_maps(inputs, self.maps, **boxes, windows=windows)

    def _boxes(self, data_samples: Sequence[DetDataSample]) -> dict[str, Any]:
        """The ``bboxes`` of patches, and what else the prompt draws."""
        boxes = dict(bboxes=torch.cat([sample.gt_instances.bboxes for sample in data_samples]))
        if self.prompt and self.prompt.others:
            boxes['others'] = [sample.other_instances.bboxes for sample in data_samples]
        if self.prompt and self.prompt.loose:
            # In training RandomMoveBox says so.
            loose = [sample.get('loose', self.slack > 0) for sample in data_samples]
            boxes['loose'] = torch.tensor(loose, device=boxes['bboxes'].device)
        return boxes

    def probability_maps(
        self,
        inputs: Tensor,
        names: Sequence[str],
        bboxes: Tensor | None = None,
        others: Sequence[Tensor] | None = None,
        loose: Tensor | None = None,
        windows: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Predict maps; a head that none of them needs does not run.

        A map is that of the window, stretched to the size of the patch, whatever else of the image
        the patch shows: what comes after need not know of margins.

        Args:
            inputs: Patches (N, 3, H, W), normalised.
            names: Out of :attr:`available_maps`.
            bboxes: (N, 4), xyxy, patch pixels; by default the whole patches.
            others: For each patch the other boxes (K, 4), xyxy, patch pixels; by default none.
            loose: (N,) bool, see :class:`BoxPrompt`; by default none is.
            windows: (N, 4), xyxy, patch pixels, what the maps are of; by default the boxes.

        Returns:
            (N, 1, H, W) probabilities by name.
        """
        windows = bboxes if windows is None else windows
        features = self.extract_feat(inputs, bboxes, others, loose)
        size = inputs.shape[-2:]
        maps = {}
        if 'weak' in names:
            maps['weak'] = map_of_box(self.weak_head(features), size, windows)
        if {'salient', 'transferred', 'fused'} & set(names):
            maps['salient'], maps['transferred'] = self._pixel_logits(features, size, windows)
            maps['fused'] = self._fuse(maps['salient'], maps['transferred'])
        return {name: maps[name].sigmoid() for name in names}

    def extract_feat(
        self,
        inputs: Tensor,
        bboxes: Tensor | None = None,
        others: Sequence[Tensor] | None = None,
        loose: Tensor | None = None,
    ) -> Tensor:
        """Map patches to the features that the heads share; arguments as above.

        Returns:
            (N, C, h, w).
        """
        if self.prompt:
            size = inputs.shape[-2:]
            if bboxes is None:
                bboxes = whole_patches(inputs, *size)
            maps = self.prompt(size, bboxes.to(inputs.device), others, loose)
            inputs = torch.cat([inputs, maps.to(inputs)], dim=1)
        features = self.backbone(inputs)
        if self.channels_behind:
            features = [scale.permute(0, 3, 1, 2) for scale in features]
        if self.neck is not None:
            features = self.neck(features)
        return concat_scales(features)

    def _loss_pixel(
        self, features: Tensor, data_samples: Sequence[DetDataSample], size: torch.Size
    ) -> Tensor:
        by_mask = [i for i, sample in enumerate(data_samples) if sample.supervision == 'mask']
        heads = [head for head in (self.salient_head, self.transferred_head) if head is not None]
        num_masks = len(by_mask)
        if any(isinstance(head.norm, nn.SyncBatchNorm) for head in heads):
            # The norms of all ranks wait for each other, so the heads run on each rank or on none.
            count = torch.tensor(num_masks, device=features.device)
            all_reduce(count)
            num_masks = int(count)
        if num_masks == 0:
            # Every parameter must get a gradient on every rank of a distributed run.
            return 0 * sum(p.sum() for p in self.parameters())
        if len(by_mask) < len(features):
            # Without box patches all are taken as they are: to pick them would copy them.
            features = features[by_mask]
        salient, transferred = self._pixel_logits(features, size)
        if not by_mask:
            return 0 * (salient.sum() + transferred.sum())
        masks = torch.stack([data_samples[i].gt_sem_seg.sem_seg for i in by_mask])
        return self.loss_pixel(self._fuse(salient.float(), transferred.float()), masks)

    def _fuse(self, salient: Tensor, transferred: Tensor) -> Tensor:
        return fuse_logits(salient, transferred, self.alpha, self.fuse)

    def _pixel_logits(
        self, features: Tensor, size: torch.Size, windows: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        # The other head stands in for a missing one: their fusion is then its map, for any alpha.
        salient = transferred = None
        if self.salient_head is not None:
            salient = map_of_box(self.salient_head(features), size, windows)
        if self.transferred_head is not None:
            transferred = map_of_box(self.transferred_head(features, self.weak_head), size, windows)
        return (
            transferred if salient is None else salient,
            salient if transferred is None else transferred,
        )


def _with_channels(part: dict | None, in_channels: int | list[int]) -> dict | None:
    known = part is None or part.get('in_channels') is not None
    return part if known else dict(part, in_channels=in_channels)


def _grown_box(sample: DetDataSample, slack: float, size: tuple[int, int]) -> Tensor:
    """The window (1, 4) of a box's mask in the pixels of a patch of (height, width)."""
    patch = sample.patch_bbox
    # A salient image that is seen whole has no box beside that of its patch.
    (window,) = mask_windows(sample.get('bbox', patch), sample.ori_shape, slack)
    if (window[:2] < patch[:2]).any() or (window[2:] > patch[2:]).any():
        raise InputError(
            f'a patch of {sample.get("img_path") or "the image"} shows pixels {patch.tolist()} and '
            f'its box with a slack of {slack:g} lies at {window.tolist()}: give BoxPatch a margin '
            'of at least the slack, or lower the slack'
        )
    boxes = HorizontalBoxes(bboxes_in_window(window, patch, size), dtype=torch.float32)
    if sample.get('flip'):
        boxes.flip_(size, sample.flip_direction)
    return boxes.tensor
