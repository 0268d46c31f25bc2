"""What doctor and the alerts say while something is broken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

import requests

from stack.archive.checks import Finding
from stack.checks.doctor import health, observe
from stack.monitor.model import Observation
from stack.settings.targets import Target
from tests.support.native_stack import poll

# Rules ask the engine; without one the watchdog's alert ends, and so do the calls that it makes.
SWITCH = "dead man's switch"
WATCHDOG = "Watchdog"
NONE = "none: "
PATIENCE = 90.0  # seconds until a fault has to be named
# The monitor looks and rules are evaluated more often than usual; the machine may be busy.
QUICK = {
    ("timing", "start_timeout"): "180s",
    ("monitor", "interval"): "2s",
    ("timing", "alert_interval"): "1s",
    ("alerts", "delay"): "0s",
}


@dataclass(frozen=True)
class Names:
    """A part of doctor's finding about a fault, and its alert; or `none: ` and the reason."""

    doctor: str
    alert: str


@dataclass
class Watch:
    """Asks in a thread until the fault is named, or the block ends. `ask` looks as doctor does.

    `alertmanager` is its address; empty: without one. `findings` and `alerts` are what was said so
    far, each with whether that was before the fault ended.
    """

    names: Names
    ask: Callable[[], Iterable[Observation]]
    alertmanager: str = ""
    findings: dict[str, bool] = field(default_factory=dict)
    alerts: dict[str, bool] = field(default_factory=dict)
    broken: bool = True
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        if self.names.alert == SWITCH:  # it has to be there first, to end
            poll(lambda: WATCHDOG in self.alerts, "the watchdog's alert", timeout=PATIENCE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def until_named(self) -> None:
        """While the fault lasts: wait for doctor's finding, and then the fault ends."""
        self._wait(lambda: self.doctor != "" and (self.names.alert != SWITCH or self.alert != ""))
        self.broken = False

    def finish(self) -> None:
        """Wait for what is still to be said; some alerts need the engine, which is back now.

        Where doctor has nothing to say, it is asked once.
        """
        self._wait(lambda: self.doctor != "" and self.alert != "")
        if self.names.doctor.startswith(NONE):
            self.findings = {f.text: False for f in _problems(self.ask()) if not f.ok}

    @property
    def doctor(self) -> str:
        """Doctor's finding as expected, or what it says though it should not; empty: not yet."""
        expected = self.names.doctor
        if expected.startswith(NONE):
            return "; but: ".join([expected, *self.findings])
        return next((text for text in list(self.findings) if expected in text), "")

    @property
    def alert(self) -> str:
        """The alert as expected, and whether it came after the fault; empty: not seen yet."""
        expected = self.names.alert
        if expected.startswith(NONE):
            return expected
        during = self.alerts.get(expected)
        return "" if during is None else expected if during else f"{expected}, afterwards"

    def _wait(self, condition: Callable[[], bool]) -> None:
        with suppress(AssertionError):  # the outcome says that it was not named
            poll(condition, "named", timeout=PATIENCE)

    def _run(self) -> None:
        while not (self._ended.wait(0.2) or (self.doctor and self.alert)):
            self._see_alerts()
            for finding in _problems(self.ask()):
                self.findings.setdefault(finding.text, self.broken)

    def _see_alerts(self) -> None:
        if not self.alertmanager:
            return
        try:
            answer = requests.get(f"{self.alertmanager}/api/v2/alerts?active=true", timeout=10)
            names = {str(item["labels"]["alertname"]) for item in answer.json()}
        except (requests.RequestException, ValueError):
            return
        if WATCHDOG in self.alerts and WATCHDOG not in names:
            names.add(SWITCH)
        for name in names:
            self.alerts.setdefault(name, self.broken)


def watching(target: Target, names: Names) -> Watch:
    """A watch of a native stack."""
    return Watch(names, lambda: observe(target), target.url("alertmanager"))


def _problems(observations: Iterable[Observation]) -> list[Finding]:
    return [finding for finding in health(observations) if finding.evidence]
