"""Imports one file after the other; what was imported is on record in the data folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path, PurePath

from pydantic import BaseModel

from stack.archive.failpoints import failpoint
from stack.common import exclusive_lock
from stack.components.log_sources import import_window, log_sources
from stack.records.timestamps import nanoseconds, utc_now
from stack.runtimes.encodings import read_as_utf8
from stack.runtimes.history import HistoryError
from stack.runtimes.history.delivery import Delivery, Sender, read_delivery
from stack.runtimes.history.files import Copied, copy_plain
from stack.runtimes.history.plan import ANY_TIME, Plan, make_plan
from stack.runtimes.single_run import SingleRun
from stack.settings.secrets import write_private
from stack.settings.tables import FileSource
from stack.settings.targets import Target
from stack.settings.units import parse_bytes

IMPORTED_FILE = "imported.json"
OnStep = Callable[[str], None]
"""Called with what is going on with the file."""


class Imported(BaseModel):
    """A file that was imported: the hash of its first `size` bytes, without compression."""

    service: str
    size: int
    sha256: str
    file: str
    records: int
    finished: str


@dataclass(frozen=True)
class Outcome:
    """What became of a file. `delivery` is None if all of it was imported before.

    `is_continued`: an earlier import of it was not finished.
    """

    file: Path
    delivery: Delivery | None
    is_continued: bool = False


@dataclass
class History:
    """Imports into the engine of `target`; `folder` is where it keeps what it did."""

    target: Target
    program: Path
    folder: Path
    done: list[Imported] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Read what was imported before; no other import runs meanwhile."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with exclusive_lock(self.folder):
            path = self.folder / IMPORTED_FILE
            known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
            self.done = [Imported.model_validate(item) for item in known]
            yield

    def run(self, source: FileSource, on_step: OnStep, *, dry_run: bool) -> Outcome:
        """Import the file at `source.path`. Raises HistoryError, AgentError, EngineError, OSError.

        With `dry_run` nothing is sent.
        """
        path = Path(source.path)
        check_not_shipped(self.target, path)
        with self._work_folder() as work:
            copy = work / "lines.log"
            copied = self._copy(source, copy, on_step)
            if copied.known == copied.size:
                return Outcome(path, None if copied.size else Delivery(plan=Plan(lines=0)))
            name = f"{source.service}\n{copied.known}\n{copied.sha256}"
            folder = self.folder / hashlib.sha256(name.encode()).hexdigest()[:16]
            delivery = read_delivery(folder)
            continued = delivery is not None and delivery.has_begun
            if delivery is None or not continued:
                delivery = self._plan(source, copy, copied.lines, folder, on_step)
        if dry_run:
            if not continued:
                shutil.rmtree(folder)
            return Outcome(path, delivery, continued)
        total = delivery.plan.sent.count
        sender = Sender(self.target, self._headers(source))
        sender.send_all(folder, delivery, lambda sent: on_step(f"sent {sent:,} of {total:,}"))
        failpoint("import-delivered")
        self._finish(source, copied, delivery)
        shutil.rmtree(folder)
        return Outcome(path, delivery, continued)

    def _copy(self, source: FileSource, copy: Path, on_step: OnStep) -> Copied:
        known = {(item.size, item.sha256) for item in self.done if item.service == source.service}
        free = parse_bytes(self.target.settings.limits.free_disk)
        return copy_plain(
            source,
            copy,
            known,
            free * 2,  # the engine stops below it, and the frames and the records need some
            lambda size: on_step(f"copied {size / 1e6:,.0f} MB"),
        )

    def _plan(
        self, source: FileSource, copy: Path, lines: int, folder: Path, on_step: OnStep
    ) -> Delivery:
        """Let the agent read the copy; nothing is sent yet."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        past, ahead = (nanoseconds_of(length) for length in import_window(self.target))
        now = nanoseconds(utc_now())
        run = SingleRun(
            self.target.settings,
            self.program,
            read_as_utf8(source),
            copy,
            folder,
            "proto",
            accepted=(ANY_TIME, ANY_TIME),
        )
        try:
            plan = make_plan(
                run,
                lines,
                (now - past, now + ahead),
                lambda read: on_step(f"read {read:,} records of {lines:,} lines"),
            )
            delivery = Delivery(plan=plan)
            delivery.save(folder)
        except BaseException:
            shutil.rmtree(folder)
            raise
        failpoint("import-planned")
        return delivery

    def _finish(self, source: FileSource, copied: Copied, delivery: Delivery) -> None:
        self.done.append(
            Imported(
                service=source.service,
                size=copied.size,
                sha256=copied.sha256,
                file=source.path,
                records=delivery.records,
                finished=utc_now().isoformat(timespec="seconds"),
            )
        )
        text = json.dumps([item.model_dump() for item in self.done], indent=1)
        write_private(self.folder / IMPORTED_FILE, text + "\n")

    def _headers(self, source: FileSource) -> dict[str, str]:
        """Those of the agent's batches; they name the fields of a stream, or the tenant."""
        run = SingleRun(self.target.settings, self.program, source, Path(), Path(), "proto")
        headers: dict[str, str] = next(iter(run.config()["exporters"].values()))["headers"]
        return headers

    @contextmanager
    def _work_folder(self) -> Iterator[Path]:
        """For the copy; one that a killed import left behind is removed."""
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def nanoseconds_of(length: timedelta) -> int:
    return length // timedelta(microseconds=1) * 1000


def check_not_shipped(target: Target, path: Path) -> None:
    """Raises HistoryError for a file that the agent reads itself."""
    for source in log_sources(target):
        patterns = source.patterns if source.kind == "file" else ()
        unreadable = source.excluded[:1]
        matches = any(PurePath(path).match(pattern) for pattern in patterns)
        if matches and not any(_is_excluded(path, pattern) for pattern in unreadable):
            raise HistoryError(
                f"cannot import {path}: the agent reads it itself (agent.files: {source.path}), "
                "and all of it would be there twice. ./logstack logs shows its records"
            )


def _is_excluded(path: Path, pattern: str) -> bool:
    """Whether a pattern `*.{gz,xz}` matches a path."""
    head, _, endings = pattern.rpartition(".")
    return any(
        PurePath(path).match(f"{head}.{ending}") for ending in endings.strip("{}").split(",")
    )
