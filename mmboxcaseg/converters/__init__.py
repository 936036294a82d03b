"""Data sets and checkpoints of others, made into files that this package reads."""
