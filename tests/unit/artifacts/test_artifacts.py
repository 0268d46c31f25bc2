"""Obtaining binaries: built once, and those on PATH where they are of the right version."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stack.artifacts import (
    ArtifactError,
    cache_dir,
    compose_plugin,
    ensure_all,
    find,
    required,
)
from stack.components.component import Artifact
from stack.components.otelcol import QUEUE
from stack.settings import ROOT, Settings
from tests.support.builds import (
    EVERYTHING,
    built,
    scratch_folders,
    silent,
    to_build,
)
from tests.support.example import settings_with
from tests.support.fake_go import FakeGo, write_program


def test_everything_that_is_missing_is_built(go: FakeGo, values: Settings) -> None:
    """One folder per component and version, with all of its binaries, and no scratch folder."""
    folders = ensure_all(values, silent)
    assert go.calls() == EVERYTHING
    assert sorted(folders) == sorted(required(values))
    for name, artifact in to_build(values).items():
        assert folders[name] == Path(values.paths.cache) / name / artifact.key
        assert artifact.binaries
        for binary in artifact.binaries:
            assert os.access(folders[name] / binary, os.X_OK)
    assert scratch_folders(values) == []


def test_the_second_run_builds_nothing(go: FakeGo, values: Settings) -> None:
    """Not even go is asked for: it may be gone."""
    first = ensure_all(values, silent)
    go.program.unlink()
    said: list[str] = []
    assert ensure_all(values, lambda name, text: said.append(text)) == first
    assert (go.calls(), said) == (EVERYTHING, [])


def test_another_version_is_built_beside_the_first(go: FakeGo, values: Settings) -> None:
    """Two checkouts with two versions share a cache."""
    first = ensure_all(values, silent)
    newer = settings_with(paths={"cache": values.paths.cache}, versions={"vmalert": "900.1.2"})
    second = ensure_all(newer, silent)
    assert go.calls() == sorted([*EVERYTHING, "install vmalert"])
    assert {n for n in first if first[n] != second[n]} == {"vmalert"}
    assert (first["vmalert"] / "vmalert").exists()


def test_the_collectors_folder_depends_on_what_is_in_it(values: Settings) -> None:
    """A component more in the manifest is another collector of the same version."""
    collector = required(values)["otelcol"]
    version, go_version, digest = collector.key.split("-")
    expected = (collector.version, f"go{values.versions.go}", 12)
    assert (version, go_version, len(digest)) == expected
    assert f"filelogreceiver v{version}" in collector.manifest


def test_a_binary_says_its_version(go: FakeGo, values: Settings) -> None:
    """The linker sets each project's variable."""
    script = go.program.read_text(encoding="utf-8").partition("\n")[2]
    noted = 'echo "$*" >> "$(dirname "$0")/arguments"'
    write_program(go.program, f"#!/bin/sh\n{noted}\n{script}")
    ensure_all(values, silent)
    arguments = (go.program.parent / "arguments").read_text(encoding="utf-8").splitlines()
    version = f"v{values.versions.vmalert}"
    assert (
        "install -v -trimpath -ldflags=-s -w "
        f"-X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version={version} "
        f"-X github.com/prometheus/common/version.Version={version} "
        f"-X github.com/caddyserver/caddy/v2.CustomVersion={version} "
        "github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert"
    ) in arguments


@pytest.mark.timeout(60)
def test_two_runs_at_once_build_once(
    go: FakeGo,
    values: Settings,
    monkeypatch: pytest.MonkeyPatch,
    start_building: Callable[[], subprocess.Popen[str]],
) -> None:
    """The second waits for the first and takes what it built."""
    monkeypatch.setenv("FAKE_GO_WAITS", "vmalert")
    processes = [start_building() for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert "vmalert: waiting for another build\n" in process.stdout
    go.go_on()
    answers = [process.communicate(timeout=30) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert [out.splitlines()[-1] for out, _ in answers] == [" ".join(built(values))] * 2
    assert go.calls() == EVERYTHING


@pytest.mark.parametrize(
    "printed",
    [
        "v{version}",
        "docker-compose-20260102-150405-tags-v{version}-0-g01ab",
        "Docker Compose version v{version}, built today",
    ],
)
def test_a_binary_on_path_of_the_very_version_is_used(
    go: FakeGo, values: Settings, printed: str
) -> None:
    """However the project words it; it is not built again."""
    text = printed.format(version=values.versions.compose)
    write_program(go.program.parent / "docker-compose", f"#!/bin/sh\necho '{text}'\n")
    known = {"compose": compose_plugin(values)}
    assert ensure_all(values, silent, known)["compose"] == go.program.parent
    assert go.calls() == []


@pytest.mark.parametrize(
    "script",
    [
        "echo v{version}.1",
        "echo v{version}-rc1",
        "echo docker-compose-20260102-150405-tags-v{version}-3-g01ab",
        "echo 0.0.1",
        "exec false",
    ],
)
def test_a_binary_on_path_of_another_version_is_not_used(
    go: FakeGo, values: Settings, script: str
) -> None:
    """Neither a release candidate nor something built later."""
    text = script.format(version=values.versions.compose)
    write_program(go.program.parent / "docker-compose", f"#!/bin/sh\n{text}\n")
    assert find(compose_plugin(values), Path(values.paths.cache)) is None


def test_half_of_a_set_on_path_is_not_used(go: FakeGo, values: Settings) -> None:
    """Its binaries are of one build."""
    pair = Artifact("pair", "1.2.3", packages=("example/left",), binaries=("left", "right"))
    write_program(go.program.parent / "left", "#!/bin/sh\necho 1.2.3\n")
    assert find(pair, Path(values.paths.cache)) is None
    write_program(go.program.parent / "right", "#!/bin/sh\necho 1.2.3\n")
    assert find(pair, Path(values.paths.cache)) == go.program.parent


@pytest.mark.parametrize("name", ["victorialogs", "otelcol", "alertmanager", "vmalert"])
def test_a_program_of_others_is_not_used(go: FakeGo, values: Settings, name: str) -> None:
    """It lacks the changes that are made here: it answers pages of others, and loses records."""
    artifact = required(values)[name]
    for binary in artifact.binaries:
        write_program(go.program.parent / binary, f"#!/bin/sh\necho v{artifact.version}\n")
    assert find(artifact, Path(values.paths.cache)) is None


def test_what_is_added_to_a_module_is_in_the_folders_name(go: FakeGo, values: Settings) -> None:
    """So that what was built without it is not taken for the same."""
    alertmanager = required(values)["alertmanager"]
    assert ensure_all(values, silent)["alertmanager"].name == alertmanager.key
    assert replace(alertmanager, added=()).key != alertmanager.key
    assert alertmanager.key.startswith(f"{alertmanager.version}-go{values.versions.go}-")


def test_a_newer_lowest_go_builds_everything_again(go: FakeGo, values: Settings) -> None:
    """Its security fixes are in the programs; a Python package brings its own."""
    newer = settings_with(paths={"cache": values.paths.cache}, versions={"go": "98.0.0"})
    before, after = to_build(values), to_build(newer)
    assert not {item.key for item in before.values()} & {item.key for item in after.values()}
    assert required(values)["seaweedfs"].key == required(newer)["seaweedfs"].key


def test_a_patched_module_is_in_the_build_and_in_the_folders_name(
    go: FakeGo, values: Settings
) -> None:
    """The copy lies beside the manifest while the collector is built."""
    collector = required(values)["otelcol"]
    folder = ensure_all(values, silent)["otelcol"]
    manifest = (folder / "builder.yaml").read_text(encoding="utf-8")
    assert f"  - {QUEUE.module} => ../patched/exporterhelper\n" in manifest
    assert folder.name == collector.key != replace(collector, patches=()).key
    assert not (folder / "patched").exists()


@pytest.mark.parametrize(
    ("cache", "environ", "expected"),
    [
        ("", {"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/logstack/artifacts")),
        ("", {}, Path.home() / ".cache" / "logstack" / "artifacts"),
        ("/big/cache", {"XDG_CACHE_HOME": "/xdg"}, Path("/big/cache")),
        (".cache", {}, ROOT / ".cache"),
    ],
)
def test_the_cache_is_the_users_unless_a_setting_says_else(
    cache: str, environ: dict[str, str], expected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative one is relative to the checkout, from whichever directory it is asked."""
    monkeypatch.chdir("/")
    assert cache_dir(settings_with(paths={"cache": cache}), environ) == expected


@pytest.mark.parametrize("below", ["/dev/null", "/proc/none"])
def test_a_cache_that_cannot_be_written_to_is_named_before_anything_is_built(below: str) -> None:
    """With HOME of a user that has none, for example; once, not for each program."""
    values = settings_with(paths={"cache": f"{below}/cache"})
    with pytest.raises(ArtifactError) as caught:
        ensure_all(values, lambda name, text: None)
    (line,) = str(caught.value).splitlines()
    assert line.startswith("paths.cache: expected a folder for built programs that can be written")
    assert f"got {below}/cache: " in line
    assert line.endswith("Name another folder: LOGSTACK_PATHS__CACHE=/some/folder")


def test_without_a_home_the_setting_of_the_cache_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user of a service may have no entry in the list of users."""
    monkeypatch.setattr(Path, "home", staticmethod(_no_home))
    with pytest.raises(ArtifactError, match="got none, as HOME is not set"):
        cache_dir(settings_with(), {})


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")
