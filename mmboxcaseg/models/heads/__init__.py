"""Segmentation heads of BoxCaseg."""

from .patch_heads import PatchHead, TransferredHead

__all__ = ['PatchHead', 'TransferredHead']
