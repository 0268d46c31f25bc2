"""`python -m bench.drills [--long] [NAME...]` runs drills: what each lost, what named it.

Ctrl-C and SIGTERM stop the stack of the drill; what is left is killed when this process ends.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.drills.drill import Drill, Outcome
from bench.drills.table import DRILLS
from stack import artifacts, settings
from tests.support.watcher import watch_this_process

COLUMNS = ("drill", "for", "sent", "stored", "doubled", "s until seen", "", "doctor", "alert")


def main(arguments: list[str]) -> int:
    """0: nothing was lost beyond what README says, and every fault was named; 1: something was.

    2: a name is unknown. 130: interrupted.
    """
    is_long = "--long" in arguments
    names = [name for name in arguments if name != "--long"]
    known = {drill.name: drill for drill in DRILLS}
    if unknown := [name for name in names if name not in known]:
        sys.stderr.write(f"drill: expected {', '.join(known)}, got {', '.join(unknown)}\n")
        return 2
    watch_this_process()
    # Started in the background, it would ignore Ctrl-C, and so would what it starts.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    artifacts.ensure_all(settings.load({}), lambda name, text: None)
    table = Table(*COLUMNS, box=None)
    failed = interrupted = False
    try:
        for drill in [known[name] for name in names] or DRILLS:
            seconds = drill.long if is_long else drill.short
            if seconds is not None:
                failed |= not add(table, drill, seconds)
    except KeyboardInterrupt:
        interrupted = True
    Console(highlight=False, width=240).print(table)
    return 130 if interrupted else int(failed)


def add(table: Table, drill: Drill, seconds: float) -> bool:
    """Run a drill and add its row to the table; whether it did as it should."""
    sys.stderr.write(f"{drill.name}: {drill.fault}, {seconds:g} s\n")
    if reason := drill.needs():
        table.add_row(drill.name, "", "", "", "", "", reason)
        return True
    try:
        outcome = run(drill, seconds)
    except AssertionError as error:
        lines = str(error).splitlines()
        cause = next((line for line in lines if line.startswith("cannot ")), lines[0])
        table.add_row(drill.name, f"{seconds:g} s", "", "", "", "", f"stopped: {cause}")
        return False
    table.add_row(*row(drill, seconds, outcome))
    Console(highlight=False, stderr=True).print(outcome)
    return not drill.faults(outcome)


def run(drill: Drill, seconds: float) -> Outcome:
    """One drill, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="drill ") as folder:
        return drill.run(Path(folder), seconds)


def row(drill: Drill, seconds: float, outcome: Outcome) -> list[str]:
    figures = (outcome.sent, outcome.stored, outcome.doubled)
    texts = [f"{figure:,}" for figure in figures]
    named = (outcome.doctor or "nothing", outcome.alert or "nothing")
    seen = f"{outcome.seconds:.1f}"
    return [drill.name, f"{seconds:g} s", *texts, seen, outcome.note, *named]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
