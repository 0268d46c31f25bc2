"""Lets one agent and one engine take all cases in one go, and gives each case its records.

Agent, gateway and engine are those of hosts, because only there does an agent read log files,
Docker's files and the journal at once.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stack import artifacts, settings
from stack.alerting.throwaway import RunningProcess
from stack.components.log_sources import SERVICE_LABEL
from stack.engines import Engine, EngineError, Record, Selection
from stack.engines.loki import Loki
from stack.engines.victorialogs import VictoriaLogs
from stack.hosts.plan import plan_for
from stack.settings import Settings
from tests.corpus.cases import Case, Moment
from tests.support.host_processes import (
    HostUnderTest,
    binaries_of,
    fleet_settings,
    made_secrets,
)
from tests.support.native_stack import Combination
from tests.support.require import unavailable

SERVICE = "corpus"
# Docker's limit for one entry.
DOCKER_PART = 16 * 1024
# How much later than its own time a line is noted by Docker or the journal.
NOTED_AFTER = 30 * 10**9
# Longer than the agent waits for the rest of a text, and for the second part of a line.
PAUSE = 1.0
QUIET = 8.0
# Docker's parts wait 30 s for the rest of a line that never comes.
LONGEST = 90.0


@dataclass
class Outcome:
    """What the agent and the engine made of all cases."""

    started: datetime
    ended: datetime
    moments: Mapping[str, int]
    records: Mapping[str, list[Record]]
    others: list[Record]
    stopped: list[str]


@dataclass
class Fleet:
    """A log server that runs, and an application host whose agent is yet to be started."""

    values: Settings
    app: HostUnderTest
    folder: Path
    server: Mapping[str, RunningProcess]

    @property
    def engine(self) -> Engine:
        name = self.values.stack.engine
        kind = {"loki": Loki, "victorialogs": VictoriaLogs}[name]
        found: Engine = kind(f"http://127.0.0.1:{self.values.ports.effective(name)}")
        return found

    def stopped(self, agent: RunningProcess) -> list[str]:
        """Which of the processes no longer runs: nothing starts one again here."""
        processes = {**self.server, "the agent": agent}
        return [name for name, found in processes.items() if found.process.poll() is not None]

    @contextmanager
    def agent(self, entries: Iterable[Mapping[str, Any]] = ()) -> Iterator[RunningProcess]:
        """The agent; it reads `entries` as the journal's."""
        name = self.values.stack.agent
        path = {"PATH": f"{journalctl(self.folder, entries)}:{os.environ['PATH']}"}
        with self.app.run(name, binaries_of(self.values, name)[name], path) as process:
            yield process

    def path_of(self, case: Case) -> Path:
        if case.read == "docker":
            folder = self.app.root / "var/lib/docker/containers" / case_key(case)
            return folder / f"{case_key(case)}-json.log"
        return self.app.root / "var/log/corpus" / f"{case_key(case)}.log"

    def all_records(self) -> list[Record]:
        now = datetime.now(UTC)
        selection = Selection(now - timedelta(days=8), now + timedelta(days=2))
        return list(self.engine.records(selection, limit=100_000))


@contextmanager
def fleet_of(combination: Combination, folder: Path) -> Iterator[Fleet]:
    """Engine and gateway run until the block ends."""
    agent = combination.agent
    values = fleet_settings(
        stack={"engine": combination.engine, "agent": agent},
        app_hosts={"journal": agent == "otelcol", "docker_logs": True},
        agent={"files": [{"service": SERVICE, "path": "/var/log/corpus/*.log"}]},
    )
    known = made_secrets(folder, values)
    app, server = (
        HostUnderTest(folder / name, values, plan_for(values, known, host))
        for name, host in (("app", "app-1"), ("server", "logs-1"))
    )
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(server.run(name, binaries_of(values, program)[program]))
            for name, program in ((combination.engine, combination.engine), ("gateway", "caddy"))
        }
        yield Fleet(values, app, folder, running)


def require_binaries(combination: Combination) -> None:
    """Skips a test whose programs are not there and are not built."""
    values = settings.load(combination.variables)
    cache = artifacts.cache_dir(values)
    for name, artifact in artifacts.required(values).items():
        if not artifact.is_built and artifacts.find(artifact, cache) is None:
            unavailable(name, f"{name} {artifact.version} is not on PATH")


def case_key(case: Case) -> str:
    """The case's name as that of a file and a unit."""
    return case.id.replace("/", "--").replace(" ", "-")


def run_cases(fleet: Fleet, cases: Iterable[Case]) -> Outcome:
    """Write all cases, start the agent, wait until nothing more comes."""
    started = datetime.now(UTC)
    base = (int(started.timestamp()) - 120) * 10**9 + 123_456_789
    chosen = [case for case in cases if is_read(case, fleet.values.stack.agent)]
    moments = {case.id: base - number * 10**9 for number, case in enumerate(chosen)}
    later = []
    entries = []
    for case in chosen:
        now = moments[case.id]
        if case.read == "journal":
            entries += journal_entries(case, now)
            continue
        first, *rest = [in_file(case, part, now) for part in case.written(now)]
        fleet.path_of(case).parent.mkdir(parents=True, exist_ok=True)
        fleet.path_of(case).write_bytes(first)
        later.append((fleet.path_of(case), rest))
    expected = sum(len(case.records) for case in chosen)
    with fleet.agent(entries) as process:
        write_later(later)
        found = settled(fleet, expected)
        stopped = fleet.stopped(process)
    return Outcome(started, datetime.now(UTC), moments, *by_case(fleet, chosen, found), stopped)


def is_read(case: Case, agent: str) -> bool:
    """Promtail reads the journal with libsystemd: there is no program to put in its place."""
    return case.read != "journal" or agent == "otelcol"


def write_later(parts: list[tuple[Path, list[bytes]]]) -> None:
    """The parts of lines that a program writes in several steps."""
    for number in range(max((len(rest) for _, rest in parts), default=0)):
        time.sleep(PAUSE)
        for path, rest in parts:
            if number < len(rest):
                with path.open("ab") as file:
                    file.write(rest[number])


def settled(fleet: Fleet, expected: int) -> list[Record]:
    """All records, once as many are there as expected and no more come."""
    deadline = time.monotonic() + LONGEST
    found: list[Record] = []
    since = time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            now = fleet.all_records()
        except EngineError:
            continue
        if len(now) != len(found):
            since = time.monotonic()
        found = now
        quiet = time.monotonic() - since
        if quiet > (QUIET / 2 if len(found) >= expected else 5 * QUIET):
            break
    return found


# --- How each kind of source writes a line


def in_file(case: Case, part: bytes, now: int) -> bytes:
    """A part of a case's bytes as the file has it."""
    if case.read == "file":
        return part
    if case.entries:
        return "".join(f"{entry}\n" for entry in case.entries).encode()
    lines = part.decode("utf-8", "replace").split("\n")
    return "".join(docker_entry(case, text, noted(now, n)) for n, text in enumerate(lines)).encode()


def noted(now: int, number: int) -> int:
    """When Docker or the journal noted a line of a case."""
    return now + NOTED_AFTER + number * 10**6


def docker_entry(case: Case, text: str, ns: int) -> str:
    """A line as the json-file driver writes it: in parts, the last with the end of the line."""
    whole = f"{text}\n"
    parts = [whole[n : n + DOCKER_PART] for n in range(0, len(whole), DOCKER_PART)]
    stamp = Moment(ns).format("%Y-%m-%dT%H:%M:%S.%9fZ")
    attrs = {SERVICE_LABEL: SERVICE, **case.fields}
    values = ({"log": part, "stream": "stdout", "attrs": attrs, "time": stamp} for part in parts)
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def unit_of(case: Case) -> str:
    """A unit of its own, an instance of the service."""
    return str(case.fields.get("_SYSTEMD_UNIT", f"{SERVICE}@{case_key(case)}.service"))


def journal_entries(case: Case, now: int) -> list[dict[str, Any]]:
    """Entries as `journalctl --output=json` prints them, a case's unit with its name."""
    own = {
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": SERVICE,
        "_SYSTEMD_UNIT": unit_of(case),
    }
    messages = list(case.entries) or expand_messages(case, now)
    return [
        {**own, **case.fields, "MESSAGE": text, "__REALTIME_TIMESTAMP": str(noted(now, n) // 1000)}
        for n, text in enumerate(messages)
    ]


def expand_messages(case: Case, now: int) -> list[Any]:
    """The lines; one that is not UTF-8 as a list of its bytes, as journalctl has it."""
    [written] = case.written(now)
    return [list(text) if b"\xff" in text else text.decode() for text in written.split(b"\n")]


def journalctl(folder: Path, entries: Iterable[Mapping[str, Any]]) -> Path:
    """A folder with a program that prints these entries and then waits, as `--follow` does."""
    bin_dir = folder / "bin"
    bin_dir.mkdir(exist_ok=True)
    lines = [json.dumps({**entry, "__CURSOR": str(n)}) for n, entry in enumerate(entries)]
    (folder / "entries").write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")
    program = bin_dir / "journalctl"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) echo "systemd 252"; exit;; esac\n'
        f"cat '{folder}/entries'\nexec sleep 600\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return bin_dir


# --- Which case a record is of


def by_case(
    fleet: Fleet, cases: list[Case], found: list[Record]
) -> tuple[dict[str, list[Record]], list[Record]]:
    """The records of each case, by the file that they are from or by a field `case`.

    A record of the contract has no file's name: such cases have the field, with their name.
    """
    sources = {f"journal:{unit_of(case)}": case.id for case in cases}
    sources |= {str(fleet.path_of(case)): case.id for case in cases if case.read != "journal"}
    ids = {case.id for case in cases}
    records: dict[str, list[Record]] = defaultdict(list)
    others = []
    for record in found:
        known = sources.get(str(record.get("log.file.path")), str(record.get("case", "")))
        if known in ids:
            records[known].append(record)
        else:
            others.append(record)
    return records, others
