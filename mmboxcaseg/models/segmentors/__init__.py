"""Segmentors that turn a box patch into a mask."""

from .box_caseg import BoxCaseg

__all__ = ['BoxCaseg']
