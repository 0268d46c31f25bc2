"""One log server and two application hosts, shared by every test of this folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from stack import artifacts, settings
from stack.artifacts import host_programs as programs
from stack.runtimes.docker.engine import DockerError, run
from tests.support.host_containers import FleetUnderTest, start_hosts
from tests.support.host_load import load, wait_for_all
from tests.support.require import unavailable

OUTAGE_SECONDS = 300


@contextmanager
def started(names: tuple[str, ...], folder: Path) -> Iterator[FleetUnderTest]:
    """Bare hosts, removed whatever happens. Raises DockerError and ArtifactError."""
    values = settings.load({})
    built = [n for n, a in programs.catalogue(values).items() if a.is_built]
    programs.ensure(values, [*built, "seaweedfs", "archiver"], lambda name, text: None)
    with start_hosts(names, folder) as fleet:
        fleet.roles = {
            name: ("log_server",) if name.startswith("logs") else ("app_host",) for name in names
        }
        app = {"service": "erp-backend-api", "user": "erp"}
        fleet.values = {
            "timing": {"start_timeout": "30s"},
            "app_hosts": {"apps": [app]},
            "gateway": {"readers": ["alice"]},
        }
        fleet.prepare()
        yield fleet


@contextmanager
def started_or_skipped(names: tuple[str, ...], folder: Path) -> Iterator[FleetUnderTest]:
    """Bare hosts; the test is skipped where the machine cannot have them."""
    if run("version").returncode != 0:
        unavailable("hosts", "no Docker engine answers")
    with ExitStack() as stack:
        try:
            fleet = stack.enter_context(started(names, folder))
        except (DockerError, artifacts.ArtifactError) as error:
            unavailable("hosts", str(error))
        yield fleet


@pytest.fixture(scope="session", autouse=True)
def outage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Future[None] | None]:
    """The long outage on its own hosts, beside other tests; none if no test needs it."""
    if not any(item.get_closest_marker("outage") for item in request.session.items):
        yield None
        return
    folder = tmp_path_factory.mktemp("outage")
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(go_through_an_outage, folder)


def go_through_an_outage(folder: Path) -> None:
    """A log server is stopped for five minutes while an application host logs."""
    with started(("logs-1", "app-1"), folder) as fleet:
        fleet.deploy()
        host = fleet.hosts["logs-1"]
        with load(fleet, ("app-1",)) as writers:
            host.sh("systemctl stop logstack-victorialogs")
            time.sleep(OUTAGE_SECONDS)
            host.sh("systemctl start logstack-victorialogs")
        assert writers[0].count > OUTAGE_SECONDS * 10
        wait_for_all(fleet, writers)


@pytest.fixture(scope="session")
def bare_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetUnderTest]:
    """Hosts that nothing was deployed to yet."""
    names = ("logs-1", "app-1", "app-2")
    with started_or_skipped(names, tmp_path_factory.mktemp("hosts")) as fleet:
        yield fleet


@pytest.fixture
def fleet(bare_fleet: FleetUnderTest) -> Iterator[FleetUnderTest]:
    """Everything deployed and healthy, with the settings of the first run, before and after."""
    values, roles = dict(bare_fleet.values), dict(bare_fleet.roles)
    bare_fleet.ensure_deployed()
    yield bare_fleet
    bare_fleet.values, bare_fleet.roles = values, roles
