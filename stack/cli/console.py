"""Output of the commands: a console for results, one for notes, JSON, tables, progress."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stack.cli.text import as_json, as_json_line, visible

if TYPE_CHECKING:
    from stack.runtimes.native import Status

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, for scripts.")]
PIPE_WIDTH = 250  # columns when the output is not a terminal
KEPT = "\n\t"  # control characters that are printed as they are
UNLIMITED = 10_000  # columns
KEPT_COLUMNS = 2  # of the table of components, on any terminal
LOG_FILE = "log file"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Exit quietly when the reader closed the pipe, as in `logstack logs | head`."""
        with suppress(SystemExit):
            super().on_broken_pipe()
        raise SystemExit(0)

    def render_str(self, text: str, **options: Any) -> Text:
        """Text as it is, also in tables: control characters are shown and markup is not applied."""
        return super().render_str(visible(text, keep=KEPT), **options)


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return _Console(
        stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width
    )


out = _console(stderr=False)
err = _console(stderr=True)

STATE_STYLES = {"healthy": "green", "idle": "dim", "starting": "yellow", "restarting": "yellow"}
FINAL_STATES = ("healthy", "idle", "built", "done", "failed")


def confirm(question: str, yes: bool, what: str, command: str) -> None:
    """Ask unless `yes`. Raises Exit where the answer is no, or nobody can answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        note(f"cannot {what}: nobody can answer here. Run: {command}", "red")
        raise typer.Exit(1)
    if not typer.confirm(question, err=True):
        note("Nothing was changed.")
        raise typer.Exit(1)


def note(text: str, style: str = "") -> None:
    """Print a note to standard error; results go to standard output."""
    err.print(plain(text, style))


def plain(text: str, style: str = "") -> Text:
    """Untrusted text in a style: newlines and tabs stay, other control characters are shown."""
    return Text(visible(text, keep=KEPT), style=style)


def print_json(value: object, *, indent: int | None = None) -> None:
    """Print a result as JSON, on one line without `indent`."""
    only_ascii = not out.encoding.startswith("utf")
    _print_raw(as_json(value, indent=indent, only_ascii=only_ascii))


def print_json_line(record: Mapping[str, object]) -> None:
    """Print a record as one line of JSON."""
    _print_raw(
        as_json_line(record) if out.encoding.startswith("utf") else as_json(record, only_ascii=True)
    )


def _print_raw(text: str) -> None:
    """Rich, which has nothing to do here, would take most of the time of a search."""
    try:
        out.file.write(f"{text}\n")
        out.file.flush()
    except BrokenPipeError:
        out.on_broken_pipe()


def print_statuses(statuses: list[Status], *, detailed: bool = True) -> None:
    """One row per component; `detailed` adds uptime and number of restarts.

    Columns for which the terminal is too narrow are left out, from the right.
    """
    rows = [_status_cells(item) for item in statuses]
    columns = [name for name in rows[0] if detailed or name not in ("up", "restarts")]
    everything = out.options.update(width=UNLIMITED)
    while len(columns) > KEPT_COLUMNS and (
        out.measure(_status_table(rows, columns), options=everything).minimum > out.width
    ):
        columns.pop()
    out.print(_status_table(rows, columns))
    if LOG_FILE not in columns:
        out.print(f"Log files: {os.path.dirname(shorten_path(statuses[0].log))}/<component>.log")  # noqa: PTH120


def _status_cells(item: Status) -> dict[str, Text]:
    """The cell of each column, in their order."""
    state = f"{item.state} ({item.note})" if item.note else item.state
    return {
        "component": plain(item.name),
        "state": plain(state, STATE_STYLES.get(item.state, "bold red")),
        "up": plain(_uptime(item.uptime_s) if item.pid else "-"),
        "restarts": plain(str(item.restarts)),
        "address": plain(item.address),
        LOG_FILE: plain(shorten_path(item.log)),
    }


def _status_table(rows: list[dict[str, Text]], columns: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name != "state")
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def shorten_path(path: str) -> str:
    """Relative to the working directory where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path


class Progress:
    """One live line per name with its current step; plain lines when there is no terminal."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()
        from rich.live import Live  # most commands show no progress

        self._live = Live(console=err, get_renderable=self._table, transient=True)

    def update(self, name: str, text: str) -> None:
        """Show `text` as the current step of `name`."""
        with self._lock:
            known = self._lines.get(name)
            self._lines[name] = (text, known[1] if known else time.monotonic())
        milestone = text in FINAL_STATES or known is None
        if not err.is_terminal and milestone and (known is None or known[0] != text):
            note(f"{name}: {text}")

    def stop_on_terminal(self) -> None:
        """Remove the display before results are printed on the same terminal."""
        if out.is_terminal:
            self._live.stop()

    def _table(self) -> Table:
        from rich.spinner import Spinner

        table = Table.grid(padding=(0, 1))
        with self._lock:
            for name, (text, since) in self._lines.items():
                done = text in FINAL_STATES
                mark = Text("✓", "green") if done else Spinner("dots")
                elapsed = "" if done else f"{time.monotonic() - since:.0f}s"
                table.add_row(mark, name, Text(elapsed, "dim"), plain(text[:70], "dim"))
        return table


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress while the block runs."""
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
