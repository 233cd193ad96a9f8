"""Where the native runner's test data is (`build.py` writes it), and what it holds."""

from pathlib import Path

DATA = Path(__file__).parent / "files"
NETWORKS = DATA / "networks"
ROUTING = DATA / "routing.pte"
ROUTING_IMAGE = (1, 3, 9, 9)
ROUTING_GATES = (1, 2, 3, 4, 14)
"""Gates of this many logits: the first numbers of the image."""
ROUTING_TRUNK_GATES = 8
"""Of a network with gates on the trunk: each gives as many numbers of the image as the largest gate, one's after the
other's."""
ROUTING_WIDTHS = 14
ROUTING_CLASSES = 14
"""Logits of every net: as many numbers of the image, one net's after the other's, behind those of the largest gate."""
