"""Core ML packages from nested weights: rebuilt, merged, checked; needs neither coremltools nor an Apple machine."""
