"""The native runtime, started once for the tests that do not break it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import artifacts, settings
from tests.native.harness import StackUnderTest
from tests.require import unavailable


@pytest.fixture(scope="session")
def binaries() -> None:
    """Builds what is missing first, so that no test's time limit covers it."""
    try:
        artifacts.obtain_all(settings.load({}), lambda name, text: None)
    except artifacts.ArtifactError as error:
        unavailable("native", str(error))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, binaries: None) -> Iterator[StackUnderTest]:
    """A running stack that every test leaves running and healthy."""
    under_test = StackUnderTest(tmp_path_factory.mktemp("native stack"))
    under_test.up()
    yield under_test
    result = under_test.run("down")
    assert result.returncode == 0, result.stderr


@pytest.fixture
def own_stack(tmp_path: Path, binaries: None) -> Iterator[StackUnderTest]:
    """A stack, not yet started, for a test that breaks it; stopped afterwards whatever happens."""
    folder = tmp_path / "a stack of its own"
    folder.mkdir()
    under_test = StackUnderTest(folder)
    yield under_test
    under_test.run("down")
