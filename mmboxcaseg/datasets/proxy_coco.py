"""Proxy masks in mmdet's own format, with what is known about how good each is."""

from __future__ import annotations

from mmdet.datasets import CocoDataset

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy.coco import wants_mask
from mmboxcaseg.registry import DATASETS


@DATASETS.register_module()
class ProxyCocoDataset(CocoDataset):
    """mmdet's ``CocoDataset``, whose instances carry the ``quality`` of their proxy masks.

    ``mmboxcaseg.DropProxyMasks(min_quality=...)`` needs it; for all else a ``CocoDataset`` will do.
    A box without a mask has the quality 0.

    Raises:
        InputError: If an annotation has a mask and no quality.
    """

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Parse an image as ``CocoDataset`` does; it may leave annotations out."""
        info = super().parse_data_info(dict(raw_data_info, raw_ann_info=[]))
        for annotation in raw_data_info['raw_ann_info']:
            alone = dict(raw_data_info, raw_ann_info=[annotation])
            for instance in super().parse_data_info(alone)['instances']:
                quality = self._quality(annotation)
                info['instances'].append(dict(instance, quality=quality))
        return info

    def _quality(self, annotation: dict) -> float:
        if 'quality' in annotation:
            return annotation['quality']
        if wants_mask(annotation) and annotation.get('box_agreement') != 0:
            raise InputError(
                f'annotation {annotation["id"]} of {self.ann_file} has no quality: make the file '
                'with tools/generate_proxy_masks.py, or drop by min_agreement alone'
            )
        return 0.0
