"""The native runtime: every component a process of this machine, run by supervisor.

`up`, `down`, `clean` and `status` are what the commands of the same name call.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import requests

from stack.common import wait_until
from stack.components import catalogue as components
from stack.components.component import Component
from stack.components.monitor import plan_of
from stack.engines.kinds import kind_of
from stack.monitor.processes import TAIL, is_restarting, supervised, why_it_restarts
from stack.monitor.view import Process as Ended
from stack.runtimes.run_folder import forget_changes, write_files
from stack.runtimes.supervisor import Process, Supervisor, SupervisorError
from stack.settings import Settings
from stack.settings.secrets import (
    SecretsError,
    archive_secrets,
    grafana_secrets,
    local_store_secrets,
    sample_app_secrets,
)
from stack.settings.targets import Target, native, read_started_settings
from stack.settings.units import parse_duration

LOG_LINES_SHOWN = 15

OnProgress = Callable[[str, str], None]
"""Called with a component's name and what is going on with it."""


class NativeError(Exception):
    """The native runtime could not do what it was asked; the text says what to do."""


@dataclass(frozen=True)
class Status:
    """One component now.

    `state`: healthy, idle (not needed now), unhealthy, starting, restarting, failed, stopped, or
    unsupervised (it runs, and supervisord does not).
    """

    name: str
    state: str
    address: str
    log: str
    pid: int = 0
    uptime_s: int = 0
    restarts: int = 0
    note: str = ""

    @property
    def is_good(self) -> bool:
        return self.state in ("healthy", "idle")

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class UpResult:
    """What `up` found and did. `changed` names the components started or restarted."""

    statuses: list[Status]
    changed: list[str]
    was_running: bool
    note: str = ""  # what people should know of it, for example what was left out


def up(settings: Settings, on_progress: OnProgress) -> UpResult:
    """Build what is missing, render, start what is not running and wait until all is healthy.

    A second call with the same settings changes nothing. Raises NativeError; whatever this call
    started is stopped again, also on KeyboardInterrupt.
    """
    from stack.runtimes.preflight import describe_unread_files

    target = native(settings)
    supervisor = Supervisor(target)
    was_running, files = _prepare(supervisor, on_progress)
    changed_files = write_files(target, files)
    try:
        if was_running:
            changed = _apply(supervisor, changed_files)
        else:
            on_progress("supervisord", "starting")
            supervisor.start()
            changed = [c.name for c in components.selected(settings) if not c.on_demand]
        forget_changes(target)
        for component in components.selected(settings):
            if component.on_demand and any(target.storage_dir(component.name).iterdir()):
                supervisor.start_program(component.name)
        statuses = wait_until_healthy(target, on_progress)
    except (SupervisorError, NativeError) as error:
        if not was_running:
            _stop_quietly(supervisor)
        raise NativeError(str(error)) from None
    except BaseException:  # Ctrl-C: leave nothing running that was not running before
        if not was_running:
            on_progress("supervisord", "stopping what was started")
            _stop_quietly(supervisor)
        raise
    return UpResult(statuses, changed, was_running, "\n".join(describe_unread_files(target)))


def _prepare(supervisor: Supervisor, on_progress: OnProgress) -> tuple[bool, dict[str, str]]:
    """All that can fail before anything is started: whether it runs, and the rendered files."""
    # Imported here: `status` and `down` need none of them.
    from stack import artifacts
    from stack.alerting import AlertError
    from stack.alerting.files import alert_files
    from stack.render.templates import RenderError
    from stack.runtimes.files import render_native
    from stack.runtimes.preflight import PreflightError, check_data_dir, check_ports, check_writers

    target, settings = supervisor.target, supervisor.target.settings
    try:
        folders = artifacts.ensure_all(settings, on_progress)
        check_data_dir(target)
        archive_secrets(target.data_dir, endpoint=settings.archive.endpoint)
        was_running = supervisor.is_running()
        if not was_running:
            end_leftovers(supervisor, on_progress)
            check_writers(target)
        check_ports(target, supervisor.pid() if was_running else 0)
        binaries = {name: str(folder / _binary(settings, name)) for name, folder in folders.items()}
        secrets = {
            **sample_app_secrets(target.data_dir),
            **grafana_secrets(target.data_dir),
            **local_store_secrets(target.data_dir),
        }
        return was_running, {**render_native(target, binaries, secrets), **alert_files(target)}
    except (
        AlertError,
        artifacts.ArtifactError,
        PreflightError,
        SecretsError,
        RenderError,
        SupervisorError,
    ) as error:
        raise NativeError(str(error)) from None


def down(settings: Settings, on_progress: OnProgress) -> bool:
    """Stop everything and keep the data. False when nothing was running."""
    supervisor = Supervisor(native(settings))
    if not supervisor.is_running():
        return bool(end_leftovers(supervisor, on_progress))
    try:
        supervisor.shutdown()
    except SupervisorError as error:
        raise NativeError(str(error)) from None
    return True


def end_leftovers(supervisor: Supervisor, on_progress: OnProgress) -> list[str]:
    """End the programs of a supervisord that was killed; their names."""
    if names := list(supervisor.leftovers()):
        text = f"stopping {', '.join(names)}, which its predecessor left when it was killed"
        on_progress("supervisord", text)
    return supervisor.end_leftovers()


def is_running(settings: Settings) -> bool:
    """Whether supervisord answers in this run folder."""
    return Supervisor(native(settings)).is_running()


def empty(settings: Settings, component: str) -> None:
    """Stop a component that is on demand and remove what it stores. Raises NativeError."""
    target = native(running_settings(settings))
    supervisor = Supervisor(target)
    if not supervisor.is_running():
        raise NativeError(f"cannot empty {component}: the stack is not running. Run: make up")
    try:
        supervisor.stop(component)
        shutil.rmtree(target.storage_dir(component), ignore_errors=True)
        target.storage_dir(component).mkdir(parents=True, mode=0o700)
    except SupervisorError as error:
        raise NativeError(str(error)) from None


def ensure_started(settings: Settings, component: str, on_progress: OnProgress) -> None:
    """Start a component that is on demand and wait until it is healthy. Raises NativeError.

    Does nothing where no stack runs: who needs the component says that it does not answer.
    """
    target = native(running_settings(settings))
    supervisor = Supervisor(target)
    if not supervisor.is_running():
        return
    try:
        supervisor.start_program(component)
    except SupervisorError as error:
        raise NativeError(str(error)) from None
    timeout = parse_duration(target.settings.timing.start_timeout).total_seconds()

    def is_healthy() -> bool:
        (now,) = [item for item in status(target.settings) if item.name == component]
        on_progress(component, now.state)
        return now.state == "healthy"

    if not wait_until(is_healthy, timeout):
        (now,) = [item for item in status(target.settings) if item.name == component]
        raise NativeError(_describe(now, timeout))


def status(settings: Settings) -> list[Status]:
    """Every component's state, asked now."""
    target = native(settings)
    supervisor = Supervisor(target)
    try:
        processes = supervisor.processes() if supervisor.is_running() else {}
    except SupervisorError:  # it went away between the two questions
        processes = {}
    processes = processes or _unsupervised(supervisor)
    ended = supervised(read_tail(target.log_file("supervisord"), TAIL))
    return [
        _status(component, target, processes.get(component.name), ended.get(component.name))
        for component in components.selected(settings)
    ]


def wait_until_healthy(target: Target, on_progress: OnProgress) -> list[Status]:
    """Poll until every component is healthy. Raises NativeError with the log of one that is not."""
    timeout = parse_duration(target.settings.timing.start_timeout).total_seconds()
    statuses: list[Status] = []

    def are_healthy() -> bool:
        statuses[:] = status(target.settings)
        for item in statuses:
            on_progress(item.name, item.state)
        return all(item.is_good for item in statuses)

    if not wait_until(are_healthy, timeout):
        unhealthy = [item for item in statuses if not item.is_good]
        raise NativeError("\n".join(_describe(item, timeout) for item in unhealthy))
    return statuses


def running_settings(settings: Settings) -> Settings:
    """The settings that the stack in this run folder was started with, if it was."""
    return read_started_settings(settings, "native") or settings


def _apply(supervisor: Supervisor, changed_files: Iterable[str]) -> list[str]:
    """Bring a running supervisord to the configuration just written; the components touched."""
    added, changed, removed = supervisor.reload_config()
    for name in (*removed, *changed):
        supervisor.remove(name)
    for name in (*added, *changed):
        supervisor.add(name)
    touched = {*added, *changed}
    for component in components.selected(supervisor.target.settings):
        reads = f"{component.name}/"
        if component.name not in touched and any(f.startswith(reads) for f in changed_files):
            supervisor.restart(component.name)
            touched.add(component.name)
    return sorted(touched)


def _status(
    component: Component, target: Target, process: Process | None, past: Ended | None
) -> Status:
    """`past` tells how often the program ended by itself since it was last started on purpose."""
    exits = past.exits if past and process else ()
    state, note = _state(component, target, process)
    if state != "failed" and is_restarting(exits, time.time()):
        state, note = "restarting", why_it_restarts(plan_of(target), component.name, exits)
    running = process is not None and process.pid > 0
    return Status(
        name=component.name,
        state=state,
        address=component.page_url(target),
        log=str(target.log_file(component.name)),
        pid=process.pid if process else 0,
        uptime_s=int(time.time() - process.since) if process and running else 0,
        restarts=len(exits),
        note=note,
    )


def _unsupervised(supervisor: Supervisor) -> dict[str, Process]:
    """The programs that go on without their supervisord."""
    found = {}
    for name, processes in supervisor.leftovers().items():
        oldest = min(processes, key=lambda process: process.pid)
        found[name] = Process(name, "UNSUPERVISED", oldest.pid, oldest.create_time(), "")
    return found


def _state(component: Component, target: Target, process: Process | None) -> tuple[str, str]:
    """The state's name, and what there is to say about it."""
    if process is not None and process.state == "STOPPED" and component.on_demand:
        return "idle", "started by the command that needs it"
    if process is None or process.state in ("STOPPED", "STOPPING"):
        return "stopped", ""
    if process.state == "UNSUPERVISED":
        return "unsupervised", "supervisord was killed; it goes on alone. Run: make up"
    if process.state == "BACKOFF":
        return "restarting", process.message
    if process.state in ("EXITED", "FATAL", "UNKNOWN"):
        return "failed", process.message
    if not component.port:
        return ("healthy" if process.state == "RUNNING" else "starting"), ""
    try:
        answer = requests.get(component.health_url(target), timeout=2)
    except requests.RequestException:
        return ("starting" if process.state == "STARTING" else "unhealthy"), "no answer"
    if answer.status_code != requests.codes.ok:
        return "unhealthy", f"HTTP {answer.status_code}"
    if component.name == kind_of(target.settings).evaluator:
        from stack.alerting.loaded import rule_differences

        if problems := rule_differences(target):
            return "unhealthy", problems[0]
    return "healthy", ""


def _describe(item: Status, timeout: float) -> str:
    tail = "\n".join(
        f"    {line}" for line in read_tail(Path(item.log), 20_000).splitlines()[-LOG_LINES_SHOWN:]
    )
    note = f" ({item.note})" if item.note else ""
    return (
        f"cannot start {item.name}: {item.state} after {timeout:g} s{note}.\n"
        f"  Last lines of its log, {item.log}:\n{tail}"
    )


def _stop_quietly(supervisor: Supervisor) -> None:
    try:
        if supervisor.is_running():
            supervisor.shutdown()
    except SupervisorError:
        return  # the error that led here is the one to report


def _binary(settings: Settings, artifact: str) -> str:
    return components.programs(settings)[artifact].binaries[0]


def read_tail(path: Path, size: int) -> str:
    """The last `size` bytes of a file as text; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
