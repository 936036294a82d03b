"""What other programs call."""

from .inference import BoxCasegPredictor, View, init_model

__all__ = ['BoxCasegPredictor', 'View', 'init_model']
