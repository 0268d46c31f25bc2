"""`logstack archive ...`: the one-year archive; here are run, verify and key."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stack.archive import service as archiver
from stack.archive import verify
from stack.cli.archive_group import From, To, group, note_expired, open_archive, running_target
from stack.cli.console import AsJson, note, out, plain, print_json, progress
from stack.cli.time_range import FROM_TO, time_range
from stack.common.counted import counted
from stack.runtimes.local_store import free_erased
from stack.settings.units import format_bytes


def register(app: typer.Typer) -> None:
    # Their commands join the group in this order.
    from stack.cli import archive_erase, archive_repair, archive_search  # noqa: F401

    app.add_typer(group, name="archive")


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


@group.command("key")
def public_key() -> None:
    """Print the public key that verifies manifest signatures.

    Example: logstack archive key > archive.pem
    """
    key = open_archive().key.public_key()
    out.print(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), end="")
