"""Proxy masks in mmdet's own format, with what their file says about how good each is."""

from __future__ import annotations

from mmboxcaseg.coco.proxies import Proxy, load_proxies
from mmboxcaseg.proxy import empty_rle
from mmboxcaseg.registry import DATASETS

from .mended_coco import MendedCocoDataset


@DATASETS.register_module()
class ProxyCocoDataset(MendedCocoDataset):
    """``MendedCocoDataset``, whose instances carry the numbers of their proxy masks.

    Each has the ``box_agreement`` and the ``quality`` that the file gives it, where it gives one;
    of crowds both are 0. ``mmboxcaseg.MergeProxyMasks`` and ``mmboxcaseg.DropProxyMasks`` go by
    them.

    Only some boxes of a file may have a mask. Where the file gives no numbers these masks are true
    ones, of agreement and quality 1. A box without a mask gets an empty one, of agreement and
    quality 0: with ``mmboxcaseg.ProxyMaskHead`` it trains boxes and classes, but no masks. An
    ``area`` that is missing is the box's.

    Raises:
        InputError: If the file is not one of proxy masks; see :func:`mmboxcaseg.coco.load_proxies`.
    """

    def load_data_list(self) -> list[dict]:
        """Read the file."""
        self._proxies = load_proxies(self.ann_file, partial=True)
        data_list = super().load_data_list()
        del self._proxies
        return data_list

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Parse an image as ``CocoDataset`` does; it may leave annotations out."""
        info = super().parse_data_info(dict(raw_data_info, raw_ann_info=[]))
        empty = empty_rle((info['height'], info['width']))
        for annotation in raw_data_info['raw_ann_info']:
            proxy = self._proxies.get(annotation['id'], Proxy(None, 0.0, 0.0))
            annotation = dict(annotation)
            if not annotation.get('segmentation') or (proxy.rle and proxy.is_empty):
                annotation['segmentation'] = empty
            known = dict(box_agreement=proxy.box_agreement, quality=proxy.quality)
            known = {name: value for name, value in known.items() if value is not None}
            alone = dict(raw_data_info, raw_ann_info=[annotation])
            for instance in super().parse_data_info(alone)['instances']:
                info['instances'].append(instance | known)
        return info
