"""Several log servers and one agent that sends to all of them, as processes of this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stack import artifacts
from stack.alerting.throwaway import RunningProcess, running
from stack.components.catalogue import by_name, command, programs
from stack.components.otelcol import render_otelcol
from stack.engines import Selection
from stack.engines.kinds import kind_of
from stack.engines.victorialogs import VictoriaLogs
from stack.settings.targets import Destination, Target
from tests.support.engines import target_in

AGENT = "otelcol"


@dataclass
class LogServers:
    """`servers` are the targets of the engines by name, `target` is that of the agent."""

    servers: Mapping[str, Target]
    target: Target
    binaries: Mapping[str, Path]
    _running: dict[str, ExitStack] = field(default_factory=dict)
    processes: dict[str, RunningProcess] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """The agent, or a server."""
        target = self.servers.get(name, self.target)
        component = by_name("victorialogs" if name in self.servers else AGENT)
        program = (
            self.binaries[component.name] / programs(target.settings)[component.name].binaries[0]
        )
        argv = command(component, target, {component.name: str(program)})
        folder = target.data_dir / f"{name}-process"
        health = target.url(component.port)
        started = self._running[name] = ExitStack()
        process = running(argv, health, component.health, folder, component.env(target))
        self.processes[name] = started.enter_context(process)

    def stop(self, name: str) -> None:
        self.processes.pop(name)
        self._running.pop(name).close()

    def kill(self, name: str) -> None:
        """kill -9."""
        self.processes[name].process.kill()
        self.stop(name)

    def stop_all(self) -> None:
        for name in [*self.processes]:
            self.stop(name)

    def write(self, *lines: str) -> None:
        """Append to the log file that the agent reads."""
        with self.target.app_log_file.open("ab", buffering=0) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())

    def count(self, name: str, mark: str) -> int:
        return self._engine(name).count(_selection(mark))

    def numbers(self, name: str, mark: str) -> Counter[int]:
        """How often a server has each number of a burst."""
        found = self._engine(name).records(_selection(mark), limit=2_000_000)
        return Counter(int(str(record["number"])) for record in found)

    def _engine(self, name: str) -> VictoriaLogs:
        return VictoriaLogs(self.servers[name].url("victorialogs"))


@contextmanager
def log_servers(folder: Path, names: tuple[str, ...], queue: str) -> Iterator[LogServers]:
    """Not yet started; stopped at the end. `queue` is that of each server, on the agent's disk."""
    servers = {name: target_in(folder / name, "victorialogs", "victorialogs") for name in names}
    agent = target_in(folder / "agent", "victorialogs", "otelcol_health", "otelcol_metrics")
    limits = agent.settings.limits.model_copy(update={"queue": queue})
    settings = agent.settings.model_copy(update={"limits": limits})
    path = kind_of(settings).ingestion[AGENT]
    destinations = tuple(
        Destination(name, server.url("victorialogs", path), "", "", "")
        for name, server in servers.items()
    )
    agent = replace(agent, settings=settings, destinations=destinations)
    config = agent.config_dir(AGENT) / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(render_otelcol(agent), encoding="utf-8")
    for target in (agent, *servers.values()):
        target.data_dir.mkdir(parents=True, exist_ok=True)
    agent.app_log_file.parent.mkdir(parents=True, exist_ok=True)
    under_test = LogServers(servers, agent, artifacts.ensure_all(settings, lambda name, text: None))
    try:
        yield under_test
    finally:
        under_test.stop_all()


def _selection(mark: str) -> Selection:
    now = datetime.now(UTC)
    day = timedelta(days=1)
    return Selection(since=now - day, until=now + day, matches={"mark": mark})
