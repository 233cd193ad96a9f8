"""How every command is told which widths are meant: `all`, or indices such as `0,3`."""

from common.errors import DsnetError


def parse_widths(text: str, option: str = "--widths") -> tuple[int, ...] | None:
    """Return the indices that an option names, ascending and distinct, or None for "all"; else a DsnetError."""
    if text == "all":
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 5 for part in parts):
        raise DsnetError(f"{option} {text!r} is not a list of widths; give all, or indices such as 0,3")
    return tuple(sorted({int(part) for part in parts}))
