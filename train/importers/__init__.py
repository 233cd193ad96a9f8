"""Checkpoints that others published, read without trusting them and renamed to this project's tensors."""
