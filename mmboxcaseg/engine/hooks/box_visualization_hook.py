"""Pictures of the masks that a test predicts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.hooks import Hook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement

from mmboxcaseg.fileio import check_output, write_bytes
from mmboxcaseg.images import DEFAULT_READER, ImageReader
from mmboxcaseg.proxy import decode_rle, mask_of
from mmboxcaseg.registry import HOOKS
from mmboxcaseg.visualization.draw import draw_instance, make_sheet


@HOOKS.register_module()
class BoxVisualizationHook(Hook):
    """Draw each box that is tested, with its predicted masks and, where it is known, the true one.

    ``tools/test.py --show`` and ``--show-dir`` ask for it. A picture has a tile for each map that
    the network predicts; its file is named by the image and the annotation. The arguments are named
    as those of mmdet's ``DetVisualizationHook``, which draws whole images and knows no maps.

    Args:
        draw: Whether to draw at all.
        show: Whether pictures are shown in a window.
        wait_time: Seconds for which each is shown.
        test_out_dir: Folder that gets them, below that of the run's log.

    Raises:
        InputError: If the folder cannot be written to.
    """

    def __init__(
        self,
        draw: bool = False,
        show: bool = False,
        wait_time: float = 2,
        test_out_dir: str | None = None,
    ) -> None:
        self.draw = draw
        self.show = show
        self.wait_time = wait_time
        self.test_out_dir = test_out_dir

    def before_test(self, runner: Runner) -> None:
        """Make the folder."""
        if self.draw and self.test_out_dir:
            check_output(self._file(runner, 'any'), suffixes=('.jpg',))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: Sequence[BaseDataElement] | None = None,
    ) -> None:
        """Draw a batch."""
        if not self.draw:
            return
        from mmboxcaseg.engine.reading import reading_of  # which needs configs, and they hooks

        reader = reading_of(runner.cfg.get('test_dataloader'))
        for sample in outputs:
            name = Path(sample.img_path).stem
            if 'ann_id' in sample:
                name += f'_{sample.ann_id}'.replace('/', '_')
            picture = draw_sample(sample, reader)
            if self.show:
                runner.visualizer.show(picture[..., ::-1], name, self.wait_time)
            if self.test_out_dir:
                jpeg = cv2.imencode('.jpg', picture)[1].tobytes()
                write_bytes(jpeg, self._file(runner, name))

    def _file(self, runner: Runner, name: str) -> Path:
        return Path(runner.work_dir, runner.timestamp, self.test_out_dir, f'{name}.jpg')


def draw_sample(sample: BaseDataElement, reader: ImageReader = DEFAULT_READER) -> np.ndarray:
    """Draw a box with its predicted masks, see :func:`mmboxcaseg.visualization.draw.draw_instance`.

    Args:
        sample: A data sample with ``pred_maps``, as :meth:`mmboxcaseg.models.BoxCaseg.predict`
            gives it. One of a salient image, without a ``bbox``, has that of its patch.
        reader: How its image is read.

    Returns:
        (h, w, 3) uint8 BGR, a tile for each map with the map's name.
    """
    img, shape = reader.read(sample.img_path), tuple(sample.ori_shape)
    bbox = np.asarray(sample.bbox if 'bbox' in sample else sample.patch_bbox, dtype=np.float64)
    true_mask = None
    if 'segmentation' in sample:
        true_mask = decode_rle(sample.segmentation, shape)
    elif 'gt_sem_seg' in sample and sample.gt_sem_seg.shape == shape:
        true_mask = sample.gt_sem_seg.sem_seg[0].cpu().numpy().astype(bool)
    names = sorted(sample.pred_maps.keys())
    tiles = []
    for name in names:
        prob = sample.pred_maps.get(name)[0].cpu().numpy()
        window, (x, y), _ = mask_of(prob, bbox, shape, sample.threshold, sample.get('slack', 0.0))
        mask = np.zeros(shape, dtype=bool)
        mask[y : y + window.shape[0], x : x + window.shape[1]] = window
        tiles.append(draw_instance(img, bbox, mask, true_mask))
    return make_sheet(tiles, names, columns=len(names))
