"""One run of pyinfra: a session on each host, the hosts' locks, and the end of both.

pyinfra prepares operations on every host and executes them then; `current_run()` is the same object
in both. A session ends before its connection: after the last operation, a failure or Ctrl-C.
"""

from __future__ import annotations

import getpass
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import gevent
from gevent.lock import RLock
from pyinfra.api.config import Config
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_config, ctx_state

from provisioning import DeployError, fleet, preflight
from provisioning.facts.host import HostFacts, HostState, LastRun
from provisioning.report import Report
from provisioning.session import OPEN_SECONDS, Session, open_session
from stack.cli.console import note
from stack.hosts.plan import HostPlan
from stack.records.timestamps import format_time

# Data of pyinfra's command: `--data logstack_json=true` prints the findings as JSON.
AS_JSON = "logstack_json"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Run:
    """One run: what it is to do, and what it has done."""

    state: State
    id: str = field(default_factory=lambda: format_time(datetime.now(UTC)))
    sessions: dict[str, Session] = field(default_factory=dict)  # of the hosts that have steps
    mutex: RLock = field(default_factory=RLock)
    finished: set[str] = field(default_factory=set)
    _deployment: fleet.Deployment | None = None
    _opened: dict[str, Session] = field(default_factory=dict)  # of all hosts
    _tried_all: bool = False
    _last_runs: dict[bool, dict[str, dict[str, Any]]] = field(default_factory=dict)
    _states: dict[tuple[str, bool], dict[str, Any]] = field(default_factory=dict)
    _unlocked: dict[str, str] | None = None
    _checked: bool = False

    def __post_init__(self) -> None:
        self.own = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        as_json = bool(self.state.inventory.get_override_data().get(AS_JSON))
        self.report = Report(self.state, as_json=as_json)
        for host in self.state.inventory:
            if self.state.is_host_in_limit(host) and not host.connected:
                self.report.unreachable[host.name] = "cannot connect by SSH: see the error above"
        # A dry run shows the changes, also with `--yes`, which alone detects none.
        self.state.check_for_changes |= "--dry" in sys.argv
        # pyinfra reports its errors itself; gevent would print a traceback of each besides.
        hub = gevent.get_hub()
        hub.NOT_ERROR = (*hub.NOT_ERROR, PyinfraError)
        for number in SIGNALS:
            signal.signal(number, self._stop)

    @property
    def deployment(self) -> fleet.Deployment:
        """The plans of all hosts of the inventory, made once."""
        if self._deployment is None:
            with self.mutex:
                self._deployment = self._deployment or self._prepare()
        return self._deployment

    def _prepare(self) -> fleet.Deployment:
        inventory = self.state.inventory
        values = fleet.settings_of(inventory)
        found = fleet.prepare(values, self.report.progress, fleet.remedy_of(inventory))
        outside = "is in none of the groups " + ", ".join(fleet.GROUPS.values())
        self.report.notes |= dict.fromkeys(fleet.outsiders(inventory), (outside,))
        self.report.servers = found.serial
        self.state.active_hosts = _Ordered(self.state.active_hosts, found.serial)
        return found

    @property
    def environment(self) -> str:
        return self.deployment.settings.stack.environment

    def plan(self, host: Host) -> HostPlan:
        return self.deployment.plans[host.name]

    # --- Sessions

    def open(self, name: str) -> bool:
        """Start a session on a host that has a plan; False where it has none or cannot.

        The first call starts those of all hosts, so that each of them knows about the others.
        """
        plans = self.deployment.plans
        with self.mutex:
            if not self._tried_all:
                self._tried_all = True
                hosts = [host for host in self.state.active_hosts if host.name in plans]
                gevent.joinall([gevent.spawn(self._open, h, ctx_config.get()) for h in hosts])
        if name in self._opened:
            self.sessions[name] = self._opened[name]
        return name in self._opened

    def _open(self, host: Host, config: Config) -> None:
        try:
            with ctx_config.use(config):
                self._opened[host.name] = open_session(host, self.own)
        except DeployError as error:
            self.report.unreachable[host.name] = f"cannot run commands as root: {error}"
            self.state.failed_hosts.add(host)
            self.state.active_hosts.discard(host)
            return
        disconnect = host.connector.disconnect

        def close_first() -> None:
            self.close(host)
            disconnect()

        host.connector.disconnect = close_first  # type: ignore[method-assign]

    def close(self, host: Host) -> None:
        """End a session: release its lock and remove the agent from the host."""
        self.sessions.pop(host.name, None)
        session = self._opened.pop(host.name, None)
        if session is None:
            return
        own_run = self.own if session.locked else "none"
        complete = session.locked and not (self.report.stopped or self.failed())
        try:
            session.ask("leave", most=OPEN_SECONDS, run=own_run, own=self.own, complete=complete)
        except DeployError as error:
            if session.locked:
                self.report.fail(host.name, f"cannot release the lock: {error}")

    def _stop(self, number: int, frame: object) -> NoReturn:
        """Shut down in order, once: stop the operations; pyinfra disconnects then."""
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        note("stopped. To continue, run the same command again")
        if self.state.pool is not None:
            self.state.pool.kill(block=False)
        self.report.stopped = True
        raise SystemExit(130)

    # --- State and locks

    def state_of(self, host: Host, request: dict[str, Any]) -> dict[str, Any]:
        """The state of a host: read once to prepare, and once to execute, under its lock."""
        key = (host.name, self.state.is_executing)
        if key not in self._states:
            self._states[key] = self.sessions[host.name].fact(HostState, **request)
        return self._states[key]

    def preflight(self, name: str) -> list[str]:
        """The failed checks of a host. To execute, all hosts are checked before one is changed."""
        with self.mutex:
            found = self.report.failed_checks
            if not self.state.is_executing:
                found[name] = self.failed_checks(name)
            elif not self._checked:
                self._checked = True
                jobs = {other: gevent.spawn(self.failed_checks, other) for other in self.sessions}
                found |= {other: job.get() for other, job in jobs.items()}
            return found.get(name, [])

    def failed_checks(self, name: str) -> list[str]:
        """The failed preflight checks of a host, checked now."""
        try:
            facts = self.sessions[name].fact(HostFacts)
        except DeployError as error:
            return [str(error)]
        settings, plan = self.deployment.settings, self.deployment.plans[name]
        return preflight.failed_checks(facts, plan, settings, time.time())

    def lock(self, name: str) -> str:
        """Lock all hosts, once; returns why this one cannot be locked, or an empty text.

        When two runs start at once, the first host's lock decides, so that one of them continues.
        """
        with self.mutex:
            if self._unlocked is None:
                names = [name for name in self.report.active() if name in self.sessions]
                self._unlocked = {names[0]: self._lock(names[0])}
                if not self._unlocked[names[0]]:
                    jobs = {other: gevent.spawn(self._lock, other) for other in names[1:]}
                    self._unlocked |= {other: job.get() for other, job in jobs.items()}
                    self._continue_unfinished()
            return self._unlocked.get(name, "")

    def _continue_unfinished(self) -> None:
        """Take the id of a deploy that did not end well, so that a rollback undoes both as one."""
        found = [session.before for session in self.sessions.values() if session.locked]
        unfinished = max(item["unfinished"] for item in found)
        if self.report.counts and unfinished and unfinished >= max(i["newest"] for i in found):
            self.id = unfinished

    def _lock(self, name: str) -> str:
        session = self.sessions[name]
        who = f"{getpass.getuser()}@{socket.gethostname()}"
        mine: dict[str, Any] = {"run": self.own, "who": who, "process": _process()}
        try:
            answer = session.ask("lock", **mine)
            if answer["held"] and _has_ended(answer.get("process")):
                answer = session.ask("lock", **mine, replace=answer["run"])
        except DeployError as error:
            return f"cannot lock this host: {error}"
        session.locked = not answer["held"]
        if session.locked:
            session.before = answer
            return ""
        return (
            f"cannot deploy: the lock is held by {answer['who']} ({answer['seconds']:.0f} s ago). "
            "Nothing was changed. Wait for that run. If it was killed, run: "
            f"./logstack hosts unlock {self.environment}"
        )

    def last_runs(self) -> dict[str, dict[str, Any]]:
        """What each host's last run changed, of the hosts whose last run is the newest of all.

        Read once to prepare, and once to execute, under the locks.
        """
        with self.mutex:
            known = self._last_runs
            if (key := self.state.is_executing) not in known:
                opened = dict(self._opened)
                found = {name: session.fact(LastRun) for name, session in opened.items()}
                newest = max((item["run"] for item in found.values()), default="")
                known[key] = {n: item for n, item in found.items() if item["run"] == newest != ""}
            return known[key]

    # --- Failures

    def fail(self, name: str, *texts: str) -> None:
        """Note a failure of a host, in every mode of pyinfra: the exit status will say so."""
        for text in texts:
            self.report.fail(name, text)
        self.state.failed_hosts.add(self.state.inventory.get_host(name))

    def failed(self) -> bool:
        """Whether an operation failed on a host of this run."""
        spared = set(self.report.unreachable) - set(self.report.blocking())
        left = {host.name for host in self.state.failed_hosts} - spared
        checks = any(self.report.failed_checks.values())
        return bool(left or self.report.failures or checks)

    def wait_for(self, name: str) -> None:
        """Wait until the steps of a host are done or failed: pyinfra's --no-wait does not."""
        while name in self.sessions and name not in self.finished and not self.failed():
            gevent.sleep(0.2)
        self.proceed()

    def proceed(self) -> None:
        """Stop this run where an operation has failed on any host. Raises PyinfraError."""
        if self.state.is_executing and self.failed():
            raise PyinfraError("stopped after a failure")


def _process() -> list[str | int]:
    """This process: where its id counts (one start of one machine, one container), and the id."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return [boot, os.stat("/proc/self/ns/pid").st_ino, os.getpid()]  # noqa: PTH116
    except OSError:  # not Linux
        return []


def _has_ended(process: list[str | int] | None) -> bool:
    """Whether a process that held a lock was started here and runs no more."""
    if not process or process[:-1] != _process()[:-1]:
        return False
    return not Path(f"/proc/{process[-1]}").exists()


class _Ordered(set[Host]):
    """Hosts in the order of a deploy: pyinfra's --serial takes them as they come."""

    def __init__(self, hosts: set[Host], first: tuple[str, ...]) -> None:
        super().__init__(hosts)
        self._first = first

    def __iter__(self) -> Iterator[Host]:
        rank = {name: number for number, name in enumerate(self._first)}
        return iter(sorted(super().__iter__(), key=lambda host: rank.get(host.name, len(rank))))


_RUNS: dict[int, Run] = {}


def has_run(state: State) -> bool:
    """Whether a deploy file was read."""
    return id(state) in _RUNS


def current_run() -> Run:
    """The run of pyinfra's current state."""
    state = ctx_state.get()
    if id(state) not in _RUNS:
        _RUNS[id(state)] = Run(state)
    return _RUNS[id(state)]
