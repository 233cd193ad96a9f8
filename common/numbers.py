"""How every command is told several numbers: widths as `all` or `0,3`, thread counts as `1,4`."""

from common.errors import DsnetError


def parse_widths(text: str, option: str = "--widths") -> tuple[int, ...] | None:
    """Return the indices that an option names, ascending and distinct, or None for "all"; else a DsnetError."""
    if text == "all":
        return None
    return parse_numbers(text, option, range(10_000), "list of widths; give all, or indices such as 0,3")


def parse_numbers(text: str, option: str, valid: range, expected: str) -> tuple[int, ...]:
    """Return the numbers that an option lists, ascending and distinct; else a DsnetError: text is no `expected`."""
    parts = [part.strip() for part in text.split(",")]
    digits = len(str(valid.stop))  # what is longer is out of range, and never converted
    if not all(part.isascii() and part.isdigit() and len(part) <= digits and int(part) in valid for part in parts):
        raise DsnetError(f"{option} {text!r} is not a {expected}")
    return tuple(sorted({int(part) for part in parts}))
