"""`logstack archive ...`: the one-year archive."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

import typer
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stack import settings
from stack.archive import ArchiveError, erase, repair, restore, search, verify
from stack.archive import service as archiver
from stack.archive.context import Archive, open_native
from stack.archive.lifecycle import describe, find_expired
from stack.archive.verify import NOT_IN_STORE
from stack.cli.console import AsJson, note, out, plain, print_json, progress
from stack.cli.filters import Grep, JsonLines, Level, RequestId, Service, selection_of
from stack.cli.record_format import print_record
from stack.cli.time_range import FROM_TO, clock, time_range
from stack.common.counted import counted
from stack.components.catalogue import by_name
from stack.engines.kinds import kind_of
from stack.runtimes.local_store import free_erased
from stack.runtimes.work_lock import work_lock
from stack.settings.targets import Target, read_started_settings
from stack.settings.targets import native as native_target
from stack.settings.units import format_bytes

From = Annotated[str, typer.Option("--from", help="Start: a duration ago (7d) or a time.")]
To = Annotated[str, typer.Option("--to", help="End: a duration ago, a time, or now.")]

group = typer.Typer(
    help="The one-year archive: export, verify, search, restore, erase.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="archive")


def open_archive() -> Archive:
    """The archive of this checkout's stack."""
    return open_native(running_target(), clock())


def running_target() -> Target:
    """The target of this checkout's stack. Raises ArchiveError for Docker, which has no archive."""
    values = settings.load()
    if read_started_settings(values, "docker"):
        raise ArchiveError(
            "cannot open the archive: the Docker runtime has none, its engine keeps records for "
            "retention.hot_days. Run: make down && RUNTIME=native make up"
        )
    return native_target(read_started_settings(values, "native") or values)


@group.command("run")
def run(
    now: Annotated[bool, typer.Option("--now", help="Also the current hour.")] = False,
    every_interval: Annotated[
        bool, typer.Option("--every-interval", help="Keep running, as the stack's archiver does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Archive complete hours and expire verified days.

    Example: logstack archive run --now
    """
    if every_interval:
        archiver.run_forever(open_archive, note, free_expired)
        return
    archive = open_archive()
    with progress() as display:
        result = archiver.run(archive, include_current=now, on_progress=display.update)
    free_expired(result)
    if as_json:
        print_json(asdict(result))
        return
    exported = result.exported
    out.print(
        f"Archived {counted(exported.records, 'record')} of {counted(exported.hours, 'hour')} "
        f"in {counted(exported.parts, 'part')}: "
        f"{format_bytes(exported.raw_bytes)}, {format_bytes(exported.compressed_bytes)} compressed."
    )
    if exported.erased_before:
        left_out = counted(exported.erased_before, "record was", "records were")
        note(f"{left_out} left out: `archive erasures` lists why.")
    for day, count in result.expiry.shortened.items():
        out.print(
            f"Deleting {counted(count, 'record')} of {day} from the engine (retention.shorter)."
        )
    for day, problems in result.expiry.blocked.items():
        note(f"{day} exceeded retention and stays in the engine: {problems[0]}", "red")


def free_expired(result: archiver.RunResult) -> None:
    """Free the bytes of parts that a run deleted after archive.days."""
    if result.expiry.expired_parts and (remains := free_erased(running_target())):
        note(remains)


@group.command("verify")
def check(
    since: From = "",
    until: To = "",
    deep: Annotated[bool, typer.Option("--deep", help="Read every part back.")] = False,
    head: Annotated[str, typer.Option(help="A head that an earlier verify printed.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check manifests, parts and counts; exits with 1 on a problem.

    Example: logstack archive verify --from 7d --deep
    """
    start, end = time_range(since or "1970-01-01", until or "now", FROM_TO)
    with open_archive() as archive, progress() as display:
        report = verify.run(
            archive,
            start if since else None,
            end if until else None,
            deep=deep,
            head=head,
            on_progress=display.update,
        )
    if as_json:
        print_json(report.as_dict(), indent=2)
    else:
        out.print(
            f"{counted(report.manifests, 'manifest')}, {counted(report.hours, 'hour')}, "
            f"{counted(report.parts, 'part')}, {counted(report.records, 'record')}; "
            f"{counted(report.hours_compared_with_engine, 'hour')} compared with "
            f"the engine; parts {'read back' if deep else 'listed (--deep reads them)'}."
        )
        out.print(plain(f"Head: {report.head or 'none'}", "dim"))
        note_expired(archive, report.hours_expired)
        for remark in report.notes:
            out.print(plain(f"note: {remark.text}", "dim"))
        for problem in report.problems:
            out.print(plain(f"{problem.kind}: {problem.text}", "red"))
        out.print("No problems." if report.ok else f"{counted(len(report.problems), 'problem')}.")
    if not report.ok:
        raise typer.Exit(1)


@group.command("search")
def find(
    since: From = "365d",
    until: To = "now",
    service: Service = "",
    level: Level = "",
    request_id: RequestId = "",
    match: Annotated[list[str] | None, typer.Option(help="Only records with field=value.")] = None,
    grep: Grep = "",
    number: Annotated[int, typer.Option("-n", min=1, help="At most this many.")] = 1000,
    as_json: JsonLines = False,
) -> None:
    """Search the archive without a restore, oldest records first.

    Example: logstack archive search --from 2026-01-31 --to 2026-02-01 --level ERROR
    """
    exact = {"service_name": service, "request_id": request_id}
    exact |= dict(_pair("--match", text) for text in match or [])
    selection = selection_of(time_range(since, until, FROM_TO), level, grep, exact)
    found = 0
    expired: list[int] = []
    with (
        open_archive() as archive,
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
                note(f"Showing the oldest {counted(number, 'record')}; -n shows more.", "dim")
                break
            found += 1
            display.stop_on_terminal()
            print_record(record, as_json)
    if not found:
        note("No archived records match.", "dim")
    note_expired(archive, sum(expired))


@group.command("restore")
def bring_back(
    since: From,
    until: To,
    service_name: Annotated[
        list[str] | None, typer.Option("--service", help="Only this service; can be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print only the estimate.")] = False,
    as_json: AsJson = False,
) -> None:
    """Restore archived records into a second engine.

    Example: logstack archive restore --from 2026-01-31 --to 2026-02-01
    """
    from stack.runtimes import native  # heavy, and only this needs it

    start, end = time_range(since, until, FROM_TO)
    scope = restore.RestoreFilter(start, end, frozenset(service_name or []))
    with open_archive() as archive:
        planned = restore.estimate(archive, scope)
        note(
            f"{counted(planned.records, 'record')} of {counted(planned.hours, 'hour')}, "
            f"{format_bytes(planned.compressed_bytes)} to read, "
            f"{format_bytes(planned.raw_bytes)} of lines, about {max(1, round(planned.seconds))} s."
        )
        note_expired(archive, planned.expired_hours)
        if dry_run:
            if as_json:
                print_json(asdict(planned))
            return
        with progress() as display:
            kind = kind_of(archive.settings)
            if by_name(kind.restored_component).on_demand:
                with work_lock(archive.settings, "archive restore", note):
                    native.ensure_started(archive.settings, kind.restored_component, display.update)
            result = restore.run(archive, scope, on_progress=display.update)
    if as_json:
        print_json(asdict(result))
        return
    out.print(
        f"{counted(result.records, 'record')} restored, {result.present} in the engine. Read "
        "them with"
    )
    out.print(f"  ./logstack logs --restored --since {since} --until {until}")
    out.print("and delete them with\n  ./logstack archive unrestore")


@group.command("unrestore")
def drop_restored() -> None:
    """Delete all restored records; the archive keeps them.

    Example: logstack archive unrestore
    """
    from stack.runtimes import native  # slow to import, and needed here alone

    values = running_target().settings
    kind = kind_of(values)
    if not kind.restored_tenant:
        with work_lock(values, "archive unrestore", note):
            native.empty(values, kind.restored_component)
        note("The engine for restored records is empty.")
        return
    with open_archive() as archive:
        days = restore.drop_days(archive)
    note(f"Loki deletes {len(days)} restored days: it hides them within five minutes and frees")
    note("their disk space some hours later. A restore before that cancels the deletion.")


@group.command("erase")
def forget(
    match: Annotated[str, typer.Option(help="field=value of the records to erase.")],
    reason: Annotated[str, typer.Option(help="Why; stored permanently in the tombstone.")],
    future: Annotated[
        bool, typer.Option("--future", help="Never archive such records again, either.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Erase records where locks allow it; a tombstone remains.

    Example: logstack archive erase --match user_id=123 --reason "request of 2026-01-31"
    """
    name, value = _pair("--match", match)
    if not reason.strip():
        raise typer.BadParameter("expected a reason, got nothing", param_hint="--reason")
    target = running_target()
    with open_native(target, clock()) as archive, progress() as display:
        try:
            request = erase.Request(name, value, reason, future)
            result = erase.run(archive, request, on_progress=display.update)
        finally:  # also where only some records could be erased
            remains = free_erased(target)
    note_expired(archive, result.expired_hours)
    if as_json:
        print_json({**asdict(result), "remains": remains})
        return
    out.print(
        f"Erased {counted(result.records, 'record')} of {counted(result.hours, 'hour')}; "
        f"deleted {counted(len(result.deleted), 'object')}."
    )
    out.print(remains or "Nothing of them is left on the local store's disk.")
    if result.filters:
        out.print(
            f"Manifests, which are never changed, keep {counted(result.filters, 'filter')} of "
            "request and trace ids: who has such an id can see that its hour may have had it."
        )
    out.print("The engine keeps its copy until it expires; restored records stay until")
    out.print("  ./logstack archive unrestore")


@group.command("erasures")
def list_erasures(as_json: AsJson = False) -> None:
    """List the tombstones, and which records they keep out of the archive.

    Example: logstack archive erasures
    """
    with open_archive() as archive:
        found = erase.erasures(archive)
    if as_json:
        print_json(found)
        return
    for item in found:
        until = f"before {item['excludes_until']}" if item["excludes_until"] else "of any time"
        text = (
            f"{item['created']}  {item['field']}, records: {item['records']}, {item['reason']!r}; "
            f"excludes records {until}"
        )
        out.print(plain(text))
    if not found:
        note("Nothing was erased.", "dim")


@group.command("repair")
def repair_store(as_json: AsJson = False) -> None:
    """Delete what was stored over parts and manifests, and store again what this machine has.

    Example: logstack archive repair
    """
    with open_archive() as archive:
        result = repair.run(archive)
    if as_json:
        print_json(asdict(result))
    else:
        for what, keys in asdict(result).items():
            for key in keys:
                out.print(plain(f"{what}: {key}"))
        note("See what is left with: ./logstack archive verify --deep", "dim")
    if result.kept:
        raise typer.Exit(1)


@group.command("hold")
def hold(
    since: From,
    until: To,
    off: Annotated[bool, typer.Option("--off", help="Release the hold.")] = False,
) -> None:
    """Protect archived parts from deletion by a legal hold.

    Example: logstack archive hold --from 2026-01-31 --to 2026-02-01
    """
    start, end = time_range(since, until, FROM_TO)
    count = 0
    missing: list[str] = []
    with open_archive() as archive:
        hours = list(archive.ledger().between(start, end))
        expired = find_expired(archive, hours)
        for hour in hours:
            for key in hour.parts:
                versions = archive.store.versions_of(key)
                for version in versions:
                    archive.store.hold(key, version, not off)
                    count += 1
                if not versions and key not in expired.parts:
                    missing.append(key)
    note_expired(archive, expired.hours)
    if missing:
        raise ArchiveError(
            f"cannot {'release' if off else 'hold'} {', '.join(missing)}: {NOT_IN_STORE}; {count} "
            f"other parts are {'released' if off else 'held'}. Run: ./logstack archive verify"
        )
    if not count:
        raise ArchiveError(
            f"cannot {'release' if off else 'hold'} parts from {since} to {until}: there are none. "
            "Run: ./logstack archive run --now"
        )
    note(f"{counted(count, 'part is', 'parts are')} {'released' if off else 'held'}.")


@group.command("key")
def public_key() -> None:
    """Print the public key that verifies manifest signatures.

    Example: logstack archive key > archive.pem
    """
    key = open_archive().key.public_key()
    out.print(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), end="")


def note_expired(archive: Archive, hours: int) -> None:
    """Print how many hours of the range are no longer in the archive, if any."""
    if hours:
        note(describe(archive, hours), "yellow")


def _pair(option: str, text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not (name and value):
        raise typer.BadParameter(f"expected field=value, got {text!r}", param_hint=option)
    return name, value
