"""Builds that fail, are killed or interrupted: never half, and errors that say what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stack.artifacts import ensure_all, find, required
from stack.components.otelcol import QUEUE
from stack.settings import Settings
from tests.support.builds import (
    EVERYTHING,
    is_alive,
    refusal,
    scratch_folders,
    silent,
    to_build,
)
from tests.support.fake_go import FakeGo, write_program


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


def test_a_patch_that_does_not_fit_ends_the_build(go: FakeGo, values: Settings) -> None:
    """Another version of the module has other lines: the patch is to be looked at again."""
    (go.module / QUEUE.file).write_text("package queue\n", encoding="utf-8")
    assert "got another text" in refusal(values)
    assert find(required(values)["otelcol"], Path(values.paths.cache)) is None


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
    key = required(values)["vmalert"].key
    write_program(Path(values.paths.cache) / "vmalert" / key / "vmalert", "#!/bin/true\n")
    text = refusal(values)
    assert text.startswith(f"go: expected version {values.versions.go} or newer on PATH, got none")
    assert "Available: vmalert. Missing: victorialogs, otelcol, alertmanager. " in text


def test_a_build_that_was_killed_is_never_used_and_cleaned_up(
    values: Settings,
    monkeypatch: pytest.MonkeyPatch,
    hanging_build: subprocess.Popen[str],
) -> None:
    """Half a binary stays in a scratch folder, where it is not looked for; the next run goes on."""
    hanging_build.kill()
    hanging_build.communicate()
    (scratch,) = Path(values.paths.cache).glob("vmalert/.building-*")
    (half,) = scratch.rglob("vmalert")
    assert os.access(half, os.X_OK)
    assert find(required(values)["vmalert"], Path(values.paths.cache)) is None
    monkeypatch.delenv("FAKE_GO_HANGS")
    folders = ensure_all(values, silent)
    assert (folders["vmalert"] / "vmalert").read_text(encoding="utf-8") == "#!/bin/true\n"
    assert scratch_folders(values) == []


def test_an_interrupt_ends_the_compilers(
    go: FakeGo, values: Settings, hanging_build: subprocess.Popen[str]
) -> None:
    """After Ctrl-C nothing goes on in the background, and no scratch folder is left."""
    compiler = int(go.hangs.read_text(encoding="utf-8"))
    assert is_alive(compiler)
    hanging_build.send_signal(signal.SIGINT)
    _, errors = hanging_build.communicate(timeout=30)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert not is_alive(compiler)
    assert scratch_folders(values) == []
