"""What a run prints at its end: changes by host on standard output, failures on standard error."""

from __future__ import annotations

import atexit
import time
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, dataclass, field

from pyinfra.api.state import State

from stack.archive.checks import Finding
from stack.cli.console import note, out, plain, print_json
from stack.common.counted import counted


@dataclass(frozen=True)
class HostFinding:
    """The result of one check on one host, and after how many seconds it was known."""

    host: str
    finding: Finding
    seconds: float = 0.0

    @property
    def where(self) -> str:
        """Where its command is run, unless it is the control machine."""
        is_here = self.finding.command.startswith(("make ", "./logstack ", "ssh "))
        return "" if is_here else f" on {self.host}"


@dataclass
class Report:
    """The results of a run, by host."""

    state: State
    planned: dict[str, list[str]] = field(default_factory=dict)
    changes: dict[str, list[str]] = field(default_factory=dict)
    sentences: dict[str, list[str]] = field(default_factory=dict)
    findings: list[HostFinding] = field(default_factory=list)
    as_json: bool = False  # findings, and nothing else on standard output
    failed_checks: dict[str, list[str]] = field(default_factory=dict)  # of preflight
    failures: dict[str, list[str]] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of the plans
    servers: tuple[str, ...] = ()  # the log servers, which come first
    entered: set[str] = field(default_factory=set)  # the hosts whose own steps have begun
    counts: bool = False  # for a deploy, which ends with the number of changes
    untouched: str = ""  # what is said of a host that a run did not change; empty for checks
    stopped: bool = False  # by a signal
    nothing: str = ""  # printed if a run has done nothing

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        atexit.register(self.print)

    def progress(self, name: str, text: str) -> None:
        """Progress of getting programs."""
        note(f"{name}: {text}")

    def fail(self, host: str, text: str) -> None:
        self.failures.setdefault(host, []).append(text)

    def change(self, host: str, changes: Sequence[object]) -> None:
        """Changes that a host needs, or that were made to it."""
        kept = self.changes if self.state.is_executing else self.planned
        kept.setdefault(host, []).extend(map(str, changes))

    def note(self, host: str, sentence: str) -> None:
        self.sentences.setdefault(host, []).append(sentence)

    def print(self) -> None:
        """Everything, in the order of the inventory."""
        if self.as_json:
            found = [*self._ordered(), *self._failures()]
            rows = [{"host": item.host, **asdict(item.finding)} for item in found]
            print_json(rows, indent=2)
            return
        executed = self.state.is_executing
        self._print_notes()
        self._print_changes(self.changes if executed else self.planned)
        if executed and self.counts and self.entered and not self.stopped:
            total = sum(map(len, self.changes.values()))
            seconds = time.monotonic() - self._began
            hosts = counted(len(self.changes), "host")
            out.print(f"{counted(total, 'change')} on {hosts} in {seconds:.0f} s")
        for name in self._names(self.sentences):
            for sentence in self.sentences[name]:
                out.print(f"{name}: {sentence}", highlight=False)
        if executed and self.nothing and not (self.sentences or self.failures):
            out.print(self.nothing)
        for item in self._ordered():
            self._print_finding(item)
        self._print_failures()

    def _ordered(self) -> list[HostFinding]:
        order = [host.name for host in self.state.inventory]
        return sorted(
            self.findings, key=lambda item: order.index(item.host) if item.host in order else -1
        )

    def _print_finding(self, item: HostFinding) -> None:
        found = item.finding
        mark = "ok    " if found.ok else "FAILED"
        seconds_text = f" ({item.seconds:.1f} s)" if item.seconds else ""
        text = f"{mark} {item.host}: {found.check}: {found.text}{seconds_text}"
        command = f"Run{item.where}: {found.command}" if found.command else ""
        lines = filter(None, (text, found.evidence, command))
        out.print(plain("\n".join(lines).replace("\n", "\n       ")))

    def _failures(self) -> Iterator[HostFinding]:
        """Hosts that were not, or not completely, looked at, as findings."""
        for name in self._names(self.failures):
            for text in self.failures[name]:
                yield HostFinding(name, Finding("run", False, text))
        for name in self._names(self.unreachable):
            data = self.state.inventory.get_host(name).data
            user = f"{data.get('ssh_user')}@" if data.get("ssh_user") else ""
            command = (
                f"ssh -p {data.get('ssh_port') or 22} {user}{data.get('ssh_hostname') or name}"
            )
            text, _, evidence = self.unreachable[name].partition(": ")
            yield HostFinding(name, Finding("ssh", False, text, evidence, command))

    def _print_notes(self) -> None:
        """Each once, with the hosts that it is about."""
        hosts: dict[str, list[str]] = {}
        for name in self._names(self.notes):
            for text in self.notes[name]:
                hosts.setdefault(text, []).append(name)
        for text, names in hosts.items():
            note(f"{', '.join(names)}: {text}", "yellow")

    def _print_changes(self, changes: dict[str, list[str]]) -> None:
        for name in self._names(changes):
            if self.stopped and not changes[name]:
                continue  # it may be in the middle of a change
            out.print(f"{name}: {counted(len(changes[name]), 'change')}", highlight=False)
            for change in changes[name]:
                out.print(f"  {change}", highlight=False, markup=False)

    def _print_failures(self) -> None:
        failed_checks = {name: found for name, found in self.failed_checks.items() if found}
        for name in self._names(failed_checks):
            note(f"{name}: preflight failed; nothing was changed on any host:", "red")
            for check in failed_checks[name]:
                note(f"  {check}", "red")
        for name in self._names(self.failures):
            for text in self.failures[name]:
                note(f"{name}: {text}", "red")
        for name in self._names(self.unreachable):
            text = f"{name}: {self.unreachable[name]}"
            if name in self.blocking():
                text += f". {self.untouched} on any host, because log servers come first. "
                text += f"To leave this one out, add --exclude {name}"
            elif self.untouched:
                text += f". {self.untouched} on this host"
            note(text, "red")
        if self.entered and self.failures:
            known = {*self.entered, *self.failures, *self.unreachable}
            if skipped := [name for name in self.active() if name not in known]:
                note(f"Skipped after the failure: {', '.join(skipped)}", "red")

    def blocking(self) -> list[str]:
        """Log servers that cannot be reached: without them a deploy changes no host."""
        return [name for name in self.servers if self.untouched and name in self.unreachable]

    def active(self) -> list[str]:
        """The hosts of this run in the inventory's order."""
        return [host.name for host in self.state.inventory if host in self.state.activated_hosts]

    def _names(self, found: Container[str]) -> list[str]:
        return [host.name for host in self.state.inventory if host.name in found]
