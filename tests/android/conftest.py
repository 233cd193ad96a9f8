import pytest

from tests.android.kotlin import MissingToolError, Tools, find_tools


@pytest.fixture(scope="session")
def tools() -> Tools:
    """Return what compiles and runs Kotlin; skips, with the reason, where this machine lacks some of it."""
    try:
        return find_tools()
    except MissingToolError as missing:
        pytest.skip(str(missing))
