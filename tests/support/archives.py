"""A real engine, an engine for restored records and a real SeaweedFS, and nothing else.

Where a test neither stops nor configures them, it uses those of the session (`SharedStore`): a
bucket of the SeaweedFS, and the VictoriaLogs, which is emptied for it.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import requests

from stack import artifacts
from stack.archive.context import Archive, hot_engine, open_native
from stack.archive.format.layout import DAY, day_of
from stack.archive.storage.store import Store
from stack.components import catalogue as components
from stack.components.catalogue import programs
from stack.engines.facts import VL_STREAM_FIELDS
from stack.engines.loki import Entry, Loki, entry_from
from stack.records.timestamps import utc_now
from stack.runtimes import run_folder
from stack.runtimes.files import render_native
from stack.settings import targets, variable_name
from stack.settings.secrets import (
    archive_secrets,
    local_store_secrets,
    sample_app_secrets,
    secrets_file,
    write_private,
)
from tests.support.native_stack import StackUnderTest, poll, record
from tests.support.store_proxy import Proxy

BUCKETS = "tests"
NUMBERS = itertools.count(1)
# A day is hot for one day, and late records are accepted for an hour.
SHORT_LIVED = {
    "LOGSTACK_RETENTION__HOT_DAYS": "1",
    "LOGSTACK_RETENTION__MARGIN_DAYS": "3",
    "LOGSTACK_ARCHIVE__LATENESS": "1h",
}
RESTORING = (("archive", "restore"), ("archive", "unrestore"))
# The day on which the tests began, also for those that run after midnight. For their archives it
# is NOW, whatever the hour: yesterday is over, also where late records have an hour, and an object
# stored meanwhile is not hours old. It is near today's time: the engine and the store have theirs.
TODAY = day_of(datetime.now(UTC))
NOW = TODAY + timedelta(hours=2, minutes=30)


@dataclass
class ArchiveUnderTest(StackUnderTest):
    """These programs; `logstack archive ...` finds them as it finds a whole stack.

    The engine for restored records is started by the first command that restores. `own_engine`: the
    VictoriaLogs is not the session's.
    """

    now: datetime | None = NOW
    shared_store: SharedStore | None = None
    own_engine: bool = False
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shared_store is not None:
            self.variables = {**self.variables, **self.shared_store.new_bucket()}
            write_private(secrets_file(self.target.data_dir), json.dumps(self.shared_store.keys()))
            if "victorialogs" in self.shared:
                self.variables |= self.shared_store.ports("victorialogs")
                self.shared_store.empty_engine()
                storage = self.shared_store.target.storage_dir("victorialogs")
                self.target.storage_dir("victorialogs").symlink_to(storage)

    @property
    def shared(self) -> frozenset[str]:
        """The programs of the session that it uses."""
        if self.shared_store is None:
            return frozenset()
        has_engine = self.engine_name == "victorialogs" and not self.own_engine
        return frozenset({"seaweedfs", *(["victorialogs"] if has_engine else [])})

    @property
    def names(self) -> tuple[str, ...]:
        """What a test has running from the beginning, apart from what is shared."""
        return tuple(name for name in (self.engine_name, "seaweedfs") if name not in self.shared)

    def start(self, *names: str, extra: Iterable[str] = ()) -> None:
        """Start the programs named, or all, and wait until they answer."""
        assert not self.shared & set(names), "other tests use these programs"
        target = self.target
        folders = artifacts.ensure_all(target.settings, lambda name, text: None)
        binaries = {
            name: str(folder / programs(target.settings)[name].binaries[0])
            for name, folder in folders.items()
        }
        secrets = archive_secrets(target.data_dir, {})
        files = self.render(binaries, {**sample_app_secrets(target.data_dir), **secrets})
        run_folder.write_files(target, files)
        (target.config_dir("loki") / "rules").mkdir(parents=True, exist_ok=True)
        for name in names or self.names:
            component = components.by_name(name)
            with target.log_file(name).open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [*components.command(component, target, binaries), *extra],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.folder,
                )
        for name in names or self.names:
            self.wait(name)

    def render(self, binaries: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
        return render_native(self.target, binaries, secrets)

    def wait(self, name: str) -> None:
        """Until a program answers."""
        url = components.by_name(name).health_url(self.target)
        poll(partial(_answers, url), lambda: f"{name} at {url}\n{self.logs()}", timeout=60)

    def configure(self, **variables: str) -> None:
        """Change settings of what is running, as far as the commands read them."""
        self.variables |= variables
        path = self.target.run_dir / targets.SETTINGS_FILE
        path.write_text(self.settings.model_dump_json(), encoding="utf-8")

    def stop(self, *names: str) -> None:
        """Stop the programs named, or all: engines gracefully, because they flush to disk."""
        assert not self.shared & set(names), "other tests use these programs"
        for name in names or list(self.processes):
            process = self.processes.pop(name, None)
            if process is not None:
                (process.kill if name == "seaweedfs" else process.terminate)()
                process.wait(timeout=60)

    def run(
        self, *arguments: str, extra: Mapping[str, str] | None = None, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """One command to its end, with what it needs."""
        if arguments[:2] in RESTORING:
            self.start_restored()
        return super().run(*arguments, extra=extra, timeout=timeout)

    def start_restored(self) -> None:
        """Start what takes restored records, where that is a program of its own."""
        if self.engine_name == "victorialogs" and "restored" not in self.processes:
            self.start("restored")

    def findings(self) -> dict[str, dict[str, Any]]:
        """The findings of doctor, by check. It fails: no rules are evaluated here."""
        result = self.run("doctor", "--json")
        assert result.returncode == 1, result.stderr
        return {item["check"]: item for item in json.loads(result.stdout)}

    def lose_everything(self) -> None:
        """The engine's disk is lost; the engine for restored records runs again, empty."""
        self.stop(self.engine_name)
        shutil.rmtree(self.target.storage_dir(self.engine_name))
        if self.engine_name == "loki":
            self.start("loki")

    @property
    def archive(self) -> Archive:
        """A new view of the archive; close its store after use."""
        now = self.now
        return open_native(self.target, (lambda: now) if now else utc_now)

    def store(self) -> Store:
        return self.archive.store

    @property
    def engine_name(self) -> str:
        return self.settings.stack.engine

    def kept(self, rows: Iterable[bytes]) -> int:
        """How many of the rows the engine keeps: Loki only one of several equal ones."""
        held = list(rows)
        return len(set(held)) if self.engine_name == "loki" else len(held)

    def push(self, rows: Iterable[bytes], port: str = "victorialogs") -> None:
        """Store JSON lines of the contract as they are, invalid UTF-8 included."""
        if self.engine_name == "loki":
            engine = Loki(self.target.url("loki"))
            for batch in batched(rows, 2000):
                engine.push_entries(map(entry_of, batch))
            return
        answer = requests.post(
            self.target.url(port, "/insert/jsonline"),
            data=b"\n".join(rows),
            params={
                "_time_field": "timestamp",
                "_msg_field": "message",
                "_stream_fields": ",".join(VL_STREAM_FIELDS),
            },
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        requests.get(self.target.url(port, "/internal/force_flush"), timeout=60)

    def stored(self, port: str = "victorialogs") -> list[bytes]:
        """Every record of an engine as a line of the archive, in order."""
        if port == "restored":
            self.start_restored()
        archive = self.archive
        engine = archive.restored if port == "restored" else archive.engine
        return sorted(engine.export(TODAY - timedelta(days=400), TODAY + 3 * DAY))

    def ok(self, *arguments: str, extra: Mapping[str, str] | None = None) -> str:
        """What a command prints; fails unless it succeeds."""
        result = self.run(*arguments, extra=extra)
        assert result.returncode == 0, f"{result.stdout}{result.stderr}\n{self.logs()}"
        return result.stdout

    def verify(self, *options: str) -> dict[str, Any]:
        """The report of `archive verify --json`."""
        result = self.run("archive", "verify", "--json", *options)
        assert result.returncode in (0, 1), result.stderr
        report: dict[str, Any] = json.loads(result.stdout)
        assert (result.returncode == 0) == report["ok"]
        return report

    def problems(self, *options: str) -> set[tuple[str, str]]:
        """Kind and object of every problem that verify names."""
        return {(item["kind"], item["what"]) for item in self.verify(*options)["problems"]}


class SharedStore(ArchiveUnderTest):
    """A SeaweedFS in which each test has a bucket, and a VictoriaLogs that one has at a time."""

    @classmethod
    def in_folder(cls, folder: Path) -> SharedStore:
        return cls(folder, {variable_name("archive", "bucket"): BUCKETS})

    def render(self, binaries: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
        """The keys are for every test's bucket, each of which begins with one volume."""
        files = super().render(binaries, secrets)
        identities = files["seaweedfs/s3.json"]
        return {
            **files,
            "seaweedfs/s3.json": re.sub(rf":{BUCKETS}(?=[/\"])", f":{BUCKETS}*", identities),
            "seaweedfs/master.toml": "[master.volume_growth]\ncopy_1 = 1\n",
        }

    def start_all(self) -> None:
        """The engine accepts records of any age, whatever the lateness of a test."""
        self.start("seaweedfs", extra=["-volume.max=10000"])
        self.start("victorialogs", extra=["-maxBackfillAge=0"])

    def new_bucket(self) -> dict[str, str]:
        """The variables of an archive in a new bucket of this store."""
        bucket = f"{BUCKETS}-{next(NUMBERS)}"
        return {**self.ports("seaweedfs"), variable_name("archive", "bucket"): bucket}

    def ports(self, program: str) -> dict[str, str]:
        """The variables of a program's ports."""
        prefix = variable_name("ports", program)
        return {name: text for name, text in self.variables.items() if name.startswith(prefix)}

    def empty_engine(self) -> None:
        """Delete what other tests stored, as the archiver deletes days."""
        engine = hot_engine(self.target)
        for day in engine.days():
            engine.drop_day(day)

    def keys(self) -> dict[str, str]:
        return local_store_secrets(self.target.data_dir, {})


def yesterday(hour: int = 0, **more: float) -> datetime:
    """A moment of the day before NOW, UTC."""
    return TODAY - DAY + timedelta(hours=hour, **more)


def at(moment: datetime, message: str = "hello", **fields: Any) -> bytes:
    """A record of the contract made at a moment, as a JSON line."""
    timestamp = f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"
    return json.dumps(record(message, **fields) | {"timestamp": timestamp}).encode()


def three_users() -> list[bytes]:
    """A record of each of three users in each of two hours."""
    return [
        at(yesterday(hour, minutes=user), f"user {user}", user_id=user)
        for hour in (3, 4)
        for user in (1, 2, 3)
    ]


def keys_of(store: Store, what: str) -> list[str]:
    """The keys that contain this."""
    return [item.key for item in store.listing("v1/") if what in item.key]


def mixed_day() -> list[bytes]:
    """A day of records with every value that once caused a fault."""
    rows: list[bytes] = []
    for hour in range(24):
        start = yesterday(hour)
        for number in range(40):
            fields: dict[str, Any] = {"request_id": f"r-{hour}-{number}", "user_id": number % 7}
            rows.append(at(start + timedelta(seconds=80 * number), f"plain {number}", **fields))
        rows.append(at(start, "", empty=True))
        rows.append(at(start, "x" * 200_000, service_name="billing"))
        rows.append(at(start, "caf? and ?").replace(b"?", b"\xe9"))
        rows += [at(start + timedelta(minutes=7), "the same")] * 5
        rows.append(at(start, "nested", nested={"a": {"b": [1, {"c": None}]}, "n": 0.10}))
        stack = 'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: "no"\n'
        rows.append(at(start, "failed", level="ERROR", stack_trace=stack, user_id="x y"))
        rows.append(at(start, 'control \x00 \x1b[31m \u2028 \\ " 💸'))
        rows.append(at(start, "half a pair: ?").replace(b"?", rb"\ud83d"))
        rows.append(at(start, "  spaces  ", duration_ms=0.1, path="/a\tb", dollar="${HOME}"))
        rows.append(at(start, "no service").replace(b'"service_name": "erp-backend-api", ', b""))
        precise = at(start, "nanoseconds").replace(b".000000Z", b".123456789Z")
        rows.append(precise)
    equal = yesterday(5, minutes=30)
    rows += [at(equal, f"equal {number}") for number in range(3000)]
    return rows


def entry_of(row: bytes) -> Entry:
    """A row as the agents send it to Loki: the line unchanged, invalid UTF-8 replaced."""
    text = row.decode("utf-8", "replace")
    repaired = re.sub(r"\\ud83d(?!\\u)", "\ufffd", text)
    return replace(entry_from(json.loads(repaired)), line=text)


def batched(rows: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


@contextmanager
def running_archive(
    path: Path,
    store: SharedStore | None,
    variables: Mapping[str, str],
    *,
    own_engine: bool = False,
) -> Iterator[ArchiveUnderTest]:
    """An archive that is stopped at the end.

    Where late records are accepted for a short time, its own VictoriaLogs takes all, as the
    session's does.
    """
    under_test = in_folder(path, store, variables, own_engine=own_engine)
    takes_all = "victorialogs" in under_test.names and "LOGSTACK_ARCHIVE__LATENESS" in variables
    try:
        under_test.start(extra=["-maxBackfillAge=0"] if takes_all else [])
        yield under_test
    finally:
        under_test.stop()


@contextmanager
def faulty_store(archive: ArchiveUnderTest, fault: str, of: str = "") -> Iterator[Proxy]:
    """The store behind a proxy that answers so for the objects whose path has `of` in it."""
    proxy = Proxy(archive.target.url("seaweedfs"), fault, of)
    archive.configure(LOGSTACK_ARCHIVE__ENDPOINT=f"http://127.0.0.1:{proxy.server_port}")
    try:
        yield proxy
    finally:
        proxy.stop()
        archive.configure(LOGSTACK_ARCHIVE__ENDPOINT="")


def in_folder(
    path: Path, store: SharedStore | None, variables: Mapping[str, str], *, own_engine: bool = False
) -> ArchiveUnderTest:
    """An archive with the programs of `store`, else with its own.

    With `own_engine`, a test may stop its engine and start it with other arguments.
    """
    folder = path / "an archive"
    folder.mkdir(parents=True)
    return ArchiveUnderTest(folder, dict(variables), shared_store=store, own_engine=own_engine)
