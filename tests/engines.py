"""Throw-away log engines for tests: one real process each, on a free port, in a folder of its own.

`running_victorialogs(folder)` is a context manager; the fixture `victorialogs` of a conftest that
imports it is one engine per test session. Whatever a test stores there, it marks as its own, for
example by an environment of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack import artifacts, settings, targets
from stack.components import by_name, command
from stack.engines.victorialogs import VictoriaLogs
from stack.settings import variable_name
from stack.throwaway import flush, running
from tests.ports import free_ports


def target_in(folder: Path, *ports: str) -> targets.Target:
    """A native target whose files lie in `folder` and whose named ports are free ones."""
    numbers = zip(ports, free_ports(len(ports)), strict=True)
    variables = {variable_name("ports", name): str(number) for name, number in numbers}
    variables |= {
        variable_name("ports", "offset"): "0",
        variable_name("paths", "run"): str(folder / "run"),
        variable_name("paths", "data"): str(folder / "data"),
    }
    return targets.native(settings.load(variables))


@contextmanager
def running_victorialogs(folder: Path) -> Iterator[VictoriaLogs]:
    """One VictoriaLogs with the arguments that the native runtime gives it."""
    target = target_in(folder, "victorialogs")
    obtained = artifacts.obtain_all(target.settings, lambda name, text: None)
    component = by_name("victorialogs")
    argv = command(
        component, target, {"victorialogs": str(obtained["victorialogs"] / "victoria-logs")}
    )
    url = target.url("victorialogs")
    with running(argv, url, component.health, folder / "victorialogs"):
        yield VictoriaLogs(url)


@pytest.fixture(scope="session")
def victorialogs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaLogs]:
    """A VictoriaLogs of its own for the whole test session."""
    with running_victorialogs(tmp_path_factory.mktemp("victorialogs")) as engine:
        yield engine


__all__ = ["flush", "running", "running_victorialogs", "target_in", "victorialogs"]
