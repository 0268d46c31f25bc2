"""`python -m bench.drills [--long] [NAME...]` runs drills and prints what each lost."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.drills.drill import Drill, Outcome
from bench.drills.table import DRILLS
from stack import artifacts, settings


def main(arguments: list[str]) -> int:
    """0: nothing was lost beyond what README says; 1: something was; 2: an unknown name."""
    is_long = "--long" in arguments
    names = [name for name in arguments if name != "--long"]
    known = {drill.name: drill for drill in DRILLS}
    if unknown := [name for name in names if name not in known]:
        sys.stderr.write(f"drill: expected {', '.join(known)}, got {', '.join(unknown)}\n")
        return 2
    artifacts.ensure_all(settings.load({}), lambda name, text: None)
    table = Table("drill", "for", "sent", "stored", "doubled", "s until seen", "", box=None)
    failed = False
    for drill in [known[name] for name in names] or DRILLS:
        seconds = drill.long if is_long else drill.short
        if seconds is None:
            continue
        sys.stderr.write(f"{drill.name}: {drill.fault}, {seconds:g} s\n")
        if reason := drill.needs():
            table.add_row(drill.name, "", "", "", "", "", reason)
            continue
        try:
            outcome = run(drill, seconds)
        except AssertionError as error:
            failed = True
            cause = str(error).splitlines()[0]
            table.add_row(drill.name, f"{seconds:g} s", "", "", "", "", f"stopped: {cause}")
            continue
        failed |= outcome.lost != 0 and not drill.loses
        table.add_row(*row(drill, seconds, outcome))
        Console(highlight=False, stderr=True).print(outcome)
    Console(highlight=False, width=140).print(table)
    return int(failed)


def run(drill: Drill, seconds: float) -> Outcome:
    """One drill, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="drill ") as folder:
        return drill.run(Path(folder), seconds)


def row(drill: Drill, seconds: float, outcome: Outcome) -> list[str]:
    figures = (outcome.sent, outcome.stored, outcome.doubled)
    texts = [f"{figure:,}" for figure in figures]
    return [drill.name, f"{seconds:g} s", *texts, f"{outcome.seconds:.1f}", outcome.note]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
