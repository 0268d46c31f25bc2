"""Obtaining binaries: built once, never half, and errors that say what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from stack.artifacts import ArtifactError, cache_dir, ensure_all, find, required
from stack.components.component import Artifact
from stack.components.otelcol import QUEUE
from stack.settings import ROOT, Settings
from tests.support.example import settings_with
from tests.support.fake_go import FakeGo, write_program

EVERYTHING = [
    "install alertmanager",
    "install amtool",
    "install victoria-logs",
    "install vmalert",
    "run builder",
]
OBTAIN = r"""
import sys
from stack.artifacts import ensure_all
from tests.support.example import settings_with
def say(name, text):
    sys.stdout.write(f"{name}: {text}\n")
    sys.stdout.flush()
folders = ensure_all(settings_with(paths={"cache": sys.argv[1]}), say)
print(*sorted(str(folder) for folder in folders.values() if sys.argv[1] in str(folder)))
"""


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGo]:
    """A go, and no component, on PATH; what it left running is ended."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    fake = FakeGo(folder)
    yield fake
    if fake.hangs.exists():
        pid = int(fake.hangs.read_text(encoding="utf-8"))
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def values(tmp_path: Path) -> Settings:
    """Settings with a cache for this test."""
    return settings_with(paths={"cache": str(tmp_path / "cache")})


def silent(name: str, text: str) -> None:
    """Ignore progress."""


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until it holds; fails after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 10 s"
        time.sleep(0.02)


@pytest.fixture
def start_building(go: FakeGo, values: Settings) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts ensure_all in another process."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", OBTAIN, values.paths.cache],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    go.go_on()
    for process in started:
        with process:
            process.kill()


def refusal(values: Settings) -> str:
    with pytest.raises(ArtifactError) as caught:
        ensure_all(values, silent)
    return str(caught.value)


def to_build(values: Settings) -> dict[str, Artifact]:
    """What is made here: a wheel brings the others."""
    return {name: item for name, item in required(values).items() if not item.wheel}


def built(values: Settings) -> list[str]:
    """The folders of all artifacts that are made here."""
    return sorted(f"{values.paths.cache}/{a.name}/{a.key}" for a in to_build(values).values())


def scratch_folders(values: Settings) -> list[Path]:
    return list(Path(values.paths.cache).glob("*/.building-*"))


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
    version, _, digest = collector.key.partition("-")
    assert (version, len(digest)) == (collector.version, 12)
    assert f"filelogreceiver v{version}" in collector.manifest


def test_a_binary_says_its_version(go: FakeGo, values: Settings) -> None:
    """The linker sets each project's variable."""
    script = '[ "$1" != env ] || { echo go99.0; exit; }\necho "$*" >> "$(dirname "$0")/arguments"'
    write_program(go.program, f"#!/bin/sh\n{script}\nexit 1\n")
    refusal(values)
    arguments = (go.program.parent / "arguments").read_text(encoding="utf-8").splitlines()
    version = f"v{values.versions.vmalert}"
    assert (
        "install -v -trimpath -ldflags=-s -w "
        f"-X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version={version} "
        f"-X github.com/prometheus/common/version.Version={version} "
        f"-X github.com/caddyserver/caddy/v2.CustomVersion={version} "
        f"github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert@{version}"
    ) in arguments


def test_a_build_that_fails_leaves_nothing_that_is_used(
    go: FakeGo, values: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error shows the end of the output, names the log and what is there and missing."""
    monkeypatch.setenv("FAKE_GO_BREAKS", "amtool")
    log = Path(values.paths.cache) / "alertmanager" / "build.log"
    assert refusal(values) == (
        f"cannot build alertmanager {values.versions.alertmanager}: "
        f"`{go.program} install …` exited with status 3\n"
        "    compiling amtool\n"
        "    undefined: x\n"
        f"    Complete output: {log}\n"
        "Available: otelcol, victorialogs, vmalert. Missing: alertmanager. "
        "Run the same command again: it builds only what is missing."
    )
    assert "undefined: x" in log.read_text(encoding="utf-8")
    assert scratch_folders(values) == []
    assert find(required(values)["alertmanager"], Path(values.paths.cache)) is None


def test_the_next_run_continues_after_a_failure(
    go: FakeGo, values: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what failed is built again."""
    monkeypatch.setenv("FAKE_GO_BREAKS", "amtool")
    refusal(values)
    monkeypatch.delenv("FAKE_GO_BREAKS")
    ensure_all(values, silent)
    assert go.calls() == sorted([*EVERYTHING, "install alertmanager", "install amtool"])


@pytest.mark.usefixtures("go")
def test_every_failure_is_reported_at_once(
    values: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing network shows once, not after one build after the other."""
    monkeypatch.setenv("FAKE_GO_BREAKS", "")
    text = refusal(values)
    for name, artifact in to_build(values).items():
        assert f"cannot build {name} {artifact.version}: " in text
    assert "Available: none. Missing: victorialogs, otelcol, alert" in text


@pytest.mark.usefixtures("go")
def test_a_binary_that_does_not_run_is_not_used(
    values: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for its version before it is put where binaries are looked for."""
    monkeypatch.setenv("FAKE_GO_BINARY", "#!/bin/sh\necho Illegal instruction; exit 132")
    text = refusal(values)
    assert "/vmalert --version …` exited with status 132\n    Illegal instruction\n" in text
    assert find(required(values)["vmalert"], Path(values.paths.cache)) is None


@pytest.mark.parametrize(
    "said",
    [
        "dial tcp: lookup modules.example: no such host",
        "Get https://modules.example/: dial tcp 192.0.2.1:443: i/o timeout",
        "connect: network is unreachable",
    ],
)
def test_a_missing_network_is_named_as_such(
    go: FakeGo, values: Settings, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """With what is already built, which is used."""
    monkeypatch.setenv("FAKE_GO_BREAKS", "vmalert")
    monkeypatch.setenv("FAKE_GO_SAYS", said)
    lines = refusal(values).splitlines()
    assert lines[0] == (
        f"cannot build vmalert {values.versions.vmalert}: a download failed; check the network"
    )
    assert lines[2] == f"    {said}"
    assert lines[-1].startswith("Available: alertmanager, otelcol, victorialogs. ")
    assert len(go.calls()) == len(EVERYTHING)


@pytest.mark.usefixtures("go")
def test_without_a_usable_go_the_error_lists_what_is_missing(
    values: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Binaries that are there count."""
    write_program(tmp_path / "python", "#!/bin/sh\necho no route >&2\nexit 1\n")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("FAKE_GO_VERSION", "go1.0.0")
    write_program(
        tmp_path / "bin" / "vmalert", f"#!/bin/sh\necho vmalert v{values.versions.vmalert}\n"
    )
    text = refusal(values)
    assert text.startswith(f"go: expected version {values.versions.go} or newer on PATH, got none")
    assert "Available: vmalert. Missing: victorialogs, otelcol, alertmanager. " in text


def test_a_build_that_was_killed_is_never_used_and_cleaned_up(
    go: FakeGo,
    values: Settings,
    monkeypatch: pytest.MonkeyPatch,
    start_building: Callable[[], subprocess.Popen[str]],
) -> None:
    """Half a binary stays in a scratch folder, where it is not looked for; the next run goes on."""
    monkeypatch.setenv("FAKE_GO_HANGS", "vmalert")
    process = start_building()
    wait_for(go.hangs.exists)
    process.kill()
    process.communicate()
    (scratch,) = Path(values.paths.cache).glob("vmalert/.building-*")
    assert os.access(scratch / "vmalert", os.X_OK)
    assert find(required(values)["vmalert"], Path(values.paths.cache)) is None
    monkeypatch.delenv("FAKE_GO_HANGS")
    folders = ensure_all(values, silent)
    assert (folders["vmalert"] / "vmalert").read_text(encoding="utf-8") == "#!/bin/true\n"
    assert scratch_folders(values) == []


def test_an_interrupt_ends_the_compilers(
    go: FakeGo,
    values: Settings,
    monkeypatch: pytest.MonkeyPatch,
    start_building: Callable[[], subprocess.Popen[str]],
) -> None:
    """After Ctrl-C nothing goes on in the background, and no scratch folder is left."""
    monkeypatch.setenv("FAKE_GO_HANGS", "vmalert")
    process = start_building()
    wait_for(go.hangs.exists)
    compiler = int(go.hangs.read_text(encoding="utf-8"))
    assert is_alive(compiler)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert not is_alive(compiler)
    assert scratch_folders(values) == []


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
    ("name", "binary", "printed"),
    [
        ("victorialogs", "victoria-logs", "v{version}"),
        ("victorialogs", "victoria-logs", "victoria-logs-20260102-150405-tags-v{version}-0-g01ab"),
        ("vmalert", "vmalert", "vmalert, version {version}, built today"),
    ],
)
def test_a_binary_on_path_of_the_very_version_is_used(
    go: FakeGo, values: Settings, name: str, binary: str, printed: str
) -> None:
    """However the project words it; it is not built again."""
    text = printed.format(version=required(values)[name].version)
    write_program(go.program.parent / binary, f"#!/bin/sh\necho '{text}'\n")
    folders = ensure_all(values, silent)
    assert folders[name] == go.program.parent
    assert go.calls() == [call for call in EVERYTHING if call != f"install {binary}"]


@pytest.mark.parametrize(
    "script",
    [
        "echo v{version}.1",
        "echo v{version}-rc1",
        "echo vmalert-20260102-150405-tags-v{version}-3-g01ab",
        "echo 0.0.1",
        "exec false",
    ],
)
def test_a_binary_on_path_of_another_version_is_not_used(
    go: FakeGo, values: Settings, script: str
) -> None:
    """Neither a release candidate nor something built later."""
    text = script.format(version=values.versions.vmalert)
    write_program(go.program.parent / "vmalert", f"#!/bin/sh\n{text}\n")
    assert find(required(values)["vmalert"], Path(values.paths.cache)) is None


def test_half_of_a_set_on_path_is_not_used(go: FakeGo, values: Settings) -> None:
    """Its binaries are of one build."""
    pair = Artifact("pair", "1.2.3", packages=("example/left",), binaries=("left", "right"))
    write_program(go.program.parent / "left", "#!/bin/sh\necho 1.2.3\n")
    assert find(pair, Path(values.paths.cache)) is None
    write_program(go.program.parent / "right", "#!/bin/sh\necho 1.2.3\n")
    assert find(pair, Path(values.paths.cache)) == go.program.parent


def test_an_alertmanager_of_others_is_not_used(go: FakeGo, values: Settings) -> None:
    """Every page that a browser shows could read its alerts and silence them."""
    for binary in ("alertmanager", "amtool"):
        text = f"#!/bin/sh\necho {binary}, version {values.versions.alertmanager}\n"
        write_program(go.program.parent / binary, text)
    assert find(required(values)["alertmanager"], Path(values.paths.cache)) is None


def test_a_replaced_module_is_in_the_build_and_in_the_folders_name(
    go: FakeGo, values: Settings
) -> None:
    """So that what was built without it is not taken for the same."""
    alertmanager = required(values)["alertmanager"]
    assert alertmanager.replaced is not None
    module, source = alertmanager.replaced
    folder = ensure_all(values, silent)["alertmanager"]
    assert f"replace {module} => ./replaced\n" in (folder / "go.mod").read_text(encoding="utf-8")
    assert (folder / "replaced" / "replaced.go").read_text(encoding="utf-8") == source
    without = replace(alertmanager, replaced=None)
    assert (without.key, folder.name.partition("-")[0]) == (alertmanager.version,) * 2
    assert folder.name != without.key


def test_a_patched_module_is_in_the_build_and_in_the_folders_name(
    go: FakeGo, values: Settings
) -> None:
    """The copy lies beside the manifest while the collector is built."""
    collector = required(values)["otelcol"]
    folder = ensure_all(values, silent)["otelcol"]
    manifest = (folder / "builder.yaml").read_text(encoding="utf-8")
    assert f"  - {QUEUE.module} => ../patched/exporterhelper\n" in manifest
    assert folder.name == collector.key != replace(collector, patch=None).key
    assert not (folder / "patched").exists()


def test_a_patch_that_does_not_fit_ends_the_build(go: FakeGo, values: Settings) -> None:
    """Another version of the module has other lines: the patch is to be looked at again."""
    (go.module / QUEUE.file).write_text("package queue\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="got another text"):
        ensure_all(values, silent)
    assert find(required(values)["otelcol"], cache_dir(values)) is None


@pytest.mark.parametrize(
    ("cache", "environ", "wanted"),
    [
        ("", {"XDG_CACHE_HOME": "/xdg"}, Path("/xdg/logstack/artifacts")),
        ("", {}, Path.home() / ".cache" / "logstack" / "artifacts"),
        ("/big/cache", {"XDG_CACHE_HOME": "/xdg"}, Path("/big/cache")),
        (".cache", {}, ROOT / ".cache"),
    ],
)
def test_the_cache_is_the_users_unless_a_setting_says_else(
    cache: str, environ: dict[str, str], wanted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative one is relative to the checkout, from whichever directory it is asked."""
    monkeypatch.chdir("/")
    assert cache_dir(settings_with(paths={"cache": cache}), environ) == wanted
