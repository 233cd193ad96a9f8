"""Write the malformed files: `python -m tests.malformed.build`. expected.json says how each is refused."""

from pathlib import Path

from tests.malformed.bundles import write_bundles
from tests.malformed.checkpoints import write_checkpoints
from tests.malformed.recipes import write_recipes

HERE = Path(__file__).parent


def write_all(folder: Path) -> None:
    """Write bundles/, checkpoints/ and recipes/ below `folder`."""
    write_bundles(folder / "bundles")
    write_checkpoints(folder / "checkpoints")
    write_recipes(folder / "recipes")


if __name__ == "__main__":
    write_all(HERE)
