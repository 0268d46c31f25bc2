"""One log server and two application hosts, shared by every test of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stack import artifacts, settings
from stack.docker_engine import DockerError, run
from stack.hosts import programs
from tests.hosts.harness import FleetUnderTest, start_hosts
from tests.require import unavailable


@pytest.fixture(scope="session")
def bare_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetUnderTest]:
    """Hosts that nothing was deployed to yet."""
    hosts = start_hosts(("logs-1", "app-1", "app-2"), tmp_path_factory.mktemp("hosts"))
    try:
        if run("version").returncode != 0:
            unavailable("hosts", "no Docker engine answers")
        values = settings.load({})
        names = [n for n, a in programs.catalogue(values).items() if a.is_built]
        programs.obtain(values, [*names, "seaweedfs", "archiver"], lambda name, text: None)
        fleet = next(hosts)
    except (DockerError, artifacts.ArtifactError) as error:
        unavailable("hosts", str(error))
    fleet.roles = {"logs-1": ("log_server",), "app-1": ("app_host",), "app-2": ("app_host",)}
    app = {"service": "erp-backend-api", "user": "erp"}
    fleet.values = {"timing": {"start_timeout": "20s"}, "app_hosts": {"apps": [app]}}
    fleet.prepare()
    yield fleet
    next(hosts, None)  # removes the containers


@pytest.fixture
def fleet(bare_fleet: FleetUnderTest) -> Iterator[FleetUnderTest]:
    """Everything deployed and healthy, with the settings of the first run, before and after."""
    values, roles = dict(bare_fleet.values), dict(bare_fleet.roles)
    bare_fleet.deploy()
    yield bare_fleet
    bare_fleet.values, bare_fleet.roles = values, roles
