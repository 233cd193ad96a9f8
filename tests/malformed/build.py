"""Write the malformed files: `python -m tests.malformed.build`. expected.json says how each is refused."""

from pathlib import Path

from tests.malformed.bundles import write_bundles
from tests.malformed.checkpoints import write_checkpoints

HERE = Path(__file__).parent


def write_all(folder: Path) -> None:
    """Write bundles/ and checkpoints/ below `folder`."""
    write_bundles(folder / "bundles")
    write_checkpoints(folder / "checkpoints")


if __name__ == "__main__":
    write_all(HERE)
