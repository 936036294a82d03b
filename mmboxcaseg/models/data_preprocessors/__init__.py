"""From the patches of a batch to what the network reads."""

from .patch_preprocessor import PatchPreprocessor

__all__ = ['PatchPreprocessor']
