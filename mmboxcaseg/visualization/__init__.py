"""Drawing of masks and of training curves, and the report on masks."""
