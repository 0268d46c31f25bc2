"""The native runtime, started once for the tests that do not break it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from stack import artifacts, settings
from tests.support.archives import ArchiveUnderTest, SharedStore, running_archive, three_users
from tests.support.native_stack import DEFAULT, Combination, StackUnderTest
from tests.support.require import unavailable


@pytest.fixture(scope="session", params=[DEFAULT], ids=str)
def combination(request: pytest.FixtureRequest) -> Combination:
    """What the stack consists of; `native_stack.on` runs a test for others."""
    found: Combination = request.param
    return found


@pytest.fixture(scope="session")
def binaries(combination: Combination) -> None:
    """Builds what is missing first, so that no test's time limit covers it.

    What is not built but looked for is demanded by its own name: `loki`, `promtail`.
    """
    values = settings.load(combination.variables)
    cache = artifacts.cache_dir(values)
    for name, artifact in artifacts.required(values).items():
        if not artifact.is_built and artifacts.find(artifact, cache) is None:
            unavailable(name, f"{name} {artifact.version} is not on PATH")
    try:
        artifacts.ensure_all(values, lambda name, text: None)
    except artifacts.ArtifactError as error:
        unavailable("native", str(error))


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, combination: Combination, binaries: None
) -> Iterator[StackUnderTest]:
    """A running stack that every test leaves running and healthy."""
    under_test = StackUnderTest(tmp_path_factory.mktemp("native stack"), combination.variables)
    under_test.up()
    yield under_test
    result = under_test.run("down")
    assert result.returncode == 0, result.stderr


@pytest.fixture
def own_stack(tmp_path: Path, combination: Combination, binaries: None) -> Iterator[StackUnderTest]:
    """A stack, not yet started, for a test that breaks it; stopped afterwards whatever happens."""
    folder = tmp_path / "a stack of its own"
    folder.mkdir()
    under_test = StackUnderTest(folder, combination.variables)
    yield under_test
    under_test.run("down")


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStore]:
    """A SeaweedFS and a VictoriaLogs for the tests of archives; use it after `binaries`."""
    under_test = SharedStore.in_folder(tmp_path_factory.mktemp("object store"))
    try:
        under_test.start_all()
        yield under_test
    finally:
        under_test.stop()


@pytest.fixture
def variables(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Settings of the archive: VARIABLES of the module, or those that a test is marked with."""
    found: Mapping[str, str] = getattr(request.module, "VARIABLES", {})
    return found


@pytest.fixture
def archive(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    binaries: None,
    shared_store: SharedStore,
    combination: Combination,
    variables: Mapping[str, str],
) -> Iterator[ArchiveUnderTest]:
    """A running archive, whose engine is the session's unless a test is marked `own_engine`."""
    own_engine = request.node.get_closest_marker("own_engine") is not None
    settings = {**combination.variables, **variables}
    with running_archive(tmp_path, shared_store, settings, own_engine=own_engine) as started:
        yield started


@pytest.fixture
def archived(archive: ArchiveUnderTest) -> ArchiveUnderTest:
    """Three records of three users in each of two hours, archived."""
    archive.push(three_users())
    archive.ok("archive", "run")
    return archive
