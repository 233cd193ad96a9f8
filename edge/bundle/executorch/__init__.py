"""ExecuTorch artifacts in bundles."""
