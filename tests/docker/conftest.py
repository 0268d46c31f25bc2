"""The Docker runtime, started once for each engine and agent whose images can be had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import artifacts, settings
from stack.runtimes.docker import images
from stack.runtimes.docker.engine import DockerError, check_engine, compose_command, run
from stack.settings import Settings
from tests.support.docker_stack import DockerStackUnderTest
from tests.support.native_stack import EVERY_COMBINATION
from tests.support.require import unavailable

ENGINES = EVERY_COMBINATION


def quiet(name: str, text: str) -> None:
    return None


@pytest.fixture(scope="session")
def local_images() -> Settings:
    """An engine that answers, Compose, and the images that this project builds itself."""
    values = settings.load({})
    try:
        if run("version").returncode != 0:
            check_engine(values)
        try:
            compose_command(values)
        except DockerError:
            plugin = artifacts.compose_plugin(values)
            artifacts.ensure_all(values, quiet, {plugin.name: plugin})
        check_engine(values)
        base = values.images.base
        if run("image", "inspect", base).returncode and run("pull", "--quiet", base).returncode:
            base = "debootstrap"
        images.build_all(values, quiet, base)
    except (DockerError, artifacts.ArtifactError) as error:
        unavailable("docker", str(error))
    return values


@pytest.fixture(scope="session", params=ENGINES, ids=str)
def stack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    local_images: Settings,
) -> Iterator[DockerStackUnderTest]:
    """A running stack that every test leaves running and healthy."""
    folder = tmp_path_factory.mktemp("docker stack")
    under_test = DockerStackUnderTest(folder, request.param.variables)
    try:
        under_test.runtime.pull(under_test.runtime.missing_images(), quiet)
    except DockerError as error:
        unavailable(f"docker-{request.param}", str(error))
    under_test.up()
    yield under_test
    result = under_test.run("clean", "--yes")
    assert result.returncode == 0, result.stderr


@pytest.fixture
def own_stack(tmp_path: Path, local_images: Settings) -> Iterator[DockerStackUnderTest]:
    """A stack, not yet started, for a test that breaks it; removed afterwards whatever happens."""
    under_test = DockerStackUnderTest(tmp_path)
    yield under_test
    under_test.runtime.clean()
