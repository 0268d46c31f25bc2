"""The table in which every bench prints its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """A figure as text with its unit, and the project's target (empty: none)."""

    name: str
    value: str
    aim: str = ""


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Print the figures with a title."""
    table = Table("figure", "measured", "aim", title=title, title_justify="left", box=None)
    for row in rows:
        table.add_row(row.name, row.value, row.aim)
    Console(highlight=False).print(table)
