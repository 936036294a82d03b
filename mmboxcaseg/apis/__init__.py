"""What other programs call."""

from .inference import BoxCasegPredictor, init_model

__all__ = ['BoxCasegPredictor', 'init_model']
