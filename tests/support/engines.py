"""Throw-away log engines for tests: one real process each, on a free port, in a folder of its own.

`running_victorialogs(folder)` and `running_loki(folder)` are context managers; the fixtures
`victorialogs` and `loki` are one engine each for all tests of a session. Whatever a test stores
there it tells from the rest by an environment of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stack import artifacts, settings
from stack.alerting.throwaway import flush, running
from stack.components.catalogue import by_name, command, programs
from stack.components.loki import render_loki
from stack.engines.loki import Loki
from stack.engines.victorialogs import VictoriaLogs
from stack.settings import targets, variable_name
from tests.support.ports import free_ports
from tests.support.require import unavailable


def target_in(folder: Path, engine: str, *ports: str) -> targets.Target:
    """A native target with that engine, whose files lie in `folder`, on free ports."""
    numbers = zip(ports, free_ports(len(ports)), strict=True)
    variables = {variable_name("ports", name): str(number) for name, number in numbers}
    variables |= {
        variable_name("stack", "engine"): engine,
        variable_name("ports", "offset"): "0",
        variable_name("paths", "run"): str(folder / "run"),
        variable_name("paths", "data"): str(folder / "data"),
    }
    return targets.native(settings.load(variables))


@contextmanager
def running_victorialogs(folder: Path) -> Iterator[VictoriaLogs]:
    """One VictoriaLogs with the arguments that the native runtime gives it."""
    target = target_in(folder, "victorialogs", "victorialogs")
    try:
        binaries = artifacts.ensure_all(target.settings, lambda name, text: None)
    except artifacts.ArtifactError as error:
        unavailable("native", str(error))
    with _running_component("victorialogs", target, binaries["victorialogs"]):
        yield VictoriaLogs(target.url("victorialogs"))


@contextmanager
def running_loki(folder: Path) -> Iterator[Loki]:
    """One Loki with the configuration that the native runtime gives it, where it is on PATH."""
    target = target_in(folder, "loki", "loki", "loki_grpc")
    values = target.settings
    found = artifacts.find(programs(values)["loki"], artifacts.cache_dir(values))
    if found is None:
        unavailable("loki", f"no loki {values.versions.loki} on PATH")
    for name, text in render_loki(target).items():
        path = target.run_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    with _running_component("loki", target, found):
        yield Loki(target.url("loki"))


@contextmanager
def _running_component(name: str, target: targets.Target, binaries: Path) -> Iterator[None]:
    component = by_name(name)
    program = programs(target.settings)[name].binaries[0]
    argv = command(component, target, {name: str(binaries / program)})
    with running(argv, target.url(name), component.health, target.data_dir / f"{name}-process"):
        yield


@pytest.fixture(scope="session")
def victorialogs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaLogs]:
    """A VictoriaLogs of its own for the whole test session."""
    with running_victorialogs(tmp_path_factory.mktemp("victorialogs")) as engine:
        yield engine


@pytest.fixture(scope="session")
def loki(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loki]:
    """A Loki of its own for the whole test session; skipped where there is none."""
    with running_loki(tmp_path_factory.mktemp("loki")) as engine:
        yield engine


def push(engine: VictoriaLogs | Loki, records: Sequence[Mapping[str, Any]]) -> None:
    """Store records and make them visible to queries."""
    engine.push(records)
    if isinstance(engine, VictoriaLogs):
        flush(engine)
