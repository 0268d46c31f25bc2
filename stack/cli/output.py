"""What the commands print with: a console for results, one for remarks, tables, progress."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from stack.native import Status

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

STATE_STYLES = {"healthy": "green", "starting": "yellow", "restarting": "yellow"}
FINAL_STATES = ("healthy", "built", "failed")


def say(text: str, style: str = "") -> None:
    """A remark for people; results go to standard output instead."""
    err.print(Text(text, style=style))


def status_table(statuses: list[Status]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("component", "state", "up", "restarts", "address", "log file"):
        table.add_column(heading, overflow="fold")
    for item in statuses:
        state = f"{item.state} ({item.note})" if item.note else item.state
        table.add_row(
            item.name,
            Text(state, style=STATE_STYLES.get(item.state, "bold red")),
            _uptime(item.uptime_s) if item.pid else "-",
            str(item.restarts),
            Text(item.address),
            Text(shorten_path(item.log)),
        )
    return table


def shorten_path(path: str) -> str:
    """Relative to the working directory where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path


def in_bytes(size: int) -> str:
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


class Progress:
    """One line per name that says what is going on; plain lines where there is no terminal."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()
        self._live = Live(console=err, get_renderable=self._table, transient=True)

    def update(self, name: str, text: str) -> None:
        with self._lock:
            known = self._lines.get(name)
            self._lines[name] = (text, known[1] if known else time.monotonic())
        milestone = text in FINAL_STATES or known is None
        if not err.is_terminal and milestone and (known is None or known[0] != text):
            say(f"{name}: {text}")

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            for name, (text, since) in self._lines.items():
                done = text in FINAL_STATES
                mark = Text("✓", "green") if done else Spinner("dots")
                elapsed = "" if done else f"{time.monotonic() - since:.0f}s"
                table.add_row(mark, name, Text(elapsed, "dim"), Text(text[:70], "dim"))
        return table


@contextmanager
def progress() -> Iterator[Progress]:
    display = Progress()
    if err.is_terminal:
        with display._live:
            yield display
    else:
        yield display


def _uptime(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def relative_to_here(path: Path) -> str:
    return shorten_path(str(path))
