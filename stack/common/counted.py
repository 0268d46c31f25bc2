"""Numbers of things in sentences: `1 record`, `2 records`."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun; `many` is the plural where it is not the noun and `s`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
