"""Test-time augmentation in OpenMMLab's way: several views of a patch, one map."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmdet.structures import DetDataSample
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmboxcaseg.proxy import check_calibration
from mmboxcaseg.registry import MODELS

# Axes of a (..., H, W) map that each direction of mmdet's ``RandomFlip`` turns round.
_FLIP_AXES = dict(horizontal=(-1,), vertical=(-2,), diagonal=(-2, -1))


@MODELS.register_module()
class BoxCasegTTAModel(BaseTTAModel):
    """A BoxCaseg whose maps are the means over several views of each box.

    Views differ in the margin and size of their ``BoxPatch`` and in their flip; every map is that
    of the box, so they lie on each other once the flips are undone and the smaller ones are
    enlarged. Use it as a config's ``tta_model``, beside a ``tta_pipeline`` with ``TestTimeAug``,
    and ``tools/test.py --tta``.

    Args:
        module: Config of the BoxCaseg.
        calibration: Slope and offset of the quality of masks of these means, see
            :func:`mmboxcaseg.proxy.expected_iou`: the mean of several maps is less sure of itself
            than one. By default that of the BoxCaseg's ``test_cfg``.
        **kwargs: As in mmengine's ``BaseTTAModel``.

    Raises:
        InputError: If the calibration is none.
    """

    def __init__(
        self,
        module: dict | nn.Module,
        calibration: tuple[float, float] | None = None,
        **kwargs,
    ) -> None:
        if calibration is not None:
            check_calibration('tta_model.calibration', calibration)
        super().__init__(module, **kwargs)
        self.calibration = calibration and tuple(calibration)

    def merge_preds(self, data_samples_list: Sequence[Sequence[DetDataSample]]) -> list:
        """Average the maps of each patch.

        Args:
            data_samples_list: For every patch its views, each with ``pred_maps``.

        Returns:
            The data sample of each patch's first view, with the mean ``pred_maps``, as high as the
            highest and as wide as the widest, and its ``calibration``, if it has one of its own.
        """
        for first, *others in data_samples_list:
            names = first.pred_maps.keys()
            first.pred_maps = PixelData(**{name: _mean((first, *others), name) for name in names})
            if self.calibration:
                first.set_metainfo(dict(calibration=self.calibration))
        return [first for first, *_ in data_samples_list]


def _mean(views: Sequence[DetDataSample], name: str) -> Tensor:
    maps = [_unflipped(view, name) for view in views]
    size = tuple(max(prob.shape[axis] for prob in maps) for axis in (-2, -1))
    return sum(
        prob if prob.shape[-2:] == size else F.interpolate(prob[None], size, mode='bilinear')[0]
        for prob in maps
    ) / len(maps)


def _unflipped(view: DetDataSample, name: str) -> Tensor:
    prob = view.pred_maps.get(name)
    return prob.flip(_FLIP_AXES[view.flip_direction]) if view.get('flip') else prob
