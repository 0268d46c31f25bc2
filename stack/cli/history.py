"""`logstack import`: bring older files into the engine."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from stack import settings
from stack.checks.explain import entry_of
from stack.cli.console import note, out, plain, progress, shorten_path
from stack.cli.environment import require_this_machine
from stack.common.counted import counted
from stack.components.log_sources import import_window
from stack.engines import EngineError
from stack.runtimes.history import HistoryError
from stack.runtimes.history.plan import Plan, Span
from stack.runtimes.history.run import History, Outcome
from stack.runtimes.selection import running
from stack.runtimes.single_run import AgentError, find_program
from stack.settings.tables import FileSource
from stack.settings.targets import Target


def register(app: typer.Typer) -> None:
    app.command("import")(run)


def run(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Log files, also .gz, .xz, .bz2 and .zst."),
    ],
    service: Annotated[str, typer.Option(help="The service of lines that do not name one.")],
    format: Annotated[
        str, typer.Option(help="What its lines are, as `format` in [[agent.files]].")
    ] = "",
    encoding: Annotated[
        str, typer.Option(help="Their encoding, as `encoding` in [[agent.files]].")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be imported.")
    ] = False,
) -> None:
    """Bring older log files into the running engine, each record under its own time.

    The agent's rules apply. Records that the engine does not keep are counted and not sent. A
    second run imports nothing twice, and continues one that was interrupted.

    Example: logstack import /var/log/shop/shop.log.*.gz --service shop
    """
    require_this_machine("import files")
    now = running(settings.load())
    sources = [_source(now.target, file.absolute(), service, format, encoding) for file in files]
    outcomes: list[Outcome] = []
    failures: list[str] = []
    try:
        with progress() as display:
            program = find_program(now.target.settings, display.update)
            history = History(now.target, program, now.secrets_dir / "import")
            with history.open():
                for source in sources:
                    show = partial(display.update, shorten_path(source.path))
                    try:
                        outcomes.append(history.run(source, show, dry_run=dry_run))
                    except (HistoryError, AgentError, EngineError, OSError) as error:
                        failures.append(_explain(source.path, error))
                    show("done")
    finally:  # also of the files before an interruption
        for outcome in outcomes:
            _print(outcome, now.target, dry_run=dry_run)
        for text in failures:
            note(text, "red")
    if failures:
        raise typer.Exit(1)


def _explain(path: str, error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text if path in text else f"cannot import {path}: {text}"


def _source(target: Target, path: Path, service: str, format: str, encoding: str) -> FileSource:
    """How the file is read: as the service's files, unless options say otherwise."""
    entry = entry_of(target.settings, service, None)
    values = {**entry.model_dump(), "path": str(path), "service": service}
    given = {"format": format, "encoding": encoding}
    values |= {key: value for key, value in given.items() if value}
    try:
        return FileSource.model_validate(values)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        got = values[key]
        raise typer.BadParameter(
            f"expected what agent.files takes, got {got!r}", param_hint=f"--{key}"
        ) from None


def _print(outcome: Outcome, target: Target, *, dry_run: bool) -> None:
    file = shorten_path(str(outcome.file))
    if outcome.delivery is None:
        out.print(plain(f"imported nothing of {file}: all of it was imported before"))
        return
    plan = outcome.delivery.plan
    verb = "would import" if dry_run else "imported"
    times = f" ({plan.sent.text})" if plan.sent.count else ""
    out.print(
        plain(
            f"{verb} {counted(plan.sent.count, 'record')} of {counted(plan.lines, 'line')} from "
            f"{file}{times}"
        )
    )
    for text in _left_out(plan, target):
        note(f"  {text}", "yellow")
    if outcome.is_continued:
        note("  an import of this file that was interrupted before was continued", "dim")
    if plan.untimed:
        note(
            f"  without a time: {counted(plan.untimed, 'record')}, which have that of the "
            "record before",
            "dim",
        )
    lacking = plan.sent.count - outcome.delivery.counted
    if not dry_run and lacking > 0:
        note(
            f"  the engine counts {counted(lacking, 'record')} fewer than were sent: it dropped "
            "them, or "
            "keeps one of equal ones. Its log says more. Run: ./logstack doctor",
            "yellow",
        )


def _left_out(plan: Plan, target: Target) -> list[str]:
    past, ahead = import_window(target)
    values = target.settings
    if target.has_archive:
        why = (
            f"more than {_length(past)} ago, which is the oldest that the archive takes late: "
            f"archive.lateness = {values.archive.lateness} less a day. To import them, set it to "
            f"{values.retention.hot_days}d (retention.hot_days), run make up and the same import"
        )
    else:
        why = f"more than {_length(past)} ago: retention.hot_days = {values.retention.hot_days}"
    found = [_describe(plan.old, why)] if plan.old.count else []
    if plan.ahead.count:
        found.append(
            _describe(plan.ahead, f"more than {_length(ahead)} ahead of this machine's clock")
        )
    if plan.lost_time:
        found.append(
            f"not sent: {counted(plan.lost_time, 'record')} whose time is in no usable range"
        )
    return found


def _describe(span: Span, why: str) -> str:
    return f"not sent: {counted(span.count, 'record')} {span.text}, {why}"


def _length(length: timedelta) -> str:
    """Such as `6 days` or `1 day 23 hours`."""
    hours = round(length.total_seconds() / 3600)
    parts = [(hours // 24, "day"), (hours % 24, "hour")]
    return " ".join(f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in parts if n)
