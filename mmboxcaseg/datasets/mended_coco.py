"""mmdet's COCO dataset on files as people have them."""

from __future__ import annotations

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO

from mmboxcaseg.coco.annotations import load_coco
from mmboxcaseg.coco.repairs import mended, tell_faults
from mmboxcaseg.registry import DATASETS


class MendedCOCO(COCO):
    """mmdet's COCO API on a file that is mended in memory (:func:`mmboxcaseg.coco.repairs.mended`).

    Args:
        path: COCO file.
        scoring: Whether detections are scored with it.
        masks: Whether its masks are used.
        sort_categories: Whether categories stand in the order of their ids.

    Raises:
        InputError: If it is no COCO file.
    """

    def __init__(
        self,
        path: str,
        scoring: bool = False,
        masks: bool = True,
        sort_categories: bool = False,
    ) -> None:
        super().__init__()
        coco = load_coco(path)
        tell_faults(coco, scoring, masks)
        self.dataset = mended(coco, scoring)
        if sort_categories:
            self.dataset['categories'].sort(key=lambda category: category['id'])
        self.createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs


@DATASETS.register_module()
class MendedCocoDataset(CocoDataset):
    """mmdet's ``CocoDataset`` on a file that is mended in memory, which is said once.

    An area that is missing or 0, of which mmdet drops the box, is the box's; ``iscrowd`` may be
    text; a crowd without a mask has its box's.

    Raises:
        InputError: If the file is no COCO file.
    """

    COCOAPI = MendedCOCO
