"""ExecuTorch artifacts in bundles."""

SCALE = "scale_"
"""What ExecuTorch puts before the hash that names per-channel scales."""
