"""Runs components of a host's plan on this machine: its files and command lines, other folders."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack import artifacts, settings
from stack.alerting.throwaway import RunningProcess, running
from stack.artifacts import host_programs as programs
from stack.hosts import secrets
from stack.hosts.plan import HostComponent, HostPlan, plan_for
from stack.settings import Layer, Settings
from stack.settings.tables import Ports
from tests.support.ports import free_ports
from tests.support.require import unavailable

FLEET = {
    "logs-1": {"address": "127.0.0.1", "roles": ["log_server"]},
    "app-1": {"address": "127.0.0.2", "roles": ["app_host"]},
}


def fleet_settings(**sections: Mapping[str, Any]) -> Settings:
    """One log server and one application host on free ports, with a reader called alice."""
    names = Ports.names()
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    ours = {
        "ports": {"offset": 0, **ports},
        "hosts": FLEET,
        "gateway": {"readers": ["alice"]},
        "app_hosts": {"journal": False},
    }
    shipped = settings.read_layers({"LOGSTACK_ENV": "staging"}, for_hosts=True)
    return settings.validate([*shipped, Layer("ours", ours), Layer("test", sections)])


def binaries_of(values: Settings, *names: str) -> dict[str, Path]:
    """The folders of artifacts as hosts get them."""
    try:
        return programs.ensure(values, names, lambda name, text: None)
    except artifacts.ArtifactError as error:
        # No registry builds Loki: it is tested where it is installed.
        unavailable("loki" if {"loki", "promtail"} & set(names) else "native", str(error))


@dataclass
class HostUnderTest:
    """A host whose folders lie below `root`."""

    root: Path
    settings: Settings
    plan: HostPlan

    def component(self, name: str) -> HostComponent:
        return next(item for item in self.plan.components if item.name == name)

    def moved(self, text: str) -> str:
        """A text whose folders are those of the test."""
        for folder in ("/etc/logstack", "/var/lib/logstack", "/var/log", "/var/lib/docker"):
            text = text.replace(folder, f"{self.root}{folder}")
        return text

    def write(self, name: str) -> None:
        """The configuration, the folders and nothing else."""
        for file in self.component(name).files:
            path = Path(f"{self.root}{file.path}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.moved(file.text), encoding="utf-8")
            path.chmod(int(file.mode, 8))
        for folder, _ in self.component(name).directories:
            Path(f"{self.root}{folder}").mkdir(parents=True, exist_ok=True)

    def argv(self, name: str, binaries: Path) -> list[str]:
        """The unit's command line, as systemd would read it."""
        unit = self.component(name).unit.text
        (line,) = [x for x in unit.splitlines() if x.startswith("ExecStart=")]
        program, *rest = shlex.split(self.moved(line.removeprefix("ExecStart=")))
        words = [word.replace("$$", "$").replace("%%", "%") for word in rest]
        return [str(binaries / Path(program).name), *words]

    @contextmanager
    def run(
        self, name: str, binaries: Path, environ: Mapping[str, str] | None = None
    ) -> Iterator[RunningProcess]:
        """One component until the block ends."""
        self.write(name)
        health = self.component(name).health
        folder = self.root / f"process-{name}"
        variables = {"HOME": str(folder), **(environ or {})}
        with running(self.argv(name, binaries), health, "", folder, variables) as process:
            yield process


@contextmanager
def running_host(
    root: Path, values: Settings, known: Mapping[str, str], host: str, *names: str
) -> Iterator[HostUnderTest]:
    """Some components of a host, all at once."""
    under_test = HostUnderTest(root, values, plan_for(values, known, host))
    with ExitStack() as stack:
        for name in names:
            artifact = under_test.component(name).artifact or name
            folders = binaries_of(values, artifact)
            stack.enter_context(under_test.run(name, folders[artifact]))
        yield under_test


def made_secrets(folder: Path, values: Settings) -> dict[str, str]:
    """The secrets of a fleet, as `secrets init` makes them."""
    path = folder / "secrets.json"
    secrets.init(path, values, {})
    return secrets.read(path, values, {})
