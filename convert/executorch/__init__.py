"""Supernet → ExecuTorch: one program without weights, one nested store, templates of plain files."""
