"""From the patches of a batch to what the network reads."""

from .patch_preprocessor import PatchPreprocessor, collate_patches, resize_patches

__all__ = ['PatchPreprocessor', 'collate_patches', 'resize_patches']
