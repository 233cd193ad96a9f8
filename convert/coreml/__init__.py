"""Supernet → Core ML: packages as coremltools writes them, one nested store, templates of their files."""
