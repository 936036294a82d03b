"""What runs the training: checkpoints, checks and hooks."""
