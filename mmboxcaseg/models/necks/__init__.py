"""What stands between a backbone and the heads."""

from .fine_neck import FineNeck

__all__ = ['FineNeck']
