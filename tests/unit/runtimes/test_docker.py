"""What the Docker runtime writes, and who may read it; no engine is needed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from stack.runtimes.docker.engine import DockerError
from stack.runtimes.docker.runtime import DOCUMENT, VARIABLES, DockerRuntime
from stack.settings import load, variable_name
from stack.settings.targets import SETTINGS_FILE

PRIVATE = (DOCUMENT, VARIABLES, SETTINGS_FILE)


@pytest.fixture
def runtime(tmp_path: Path) -> DockerRuntime:
    folders = {name: str(tmp_path / name) for name in ("run", "data")}
    return DockerRuntime(load({variable_name("paths", name): folders[name] for name in folders}))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def check_modes(runtime: DockerRuntime) -> None:
    """Private is private; what is mounted can be read by every user of a container."""
    assert mode(runtime.run_dir) == 0o700
    for path in runtime.run_dir.rglob("*"):
        mounted = path.relative_to(runtime.run_dir).parts[0] not in PRIVATE
        assert mode(path) == (0o755 if path.is_dir() else 0o644 if mounted else 0o600), path


def test_secrets_stay_private_whatever_fails(
    runtime: DockerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a second start is under way, and when it fails between its steps."""
    monkeypatch.setattr(runtime, "_root", lambda: Path("/var/lib/docker"))
    runtime._write(Path("/probe"))
    check_modes(runtime)
    assert all((runtime.run_dir / name).is_file() for name in PRIVATE)

    def fail() -> Path:
        check_modes(runtime)
        raise DockerError("the engine went away")

    monkeypatch.setattr(runtime, "_root", fail)
    with pytest.raises(DockerError, match="went away"):
        runtime._write(Path("/probe"))
    check_modes(runtime)


def test_what_an_older_start_left_open_is_closed_first(
    runtime: DockerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything that can fail."""
    runtime.run_dir.mkdir(parents=True, mode=0o755)
    private = runtime.run_dir / VARIABLES
    private.touch()
    private.chmod(0o644)

    def fail(images: object, on_progress: object) -> None:
        raise DockerError("no registry")

    monkeypatch.setattr(runtime, "missing_images", list)
    monkeypatch.setattr(runtime, "pull", fail)
    with pytest.raises(DockerError, match="no registry"):
        runtime.up(lambda name, text: None)
    assert (mode(runtime.run_dir), mode(private)) == (0o700, 0o600)
