"""What is watched, as data: stack/components/monitor.py renders it, the monitor reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "monitor.json"


@dataclass(frozen=True)
class Program:
    """A component. `health` and `metrics` are addresses, empty without one.

    `folder` is where it stores, `log` the file of its output, `show` the command that prints it.
    With `on_demand` it may be stopped.
    """

    name: str
    health: str = ""
    metrics: str = ""
    folder: str = ""
    log: str = ""
    show: str = ""
    on_demand: bool = False


@dataclass(frozen=True)
class Files:
    """Log files that the agent reads. `service` is that of lines without one.

    `expected`: the settings name them, so that a pattern without a file is a fault.
    """

    service: str
    patterns: tuple[str, ...]
    excluded: tuple[str, ...]
    expected: bool


@dataclass(frozen=True)
class Limits:
    """When a value is a problem; durations in seconds, sizes in bytes.

    Alerts of before a restart are kept for `settle_s`, and `group_s` after a channel works again.
    """

    queue_s: float
    disk_s: float
    clock_s: float
    certificate_days: int
    free_disk_bytes: int
    settle_s: float
    group_s: float


@dataclass(frozen=True)
class Server:
    """An address that the agent delivers to, as `user`.

    `authorization` is the file with its password or header, `authority` that of the certificate
    authority; empty: the system's.
    """

    url: str
    user: str
    authorization: str
    authority: str = ""


@dataclass(frozen=True)
class Services:
    """How the engine is asked which services log, and for how many seconds they may be silent.

    `query` has WINDOW for the length of time. `retired` are not watched.
    """

    url: str
    query: str
    headers: Mapping[str, str]
    silent_s: float
    silent_after: Mapping[str, float]
    retired: tuple[str, ...]
    timeout_s: float = 20.0


@dataclass(frozen=True)
class Plan:
    """Everything that one monitor watches.

    `folder` keeps its state. It appends records to the file `records`; empty: it prints them.
    `evaluator` evaluates the rules, empty where the engine does. `supervisor` is supervisord's log;
    `units`: the programs are units of systemd. `apply` is the command that brings the programs to
    the settings. `sole_writer`: only this agent writes to this engine; `keeps`: the engine deletes
    nothing but whole days. `certificates` are addresses of servers, `host:port`, `renew` is the
    command for a new one; `servers` are those that the agent delivers to through a gateway, `clock`
    is the address of one whose time counts. `logs` are folders that others write logs to. With
    `links` the agent follows symbolic links. `services`: the engine is here, and is asked for them.
    """

    environment: str
    interval_s: float
    folder: str
    records: str
    apply: str
    agent: str
    engine: str
    programs: tuple[Program, ...]
    files: tuple[Files, ...]
    limits: Limits
    evaluator: str = ""
    supervisor: str = ""
    units: bool = False
    sole_writer: bool = True
    keeps: bool = True
    certificates: tuple[str, ...] = ()
    renew: str = ""
    servers: tuple[Server, ...] = ()
    clock: str = ""
    logs: tuple[str, ...] = ()
    links: bool = True
    services: Services | None = None

    def program(self, name: str) -> Program | None:
        """The program called `name`, if it is watched."""
        return next((program for program in self.programs if program.name == name), None)

    def show(self, name: str) -> str:
        """The command that prints what a program said."""
        program = self.program(name)
        return (program.show if program else "") or self.apply


def to_text(plan: Plan) -> str:
    """The plan as a file."""
    return json.dumps(asdict(plan), indent=1, ensure_ascii=False) + "\n"


def read_plan(folder: Path) -> Plan:
    """The plan in a folder. Raises OSError, and ValueError for a file that to_text did not make."""
    values: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    try:
        return Plan(
            **{
                **values,
                "programs": tuple(Program(**item) for item in values["programs"]),
                "files": tuple(
                    Files(
                        item["service"],
                        tuple(item["patterns"]),
                        tuple(item["excluded"]),
                        item["expected"],
                    )
                    for item in values["files"]
                ),
                "limits": Limits(**values["limits"]),
                **{name: tuple(values[name]) for name in ("certificates", "logs")},
                "servers": tuple(Server(**item) for item in values["servers"]),
                "services": _services(values["services"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / FILE}: expected the plan of a monitor, got {error}") from None


def _services(values: dict[str, Any] | None) -> Services | None:
    return Services(**{**values, "retired": tuple(values["retired"])}) if values else None
