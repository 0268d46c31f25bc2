"""`logstack archive ...`: the one-year archive, and `logstack doctor`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from rich.table import Table
from rich.text import Text

from stack import settings
from stack.archive import ArchiveError, erase, restore, search, service, verify
from stack.archive.context import Archive, open_native
from stack.archive.lifecycle import describe, find_expired
from stack.archive.verify import NOT_THERE
from stack.cli.console import AsJson, out, plain, print_json, progress, say
from stack.cli.record_format import print_record
from stack.cli.time_range import FROM_TO, time_range
from stack.engines import Selection
from stack.engines.kinds import kind_of
from stack.records.contract import LEVELS
from stack.settings.targets import Target, read_started_settings
from stack.settings.targets import native as native_target
from stack.settings.units import format_bytes

From = Annotated[str, typer.Option("--from", help="Start: a duration ago (7d) or a time.")]
To = Annotated[str, typer.Option("--to", help="End: a duration ago, a time, or now.")]

group = typer.Typer(
    help="The one-year archive: export, verify, search, restore, erase.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    app.command("doctor")(diagnose)
    app.add_typer(group, name="archive")


def open_archive() -> Archive:
    """The archive of the stack that runs in this checkout."""
    return open_native(running_target())


def running_target() -> Target:
    """Where the stack of this checkout runs. Raises ArchiveError for the runtime without one."""
    values = settings.load()
    if read_started_settings(values, "docker"):
        raise ArchiveError(
            "wanted the native runtime, found the Docker runtime, which has no archive: its engine "
            "keeps records for retention.hot_days. Type: make down && RUNTIME=native make up"
        )
    return native_target(read_started_settings(values, "native") or values)


def diagnose(
    as_json: AsJson = False,
    environment: Annotated[
        str, typer.Option("--env", help="Examine the hosts of this environment instead.")
    ] = "",
) -> None:
    """Ask the running stack whether rules, retention and archive are as the settings say.

    Example: logstack doctor --env staging
    """
    # Imported here, because they take longer than a search needs to begin.
    from stack.checks import doctor
    from stack.cli import hosts as hosts_commands

    if environment:
        hosts_commands.run_on_hosts("doctor", environment)
        return
    target = running_target()
    archive = open_native(target)
    try:
        findings = doctor.run(archive, target)
    finally:
        archive.store.close()
    if as_json:
        print_json([asdict(item) for item in findings], indent=2)
    else:
        table = Table("", "check", "found", box=None, pad_edge=False, header_style="bold")
        for item in findings:
            mark = Text("✓", "green") if item.ok else Text("✗", "bold red")
            table.add_row(mark, item.check, item.text)
        out.print(table)
    if not all(item.ok for item in findings):
        raise typer.Exit(1)


@group.command("run")
def run(
    now: Annotated[bool, typer.Option("--now", help="Also the hour under way.")] = False,
    every_interval: Annotated[
        bool, typer.Option("--every-interval", help="Go on for ever, as the stack's archiver does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Archive every complete hour that is not archived yet, and let verified days go.

    Example: logstack archive run --now
    """
    if every_interval:
        service.run_for_ever(open_archive, say)
        return
    archive = open_archive()
    with progress() as display:
        result = service.run(archive, include_current=now, on_progress=display.update)
    if as_json:
        print_json(asdict(result))
        return
    exported = result.exported
    out.print(
        f"Archived {exported.records} records of {exported.hours} hours in {exported.parts} parts: "
        f"{format_bytes(exported.raw_bytes)}, {format_bytes(exported.compressed_bytes)} compressed."
    )
    for day, count in result.gate.shortened.items():
        out.print(f"{count} records of {day} leave the engine before the day: retention.shorter.")
    for day, problems in result.gate.kept.items():
        say(f"{day} is over its time in the engine and stays: {problems[0]}", "red")


@group.command("verify")
def check(
    since: From = "",
    until: To = "",
    deep: Annotated[bool, typer.Option("--deep", help="Read every part back.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the chain of manifests, the parts and the engine's counts; exit status 1 for a problem.

    Example: logstack archive verify --from 7d --deep
    """
    start, end = time_range(since or "1970-01-01", until or "now", FROM_TO)
    archive = open_archive()
    try:
        with progress() as display:
            report = verify.run(
                archive,
                start if since else None,
                end if until else None,
                deep=deep,
                on_progress=display.update,
            )
    finally:
        archive.store.close()
    if as_json:
        print_json(report.as_dict(), indent=2)
    else:
        out.print(
            f"{report.manifests} manifests, {report.hours} hours, {report.parts} parts, "
            f"{report.records} records; {report.hours_compared_with_engine} hours compared with "
            f"the engine; parts {'read back' if deep else 'listed (--deep reads them)'}."
        )
        say_expired(archive, report.hours_expired)
        for note in report.notes:
            out.print(plain(f"note: {note.text}", "dim"))
        for problem in report.problems:
            out.print(plain(f"{problem.kind}: {problem.text}", "red"))
        out.print("No problem was found." if report.ok else f"{len(report.problems)} problems.")
    if not report.ok:
        raise typer.Exit(1)


@group.command("search")
def find(
    since: From = "365d",
    until: To = "now",
    service_name: Annotated[str, typer.Option("--service", help="Only this service.")] = "",
    level: Annotated[str, typer.Option(help="This level and the more severe ones.")] = "",
    request_id: Annotated[str, typer.Option(help="Only this request or job.")] = "",
    match: Annotated[list[str] | None, typer.Option(help="Only records with field=value.")] = None,
    grep: Annotated[str, typer.Option(help="Regular expression in message or traceback.")] = "",
    number: Annotated[int, typer.Option("-n", min=1, help="At most this many.")] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON record a line.")] = False,
) -> None:
    """Search the archive itself, oldest records first; nothing has to be restored.

    Example: logstack archive search --from 2026-01-31 --to 2026-02-01 --level ERROR
    """
    if level and level.upper() not in LEVELS:
        raise typer.BadParameter(
            f"wanted one of {', '.join(LEVELS)}, found {level!r}", param_hint="--level"
        )
    exact = {"service_name": service_name, "request_id": request_id}
    exact |= dict(_pair("--match", text) for text in match or [])
    start, end = time_range(since, until, FROM_TO)
    selection = Selection(
        since=start,
        until=end,
        level=level.upper(),
        grep=grep,
        matches={name: value for name, value in exact.items() if value},
    )
    archive = open_archive()
    found = 0
    expired: list[int] = []
    try:
        with (
            progress() as display,
            closing(
                search.run(
                    archive,
                    selection,
                    limit=number + 1,
                    on_progress=display.update,
                    on_expired=expired.append,
                )
            ) as records,
        ):
            for record in records:
                if found == number:
                    say(f"Only the oldest {number} records are shown; -n shows more.", "dim")
                    break
                found += 1
                display.give_way()
                print_record(record, as_json)
    finally:
        archive.store.close()
    if not found:
        say("No archived records match.", "dim")
    say_expired(archive, sum(expired))


@group.command("restore")
def bring_back(
    since: From,
    until: To,
    service_name: Annotated[
        list[str] | None, typer.Option("--service", help="Only this service; can be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only the estimate.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring archived records back into a second engine, beside the hot ones.

    Example: logstack archive restore --from 2026-01-31 --to 2026-02-01
    """
    start, end = time_range(since, until, FROM_TO)
    wanted = restore.Wanted(start, end, frozenset(service_name or []))
    archive = open_archive()
    try:
        planned = restore.estimate(archive, wanted)
        say(
            f"{planned.records} records of {planned.hours} hours, "
            f"{format_bytes(planned.compressed_bytes)} to read, "
            f"{format_bytes(planned.raw_bytes)} of lines, about {max(1, round(planned.seconds))} s."
        )
        say_expired(archive, planned.expired_hours)
        if dry_run:
            if as_json:
                print_json(asdict(planned))
            return
        with progress() as display:
            result = restore.run(archive, wanted, on_progress=display.update)
    finally:
        archive.store.close()
    if as_json:
        print_json(asdict(result))
        return
    out.print(f"{result.records} records restored, {result.present} are there now. Read them with")
    out.print(f"  ./logstack logs --restored --since {since} --until {until}")
    out.print("and drop them again with\n  ./logstack archive unrestore")


@group.command("unrestore")
def drop_restored() -> None:
    """Drop everything that was restored; the archive keeps it.

    Example: logstack archive unrestore
    """
    from stack.runtimes import native  # as above

    values = running_target().settings
    kind = kind_of(values)
    if not kind.restored_tenant:
        native.empty(values, kind.restored_component)
        say("The engine for restored records is empty.")
        return
    archive = open_archive()
    try:
        days = restore.drop_days(archive)
    finally:
        archive.store.close()
    say(f"Loki was told to delete {len(days)} restored days: it hides them within five minutes")
    say("and frees their room some hours later. A restore before that takes the deletion back.")


@group.command("erase")
def forget(
    match: Annotated[str, typer.Option(help="field=value of the records to erase.")],
    reason: Annotated[str, typer.Option(help="Why; the tombstone keeps it for good.")],
    as_json: AsJson = False,
) -> None:
    """Erase records from the archive where its locks allow it; a signed tombstone stays.

    Example: logstack archive erase --match user_id=123 --reason "request of 2026-01-31"
    """
    name, value = _pair("--match", match)
    if not reason.strip():
        raise typer.BadParameter("wanted a reason, found nothing", param_hint="--reason")
    archive = open_archive()
    try:
        with progress() as display:
            result = erase.run(archive, name, value, reason, on_progress=display.update)
    finally:
        archive.store.close()
    say_expired(archive, result.expired_hours)
    if as_json:
        print_json(asdict(result))
        return
    out.print(
        f"Erased {result.records} records of {result.hours} hours; {len(result.deleted)} objects "
        "were deleted."
    )
    out.print("The engine keeps its own copy until retention; restored records stay until")
    out.print("  ./logstack archive unrestore")


@group.command("hold")
def hold(
    since: From,
    until: To,
    off: Annotated[bool, typer.Option("--off", help="Lift it instead.")] = False,
) -> None:
    """Put a legal hold on archived parts: nobody can delete them until it is lifted.

    Example: logstack archive hold --from 2026-01-31 --to 2026-02-01
    """
    start, end = time_range(since, until, FROM_TO)
    archive = open_archive()
    count = 0
    missing: list[str] = []
    try:
        hours = list(archive.ledger().between(start, end))
        expired = find_expired(archive, hours)
        for hour in hours:
            for key in hour.parts:
                versions = archive.store.versions(key).get(key, [])
                for version in versions:
                    archive.store.hold(key, version, not off)
                    count += 1
                if not versions and key not in expired.parts:
                    missing.append(key)
    finally:
        archive.store.close()
    say_expired(archive, expired.hours)
    if missing:
        raise ArchiveError(
            f"cannot {'free' if off else 'hold'} {', '.join(missing)}: {NOT_THERE}; {count} other "
            f"parts {'are free again' if off else 'are held'}. Run: ./logstack archive verify"
        )
    if not count:
        raise ArchiveError(
            f"wanted archived parts from {since} to {until}, found none: nothing was "
            f"{'freed' if off else 'held'}. Which there are says: ./logstack archive verify. "
            "Hours that are not archived yet: ./logstack archive run --now"
        )
    say(f"{count} parts {'are free again' if off else 'are held'}.")


@group.command("key")
def public_key() -> None:
    """Print the public key that manifests are signed for, to check them without this project.

    Example: logstack archive key > archive.pem
    """
    pem = (
        open_archive()
        .key.public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    out.print(pem.decode(), end="")


def say_expired(archive: Archive, hours: int) -> None:
    """Tell how many hours of what was asked for are no longer in the archive, where any are."""
    if hours:
        say(describe(archive, hours), "yellow")


def _pair(option: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise typer.BadParameter(f"wanted field=value, found {text!r}", param_hint=option)
    return name, value
