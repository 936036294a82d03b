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
from mmboxcaseg.models.layers import concat_scales
from mmboxcaseg.registry import MODELS


@MODELS.register_module()
class BoxCaseg(BaseModel):
    """Class-agnostic object segmentation learned from boxes and salient images (Sec. 3.2, 3.3).

    Every patch trains the weak head with ``loss_mil``; patches that are supervised by a mask
    train the salient and the transferred head with ``loss_pixel`` on their fused map. Heads set
    to ``None`` are left out, which gives the rows of Table 4; without a salient or without a
    transferred head the fused map is the other one's, whatever ``alpha`` says. Without a weak
    head patches that are supervised by a box teach nothing: train on salient images alone.

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
        test_cfg: ``maps``: names of the maps to predict, out of ``'weak'``, ``'salient'``,
            ``'transferred'`` and ``'fused'``. By default :attr:`output_map` alone.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation, as in mmengine.

    Raises:
        InputError: If ``alpha`` is not in [0, 1], no head is left, a transferred head stands
            without a weak head, or ``test_cfg`` asks for a map that the heads do not give.
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
        self.backbone = MODELS.build(backbone)
        self.neck = neck and MODELS.build(neck)
        self.weak_head = weak_head and MODELS.build(weak_head)
        self.salient_head = salient_head and MODELS.build(salient_head)
        self.transferred_head = transferred_head and MODELS.build(transferred_head)
        self.loss_mil = MODELS.build(loss_mil or dict(type='mmboxcaseg.MILLoss'))
        self.loss_pixel = MODELS.build(loss_pixel or dict(type='mmboxcaseg.PixelLoss'))
        self.alpha = alpha
        self.maps = tuple((test_cfg or {}).get('maps') or (self.output_map,))
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
            inputs: Patches ``(N, 3, H, W)``, normalised.
            data_samples: One a patch: ``supervision`` (``'box'`` or ``'mask'``) in the metainfo,
                ``gt_instances.bboxes`` ``(1, 4)`` in patch pixels and, for a mask,
                ``gt_sem_seg.sem_seg`` ``(1, H, W)``.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            ``'loss'``: the losses by name. ``'predict'``: the data samples, each with
            ``pred_maps``, a ``PixelData`` of ``(1, H, W)`` probabilities by map name.
            ``'tensor'``: the maps of ``test_cfg.maps`` by name, ``(N, 1, H, W)`` probabilities.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        maps = self.probability_maps(inputs, self.maps)
        if mode == 'tensor':
            return maps
        if mode != 'predict':
            raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', not {mode!r}")
        for index, sample in enumerate(data_samples):
            sample.pred_maps = PixelData(**{name: m[index].float() for name, m in maps.items()})
        return list(data_samples)

    def loss(self, inputs: Tensor, data_samples: Sequence[DetDataSample]) -> dict[str, Tensor]:
        """Compute the losses of a mixed batch (Eq. 4); arguments as in :meth:`forward`."""
        by_mask = [i for i, s in enumerate(data_samples) if s.supervision == 'mask']
        features = self.extract_feat(inputs)
        size = inputs.shape[-2:]
        losses = {}
        if self.weak_head is not None:
            bboxes = torch.cat([sample.gt_instances.bboxes for sample in data_samples])
            losses.update(self.loss_mil(_upsample(self.weak_head(features), size), bboxes))
        if self.output_map == 'fused':
            masks = [data_samples[i].gt_sem_seg.sem_seg for i in by_mask]
            losses['loss_pixel'] = self._loss_pixel(features[by_mask], masks, size)
        return losses

    def probability_maps(self, inputs: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Predict maps; a head that none of them needs does not run.

        Args:
            inputs: Patches ``(N, 3, H, W)``, normalised.
            names: Out of :attr:`available_maps`.

        Returns:
            ``(N, 1, H, W)`` probabilities by name.
        """
        features = self.extract_feat(inputs)
        size = inputs.shape[-2:]
        maps = {}
        if 'weak' in names:
            maps['weak'] = _upsample(self.weak_head(features), size).sigmoid()
        if {'salient', 'transferred', 'fused'} & set(names):
            salient, transferred = self._pixel_logits(features, size)
            if 'salient' in names:
                maps['salient'] = salient.sigmoid()
            if 'transferred' in names:
                maps['transferred'] = transferred.sigmoid()
            if 'fused' in names:
                maps['fused'] = self.loss_pixel.fuse_probs(salient, transferred, self.alpha)
        return {name: maps[name] for name in names}

    def extract_feat(self, inputs: Tensor) -> Tensor:
        """Map patches ``(N, 3, H, W)`` to the features ``(N, C, h, w)`` that the heads share."""
        features = self.backbone(inputs)
        if self.neck is not None:
            features = self.neck(features)
        return concat_scales(features)

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

    def _pixel_logits(self, features: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
        # The other head stands in for a missing one: their fusion is then its map, for any alpha.
        salient = transferred = None
        if self.salient_head is not None:
            salient = _upsample(self.salient_head(features), size)
        if self.transferred_head is not None:
            transferred = _upsample(self.transferred_head(features, self.weak_head), size)
        return (
            transferred if salient is None else salient,
            salient if transferred is None else transferred,
        )


def _upsample(logits: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(logits, size, mode='bilinear', align_corners=False)
