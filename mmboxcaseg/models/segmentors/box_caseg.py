"""The joint network of Fig. 4: a backbone and a weak, a salient and a transferred head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.dist import all_reduce
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmboxcaseg.errors import InputError, check_share
from mmboxcaseg.models.layers import box_maps, concat_scales, widen_stem
from mmboxcaseg.proxy import check_threshold
from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class BoxCaseg(BaseModel):
    """Class-agnostic object segmentation learned from boxes and salient images (Sec. 3.2, 3.3).

    Every patch trains the weak head with ``loss_mil``; patches that are supervised by a mask
    train the salient and the transferred head with ``loss_pixel`` on their fused map. Heads set
    to ``None`` are left out, which gives the rows of Table 4; without a salient or without a
    transferred head the fused map is the other one's, whatever ``alpha`` says. Without a weak
    head and without ``loss_box`` patches that are supervised by a box teach nothing: train on
    salient images alone.

    Args:
        backbone: Any backbone that gives several scales, the finest first.
        weak_head: Config of the weak head.
        salient_head: Config of the salient head.
        transferred_head: Config of the transferred head; it needs a weak head.
        neck: Config of a neck between backbone and heads, such as mmdet's ``ChannelMapper`` to
            bring down the channels; the paper has none.
        loss_mil: Config of the loss of the weak head.
        loss_pixel: Config of the loss of the fused map; it says how maps are fused.
        alpha: Weight of the salient head in the fused map (Eq. 3, Table 6).
        channels_last: Whether the weights lie in channels-last layout, which feature maps then
            follow: convolutions on CPUs take about a third less time.
        prompt: Whether the box is a fourth channel of the input, the share of each pixel that
            lies in it (:func:`mmboxcaseg.models.layers.box_maps`). Weights for images, such as
            pretrained ones, load as without.
        neighbours: Whether the input has, behind the three of the image, a channel that tells of
            the other boxes of the image (:class:`mmboxcaseg.NeighbourChannel`).
        loss_box: Config of a loss of the fused map on patches that are supervised by a box, such as
            ``ProjectionAffinityLoss``; the paper has none. With it every patch passes the salient
            and the transferred head, and counts in the statistics of their norms.
        test_cfg: ``maps``: names of the maps to predict, out of ``'weak'``, ``'salient'``,
            ``'transferred'`` and ``'fused'``. By default :attr:`output_map` alone.
            ``threshold``: how masks are made of the maps, see
            :func:`mmboxcaseg.proxy.threshold_probability`; by default 0.5, as in the paper.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation, as in mmengine.

    Raises:
        InputError: If ``alpha`` is not in [0, 1], no head is left, a transferred head stands
            without a weak head, ``loss_box`` without any head of the fused map, ``test_cfg``
            asks for a map that the heads do not give or has a wrong threshold.
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
        channels_last: bool = False,
        prompt: bool = False,
        neighbours: bool = False,
        loss_box: dict | None = None,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        check_share('alpha', alpha)
        if weak_head is None and transferred_head is not None:
            raise InputError('transferred_head takes its weights from weak_head, which is None')
        if weak_head is None and salient_head is None:
            raise InputError('at least one of weak_head and salient_head must be given')
        if loss_box is not None and salient_head is None and transferred_head is None:
            raise InputError(
                'loss_box teaches the fused map: give a salient_head or a transferred_head'
            )
        self.backbone = MODELS.build(backbone)
        if prompt or neighbours:
            widen_stem(self.backbone, prompt + neighbours)
        self.prompt = prompt
        self.neighbours = neighbours
        self.neck = neck and MODELS.build(neck)
        self.weak_head = weak_head and MODELS.build(weak_head)
        self.salient_head = salient_head and MODELS.build(salient_head)
        self.transferred_head = transferred_head and MODELS.build(transferred_head)
        self.loss_mil = MODELS.build(loss_mil or dict(type='mmboxcaseg.MILLoss'))
        self.loss_pixel = MODELS.build(loss_pixel or dict(type='mmboxcaseg.PixelLoss'))
        self.loss_box = loss_box and MODELS.build(loss_box)
        self.alpha = alpha
        test_cfg = test_cfg or {}
        self.threshold = test_cfg.get('threshold', 0.5)
        check_threshold('test_cfg.threshold', self.threshold)
        self.maps = tuple(test_cfg.get('maps') or (self.output_map,))
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

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[DetDataSample] | None = None,
        mode: str = 'tensor',
    ) -> dict[str, Tensor] | list[DetDataSample]:
        """Compute losses, predictions or probability maps.

        Args:
            inputs: Patches ``(N, 3, H, W)``, normalised, or ``(N, 4, H, W)`` with ``neighbours``.
            data_samples: One a patch: ``supervision`` (``'box'`` or ``'mask'``) in the metainfo,
                ``gt_instances.bboxes`` ``(1, 4)`` in patch pixels and, for a mask,
                ``gt_sem_seg.sem_seg`` ``(1, H, W)``.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            ``'loss'``: the losses by name. ``'predict'``: the data samples, each with
            ``pred_maps``, a ``PixelData`` of ``(1, H, W)`` probabilities by map name, and the
            ``threshold`` of ``test_cfg`` in its metainfo.
            ``'tensor'``: the maps of ``test_cfg.maps`` by name, ``(N, 1, H, W)`` probabilities.
            Maps are those of the boxes; see :meth:`probability_maps`.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        bboxes = None
        if data_samples is not None:
            bboxes = torch.cat([sample.gt_instances.bboxes for sample in data_samples])
        maps = self.probability_maps(inputs, self.maps, bboxes)
        if mode == 'tensor':
            return maps
        if mode != 'predict':
            raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', not {mode!r}")
        for index, sample in enumerate(data_samples):
            sample.pred_maps = PixelData(**{name: m[index].float() for name, m in maps.items()})
            sample.set_metainfo(dict(threshold=self.threshold))
        return list(data_samples)

    def loss(self, inputs: Tensor, data_samples: Sequence[DetDataSample]) -> dict[str, Tensor]:
        """Compute the losses of a mixed batch (Eq. 4); arguments as in :meth:`forward`."""
        bboxes = torch.cat([sample.gt_instances.bboxes for sample in data_samples])
        features = self.extract_feat(inputs, bboxes)
        size = inputs.shape[-2:]
        losses = {}
        if self.weak_head is not None:
            losses.update(self.loss_mil(_upsample(self.weak_head(features), size), bboxes))
        if self.output_map == 'fused':
            losses.update(self._fused_losses(features, bboxes, inputs, data_samples))
        return losses

    def probability_maps(
        self, inputs: Tensor, names: Sequence[str], bboxes: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Predict maps; a head that none of them needs does not run.

        A map is that of the box, stretched to the size of the patch, whatever else of the image
        the patch shows: what comes after need not know of margins.

        Args:
            inputs: Patches ``(N, 3, H, W)``, normalised, or ``(N, 4, H, W)`` with ``neighbours``.
            names: Out of :attr:`available_maps`.
            bboxes: ``(N, 4)``, xyxy, patch pixels; by default the whole patches.

        Returns:
            ``(N, 1, H, W)`` probabilities by name.
        """
        features = self.extract_feat(inputs, bboxes)
        size = inputs.shape[-2:]
        maps = {}
        if 'weak' in names:
            maps['weak'] = _box_logits(self.weak_head(features), size, bboxes).sigmoid()
        if {'salient', 'transferred', 'fused'} & set(names):
            salient, transferred = self._pixel_logits(features, size, bboxes)
            if 'salient' in names:
                maps['salient'] = salient.sigmoid()
            if 'transferred' in names:
                maps['transferred'] = transferred.sigmoid()
            if 'fused' in names:
                maps['fused'] = self.loss_pixel.fuse_probs(salient, transferred, self.alpha)
        return {name: maps[name] for name in names}

    def extract_feat(self, inputs: Tensor, bboxes: Tensor | None = None) -> Tensor:
        """Map patches to the features that the heads share.

        Args:
            inputs: Patches ``(N, 3, H, W)``, normalised, or ``(N, 4, H, W)`` with ``neighbours``.
            bboxes: ``(N, 4)``, xyxy, patch pixels, for the prompt; by default the whole patches.

        Returns:
            ``(N, C, h, w)``.
        """
        if inputs.shape[1] != 3 + self.neighbours:
            raise InputError(
                f'the patches have {inputs.shape[1]} channels: NeighbourChannel in every pipeline, '
                'PatchPreprocessor and neighbours=True of the model go together'
            )
        if self.prompt:
            size = inputs.shape[-2:]
            if bboxes is None:
                bboxes = _whole_patches(inputs, size)
            # Half precision does not hold the edges of large patches.
            maps = box_maps(bboxes.to(inputs.device, torch.float32), *size)
            inputs = torch.cat([inputs[:, :3], maps.to(inputs), inputs[:, 3:]], dim=1)
        features = self.backbone(inputs)
        if self.neck is not None:
            features = self.neck(features)
        return concat_scales(features)

    def _fused_losses(
        self,
        features: Tensor,
        bboxes: Tensor,
        inputs: Tensor,
        data_samples: Sequence[DetDataSample],
    ) -> dict[str, Tensor]:
        by_mask = [i for i, s in enumerate(data_samples) if s.supervision == 'mask']
        by_box = [i for i, s in enumerate(data_samples) if s.supervision != 'mask']
        masks = [data_samples[i].gt_sem_seg.sem_seg for i in by_mask]
        size = inputs.shape[-2:]
        if self.loss_box is None:
            # Without box patches all are taken as they are: to pick them would copy them.
            features = features[by_mask] if by_box else features
            return dict(loss_pixel=self._loss_pixel(features, masks, size))
        salient, transferred = self._pixel_logits(features, size)
        # Every parameter must get a gradient, also from a batch without masks.
        losses = dict(loss_pixel=0 * (salient.sum() + transferred.sum()))
        if by_mask:
            losses['loss_pixel'] = self.loss_pixel(
                salient[by_mask], transferred[by_mask], torch.stack(masks), self.alpha
            )
        if by_box:
            logits = self.loss_pixel.fuse_logits(salient[by_box], transferred[by_box], self.alpha)
            losses.update(self.loss_box(logits, bboxes[by_box], inputs[by_box, :3]))
        return losses

    def _loss_pixel(self, features: Tensor, masks: list[Tensor], size: torch.Size) -> Tensor:
        heads = [head for head in (self.salient_head, self.transferred_head) if head is not None]
        num_masks = torch.tensor(len(masks), device=features.device)
        if any(isinstance(head.norm, nn.SyncBatchNorm) for head in heads):
            # The norms of all ranks wait for each other, so the heads run on each rank or on none.
            all_reduce(num_masks)
        if num_masks == 0:
            # Every parameter must get a gradient on every rank of a distributed run.
            return 0 * sum(p.sum() for p in self.parameters())
        salient, transferred = self._pixel_logits(features, size)
        if not masks:
            return 0 * (salient.sum() + transferred.sum())
        return self.loss_pixel(salient, transferred, torch.stack(masks), self.alpha)

    def _pixel_logits(
        self, features: Tensor, size: torch.Size, bboxes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        # The other head stands in for a missing one: their fusion is then its map, for any alpha.
        salient = transferred = None
        if self.salient_head is not None:
            salient = _box_logits(self.salient_head(features), size, bboxes)
        if self.transferred_head is not None:
            transferred = _box_logits(self.transferred_head(features, self.weak_head), size, bboxes)
        return (
            transferred if salient is None else salient,
            salient if transferred is None else transferred,
        )


def _box_logits(logits: Tensor, size: torch.Size, bboxes: Tensor | None) -> Tensor:
    """Upsample what lies in a box of each patch; without boxes the whole patch.

    Args:
        logits: ``(N, 1, h, w)``, of whole patches.
        size: Height and width of the patches, and of the result.
        bboxes: ``(N, 4)``, xyxy, patch pixels.

    Returns:
        ``(N, 1, height, width)``.
    """
    if bboxes is None:
        return _upsample(logits, size)
    logits = logits.float()
    bboxes = bboxes.to(logits)
    whole = _whole_patches(logits, size)
    if torch.equal(bboxes, whole):
        return _upsample(logits, size)
    # affine_grid and grid_sample take a patch as [-1, 1] from edge to edge.
    x1, y1, x2, y2 = (bboxes / whole[:, [2, 3, 2, 3]]).unbind(1)
    zero = torch.zeros_like(x1)
    rows = [x2 - x1, zero, x1 + x2 - 1], [zero, y2 - y1, y1 + y2 - 1]
    theta = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    grid = F.affine_grid(theta, [len(logits), 1, *size], align_corners=False)
    return F.grid_sample(logits, grid, padding_mode='border', align_corners=False)


def _whole_patches(like: Tensor, size: torch.Size) -> Tensor:
    """The boxes (N, 4) xyxy of N whole patches."""
    height, width = size
    return like.new_tensor([0, 0, width, height]).expand(len(like), 4)


def _upsample(logits: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(logits, size, mode='bilinear', align_corners=False)
