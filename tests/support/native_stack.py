"""Starts the real native runtime for tests: free ports, its own folders, a path with a space."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import requests

from stack import settings
from stack.archive import failpoints
from stack.engines import Engine, EngineError, Record, Selection
from stack.engines.factory import engine_of
from stack.engines.facts import LOKI_TENANT
from stack.runtimes.supervisor import Supervisor
from stack.settings import ROOT, Settings, targets, variable_name
from stack.settings.tables import Ports
from stack.settings.targets import Target
from tests.support.commands import run_here
from tests.support.ports import free_ports

T = TypeVar("T")
# Commands that leave nothing running and treat no signals of their own.
READING = {
    *("alerts", "annotate", "archive", "dashboards", "doctor", "logs", "query", "report"),
    *("settings", "smoke", "status"),
}


@dataclass(frozen=True)
class Combination:
    """An engine and the agent that ships to it."""

    engine: str
    agent: str

    def __str__(self) -> str:
        return f"{self.agent}-{self.engine}"

    @property
    def variables(self) -> dict[str, str]:
        return {
            variable_name("stack", "engine"): self.engine,
            variable_name("stack", "agent"): self.agent,
        }


DEFAULT = Combination("victorialogs", "otelcol")
LOKI, PROMTAIL = Combination("loki", "otelcol"), Combination("loki", "promtail")
EVERY_COMBINATION = (DEFAULT, LOKI, PROMTAIL)


def on(*combinations: Combination) -> pytest.MarkDecorator:
    """Runs tests once for each of these, where it is DEFAULT alone otherwise."""
    return pytest.mark.parametrize("combination", combinations, indirect=True, ids=str)


# The combinations of tests in which the agent has no part, and of those in which it has.
ON_ENGINES, ON_EVERY_COMBINATION = on(DEFAULT, LOKI), on(*EVERY_COMBINATION)


@dataclass
class StackUnderTest:
    """One native runtime of its own. `variables` are further settings, as environment variables.

    `now` is the current time of its archive commands; None: the clock's.
    """

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    now: datetime | None = None

    def __post_init__(self) -> None:
        names = Ports.names()
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        defaults = {variable_name("ports", name): str(port) for name, port in ports.items()}
        defaults[variable_name("ports", "offset")] = "0"
        defaults[variable_name("paths", "run")] = str(self.folder / "run")
        defaults[variable_name("paths", "data")] = str(self.folder / "data")
        defaults[variable_name("stack", "host")] = "test-host"
        defaults[variable_name("stack", "runtime")] = "native"
        self.variables = {**defaults, **self.variables}

    @property
    def environ(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTACK_")}
        return {**inherited, **self.variables, "COLUMNS": "250"}

    @property
    def settings(self) -> Settings:
        return settings.load(self.variables)

    @property
    def target(self) -> Target:
        return targets.native(self.settings)

    @property
    def engine(self) -> Engine:
        return engine_of(self.target)

    @property
    def app_log(self) -> Path:
        return self.target.app_log_file

    def argv(self, *arguments: str) -> list[str]:
        """The command line of one `logstack` command."""
        if self.now is None:
            return logstack_argv(*arguments)
        module = "tests.support.commands"
        return [sys.executable, "-P", "-m", module, self.now.isoformat(), *arguments]

    def run(
        self, *arguments: str, extra: Mapping[str, str] | None = None, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """One `logstack` command, to its end: in this process where nothing speaks against it."""
        environ = {**self.environ, **(extra or {})}
        if arguments[0] in READING and failpoints.VARIABLE not in environ:
            return run_here(arguments, environ, self.folder, self.now)
        return subprocess.run(
            self.argv(*arguments),
            env=environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=self.folder,
        )

    def listens_on(self) -> set[str]:
        """The addresses on which any of its processes listens."""
        supervisor = psutil.Process(Supervisor(self.target).pid())
        pids = {supervisor.pid, *(child.pid for child in supervisor.children(recursive=True))}
        return {
            connection.laddr.ip
            for connection in psutil.net_connections(kind="inet")
            if connection.pid in pids
            and connection.laddr
            and connection.status == psutil.CONN_LISTEN
        }

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """One `logstack` command, started."""
        return subprocess.Popen(
            self.argv(*arguments),
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
        )

    def up(self) -> None:
        result = self.run("up")
        assert result.returncode == 0, f"{result.stdout}{result.stderr}"

    def statuses(self) -> dict[str, dict[str, Any]]:
        result = self.run("status", "--json")
        return {item["name"]: item for item in json.loads(result.stdout)}

    def kill(self, component: str) -> None:
        """kill -9, once it runs: while it restarts its pid is 0, which is the tests' own group.

        Shortly after an earlier kill its pid may still be that of the process that has ended.
        """

        def killed() -> bool:
            pid = self.statuses()[component]["pid"]
            with suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, signal.SIGKILL)
                    return True
            return False

        poll(killed, f"{component} running")

    @property
    def agent(self) -> str:
        return self.settings.stack.agent

    def unless_promtail(self, reason: str) -> None:
        """Skips a test of what Promtail cannot do, and says what that is."""
        if self.agent == "promtail":
            pytest.skip(f"Promtail: {reason}")

    def write(self, *lines: str | bytes) -> None:
        """Append lines to the log file that the agent reads, the way an application does."""
        data = b"".join(
            (line.encode() if isinstance(line, str) else line) + b"\n" for line in lines
        )
        with self.app_log.open("ab", buffering=0) as file:
            file.write(data)

    def wait_for(self, matches: Mapping[str, str], count: int, grep: str = "") -> list[Record]:
        """The records that match once there are `count` of them and no more come."""
        now = datetime.now(UTC)
        selection = Selection(
            since=now - timedelta(days=2), until=now + timedelta(days=1), matches=matches, grep=grep
        )
        found: list[Record] = []

        def there() -> bool:
            if self.engine.count(selection) >= count:
                found[:] = self.engine.records(selection, limit=count + 1000)
            return len(found) >= count

        poll(
            there,
            lambda: (
                f"{count} records with {matches} {grep}, found {self.engine.count(selection)}.\n"
                f"{self.logs()}"
            ),
        )
        return found

    def count(self, matches: Mapping[str, str]) -> int:
        now = datetime.now(UTC)
        return self.engine.count(
            Selection(since=now - timedelta(days=2), until=now + timedelta(days=1), matches=matches)
        )

    def streams(self, service: str) -> list[dict[str, str]]:
        """The labels of each stream of a service, asked of the engine itself."""
        if self.settings.stack.engine == "loki":
            answer = requests.get(
                self.target.url("loki", "/loki/api/v1/series"),
                params={"match[]": f'{{service_name="{service}"}}'},
                headers={"X-Scope-OrgID": LOKI_TENANT},
                timeout=10,
            )
            found: list[dict[str, str]] = answer.json()["data"]
            return found
        now = datetime.now(UTC)
        today = Selection(since=now - timedelta(days=1), until=now + timedelta(days=1))
        rows = self.engine.query(f'service_name:="{service}" | uniq by (_stream)', today, limit=10)
        return [dict(re.findall(r'(\w+)="([^"]*)"', row["_stream"])) for row in rows]

    def logs(self, size: int = 3000) -> str:
        """The end of every component's log, for a failed test."""
        parts = []
        for path in sorted(self.target.log_file("x").parent.glob("*.log")):
            text = path.read_text(encoding="utf-8", errors="replace")[-size:]
            parts.append(f"--- {path.name}\n{text}")
        return "\n".join(parts)


def logstack_argv(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "stack.cli.main", *arguments]


def record(message: str = "hello", **fields: Any) -> dict[str, Any]:
    """A record of the contract with the fields that every record has."""
    return {
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "level": "INFO",
        "logger_name": "tests",
        "message": message,
        "service_name": "erp-backend-api",
        "environment": "dev",
        **fields,
    }


def line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)


def marker() -> str:
    return f"m{uuid.uuid4().hex}"


def poll(condition: Callable[[], T], expected: str | Callable[[], str], timeout: float = 40) -> T:
    """The first true answer of `condition`; fails with what was expected when none comes.

    An engine that does not answer (yet) counts as no.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            if answer := condition():
                return answer
        except EngineError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            text = expected if isinstance(expected, str) else expected()
            raise AssertionError(f"expected within {timeout:g} s: {text}")
        time.sleep(0.1)


def processes_of(stack: StackUnderTest) -> list[psutil.Process]:
    """Every living process whose command line names the stack's folders."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(str(stack.folder) in word for word in words):
            found.append(process)
    return found


def burst(count: int, mark: str, **fields: Any) -> Iterable[str]:
    """Lines of `count` numbered records."""
    for number in range(count):
        yield line(record(f"burst {number}", mark=mark, number=number, **fields))


__all__ = [
    "DEFAULT",
    "EVERY_COMBINATION",
    "LOKI",
    "ON_ENGINES",
    "ON_EVERY_COMBINATION",
    "PROMTAIL",
    "ROOT",
    "Combination",
    "StackUnderTest",
    "burst",
    "line",
    "logstack_argv",
    "marker",
    "on",
    "poll",
    "processes_of",
    "record",
]
