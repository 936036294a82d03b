"""Drawing of masks and of training curves."""
