"""Where the native runner's test data is (`build.py` writes it), and what it holds."""

from pathlib import Path

DATA = Path(__file__).parent / "files"
NETWORKS = DATA / "networks"
ROUTING = DATA / "routing.pte"
ROUTING_IMAGE = (1, 3, 2, 2)
ROUTING_LOGITS = 4
ROUTING_WIDTHS = (0, 1, 2, 4, 5, 7, 9, 13)
ROUTING_CLASSES = 14
