"""One way to print figures for every bench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """A figure as text, with its unit, and what the project aims for (empty: nothing)."""

    name: str
    value: str
    aim: str = ""


def print_table(title: str, rows: Sequence[Row]) -> None:
    table = Table("figure", "measured", "aim", title=title, title_justify="left", box=None)
    for row in rows:
        table.add_row(row.name, row.value, row.aim)
    Console(highlight=False).print(table)
