"""Samplers of mixed batches."""

from .ratio_sampler import RatioSampler, batch_counts

__all__ = ['RatioSampler', 'batch_counts']
