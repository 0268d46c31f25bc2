"""Whether each program runs, how often it ended by itself, and how much memory it takes.

Natively supervisord's log tells, on hosts systemd; in containers each program's own start time.
"""

from __future__ import annotations

import re
import subprocess
import time
import urllib.error
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stack.monitor import logs, metrics
from stack.monitor.history import History
from stack.monitor.metrics import Samples
from stack.monitor.model import Observation, Problem
from stack.monitor.plan import Plan, Program
from stack.monitor.view import Exit, Process, View

# Of supervisord's log, in bytes: days of a stack at rest, half an hour of one in a crash loop.
TAIL = 1_000_000
RESTARTS, RESTARTS_S = 3, 300
# For how long an end is shown that nobody asked for.
SHOWN_S = 600
STARTING_S = 30  # a program that runs for less may not answer yet
_EVENT = re.compile(
    r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ \w+ "
    r"(?:(spawned): '(\S+)' with pid (\d+)|(exited|stopped|killing|spawnerr): (\S+)(.*)|"
    r"(supervisord started) .*)$"
)
_UNIT_FIELDS = ("Id", "MainPID", "NRestarts", "ActiveState", "ExecMainStatus", "MemoryMax")
UNLIMITED = "infinity"
# Of a program in a container, whose restart may have been asked for.
STARTED = "it was started again"


def supervised(log: str) -> dict[str, Process]:
    """The programs of supervisord by its log, since it started; the times in it are local ones."""
    found: dict[str, Process] = {}
    for line in log.splitlines():
        match = _EVENT.match(line)
        if match is None:
            continue
        moment = time.mktime(time.strptime(match[1], "%Y-%m-%d %H:%M:%S"))
        if match[8]:
            found = {}
        elif match[2]:
            before = found.get(match[3], Process())
            found[match[3]] = replace(before, pid=int(match[4]), since=moment, stopped=False)
        else:
            name, how = match[6], match[7].strip(" ()").partition(";")[0]
            before = found.get(name, Process())
            if match[5] in ("exited", "spawnerr"):
                before = replace(before, exits=(*before.exits, Exit(moment, how)))
            if match[5] == "stopped":  # on purpose: what was before counts no more
                found[name] = Process(stopped=True)
            elif match[5] != "killing":
                found[name] = replace(before, pid=0, since=0.0)
    return found


def recent(exits: tuple[Exit, ...], now: float, seconds: float) -> list[Exit]:
    """The exits within the last `seconds`."""
    return [item for item in exits if item.moment > now - seconds]


def is_restarting(exits: tuple[Exit, ...], now: float) -> bool:
    """Whether a program ended so often that it does not recover by itself."""
    return len(recent(exits, now, RESTARTS_S)) >= RESTARTS


def why_it_restarts(plan: Plan, name: str, exits: tuple[Exit, ...], now: float = 0.0) -> str:
    """How often a program ended in five minutes, and why."""
    program = plan.program(name)
    cause = logs.why_it_ended(program, plan)[0] if program else ""
    count = len(recent(exits, now or time.time(), RESTARTS_S))
    return f"ended {count} times in five minutes: {cause or exits[-1].how}"


def read_processes(
    plan: Plan, history: History, samples: dict[str, Samples], now: float
) -> dict[str, Process]:
    """The process of each program, with the answer of its health check. Adds to the samples."""
    if plan.supervisor:
        found = supervised(logs.tail(Path(plan.supervisor), TAIL))
        found = {name: replace(p, pid=p.pid * _is_alive(p.pid)) for name, p in found.items()}
    else:
        _count_restarts(plan, samples, now)
        found = {
            program.name: _noticed(program.name, history, samples.get(program.name), now)
            for program in plan.programs
        }
    for program in plan.programs:
        known = found.get(program.name, Process(stopped=True))
        ask = program.health and not (program.on_demand and not known.pid)
        found[program.name] = replace(known, answer=health_error(program.health) if ask else "")
        if plan.supervisor and known.pid and "memory_bytes" not in samples.get(program.name, {}):
            memory = {"memory_bytes": {"": resident_bytes(known.pid)}}
            samples.setdefault(program.name, {}).update(memory)
    return found


def pid_of(plan: Plan, name: str) -> int:
    """The process of a program; 0 while it does not run, or where it is in a container."""
    if plan.supervisor:
        known = supervised(logs.tail(Path(plan.supervisor), TAIL)).get(name, Process())
        return known.pid * _is_alive(known.pid)
    samples: dict[str, Samples] = {}
    _count_restarts(plan, samples, 0.0)
    return int(samples.get(name, {}).get("pid", {}).get("", 0))


def health_error(url: str) -> str:
    """Why a health check failed; empty if it passed. It is asked as on loopback."""
    try:
        metrics.fetch(
            url, f"127.0.0.1:{url.partition('://')[2].partition('/')[0].rpartition(':')[2]}"
        )
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except OSError as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason).lower()
    except ValueError as error:
        return str(error)
    return ""


def look(view: View) -> Iterator[Observation]:
    """One observation per program that is selected."""
    for program in view.plan.programs:
        process = view.processes[program.name]
        if program.on_demand and not process.pid:
            continue
        knows = bool(view.plan.supervisor) or view.plan.units
        is_up = not process.answer and (bool(process.pid) or not knows)
        values: dict[str, Any] = {
            "up": int(is_up),
            "restarts_5m": len(recent(process.exits, view.now, RESTARTS_S)),
            "unclean_exits_10m": len(recent(process.exits, view.now, SHOWN_S)),
        }
        if process.since:
            values["uptime_s"] = round(view.now - process.since)
        for field in ("memory_bytes", "memory_limit_bytes", "open_files"):
            if (number := view.value(program.name, field)) is not None:
                values[field] = round(number)
        yield Observation(
            program.name, values=values, problems=tuple(_problems(view, program, process, is_up))
        )


def _problems(view: View, program: Program, process: Process, is_up: bool) -> Iterator[Problem]:
    ended = recent(process.exits, view.now, SHOWN_S)
    restarting = is_restarting(process.exits, view.now)
    if ended:
        _, evidence, command = logs.why_it_ended(program, view.plan)
        if not evidence and "exit status" in ended[-1].how:
            evidence = logs.last_line(program, view.plan)
        evidence = evidence or f"the last time: {ended[-1].how}"
    if restarting:
        text = why_it_restarts(view.plan, program.name, process.exits, view.now)
        yield Problem("component_restarting", f"{program.name} {text}", evidence, command)
    elif ended and ended[-1].how != STARTED:
        is_engine = program.name == view.plan.engine
        lost = ", and records of its last seconds may be missing" if is_engine else ""
        yield Problem(
            "unclean_exit",
            f"{program.name} ended by itself at {clock(ended[-1].moment)} "
            f"({ended[-1].how}) and was started again{lost}",
            evidence,
            command,
            note=not is_engine,
        )
    starting = process.pid and view.now - process.since < STARTING_S
    if not (is_up or restarting or starting):
        why = f"does not answer: {process.answer}" if process.answer else "does not run"
        if process.stopped or (view.plan.supervisor and not process.pid):
            why = "is stopped"
        yield Problem(
            "component_down",
            f"{program.name} {why}",
            logs.last_line(program, view.plan) or f"its health check is {program.health or 'none'}",
            view.plan.apply,
        )
    memory, limit = (view.value(program.name, f) for f in ("memory_bytes", "memory_limit_bytes"))
    if memory and limit and memory > 0.95 * limit:
        yield Problem(
            "memory_limit",
            f"{program.name} is about to be ended for its memory",
            f"{memory:.0f} of {limit:.0f} bytes",
            view.plan.apply,
        )


def clock(moment: float) -> str:
    """A time of day for people, in UTC."""
    return time.strftime("%H:%M:%S UTC", time.gmtime(moment))


def resident_bytes(pid: int) -> float:
    """The memory of a process; 0 where it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return float(found[1]) * 1024 if found else 0.0


def _is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _count_restarts(plan: Plan, samples: dict[str, Samples], now: float) -> None:
    """Add `restarts` and `pid` of systemd's units, and the start time that programs report."""
    for name, found in samples.items():
        if "uptime_s" in found and "started_s" not in found:
            found["started_s"] = {"": now - found["uptime_s"][""]}
        samples[name] = found
    if not plan.units:
        return
    argv = ["systemctl", "show", f"--property={','.join(_UNIT_FIELDS)}"]
    units = [f"logstack-{program.name}.service" for program in plan.programs]
    try:
        result = subprocess.run(
            [*argv, *units], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    for block in result.stdout.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        name = values.get("Id", "").removeprefix("logstack-").removesuffix(".service")
        if not name:
            continue
        found = samples.setdefault(name, {})
        found["restarts"] = {"": float(values.get("NRestarts") or 0)}
        found["pid"] = {"": float(values.get("MainPID") or 0)}
        found["exit_status"] = {"": float(values.get("ExecMainStatus") or 0)}
        found["starts"] = {"": float(values.get("ActiveState") == "activating")}
        if (limit := values.get("MemoryMax", UNLIMITED)).isdigit():
            found["memory_limit_bytes"] = {"": float(limit)}


def _noticed(name: str, history: History, samples: Samples | None, now: float) -> Process:
    """A process whose restarts are noticed by comparing this look with the one before."""
    known: Mapping[str, Any] = history.notes.setdefault("processes", {}).get(name, {})
    exits = [Exit(*item) for item in known.get("exits", []) if item[0] > now - SHOWN_S]
    values = {field: series.get("", 0.0) for field, series in (samples or {}).items()}
    restarts, started = values.get("restarts"), values.get("started_s")
    if restarts is not None and known.get("restarts") is not None:
        new = max(0, int(restarts - known["restarts"]))
        exits += [Exit(now, f"exit status {values.get('exit_status', 0):.0f}")] * new
    elif restarts is None and started and known.get("started", started) + 2 < started:
        exits.append(Exit(started, STARTED))
    history.notes["processes"][name] = {
        "exits": [[item.moment, item.how] for item in exits],
        "restarts": restarts,
        "started": started or known.get("started", 0.0),
    }
    pid = int(values.get("pid", 0))
    stopped = "pid" in values and not pid and not values.get("starts")
    return Process(pid, started or 0.0, tuple(exits), stopped=stopped)
