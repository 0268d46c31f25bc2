"""Released archives: a server on loopback has them in the layout of their projects' releases."""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from stack import artifacts
from stack.artifacts import ArtifactError, host_programs, mirror, release
from stack.components.catalogue import programs
from stack.settings import Settings, SettingsError
from tests.support.builds import silent
from tests.support.example import settings_with
from tests.support.fake_go import FakeGo, write_program
from tests.unit.artifacts.test_mirror import QuietHandler

MACHINE = release.MACHINES.get(platform.machine(), platform.machine())
VERSION = "9.9.9"
LOKI = f"v{VERSION}/loki-linux-{MACHINE}.zip"
GRAFANA = f"grafana-{VERSION}.linux-{MACHINE}.tar.gz"
PROGRAM = b"#!/bin/sh\necho loki, version 9.9.9\n"
GRAFANA_FILES = {"bin/grafana": "#!/bin/sh\n", "conf/defaults.ini": "", "public/index.html": "<p>"}

Publish = Callable[..., Settings]


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: Mapping[str, str]) -> bytes:
    """As Grafana's release: everything below one folder, and more than is deployed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in {**files, "LICENSE": "AGPL", "docs/a.md": ""}.items():
            entry = tarfile.TarInfo(f"grafana-{VERSION}/{name}")
            entry.size = len(text)
            entry.mode = 0o755 if name.startswith("bin/") else 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
        link = tarfile.TarInfo(f"grafana-{VERSION}/bin/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return buffer.getvalue()


@pytest.fixture
def publish(tmp_path: Path, go: FakeGo) -> Iterator[Publish]:
    """Puts an archive on the server; returns settings that have its address and its sum."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    handler = partial(QuietHandler, directory=str(shelf))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"

    def publish(name: str, path: str, content: bytes, **sections: Any) -> Settings:
        (shelf / path).parent.mkdir(exist_ok=True)
        (shelf / path).write_bytes(content)
        pattern = path.replace(VERSION, "{version}").replace(MACHINE, "{machine}")
        values: dict[str, Any] = {
            "versions": {name: VERSION},
            "releases": {name: f"{address}/{pattern}"},
            "release_sums": {f"{name}_{MACHINE}": hashlib.sha256(content).hexdigest()},
            "paths": {"cache": str(tmp_path / "cache")},
        }
        return settings_with(**{**values, **sections})

    try:
        yield publish
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def loki(**sections: Any) -> tuple[str, str, bytes]:
    return "loki", LOKI, zipped(**{f"loki-linux-{MACHINE}": PROGRAM})


def ensure(values: Settings, name: str = "loki") -> Path:
    return host_programs.ensure(values, [name], silent)[name]


def cached(values: Settings, name: str) -> list[str]:
    """What the cache has of a program, but for its lock."""
    files = (artifacts.cache_dir(values) / name).rglob("*")
    return [str(file) for file in files if file.name != ".lock" and not file.is_dir()]


def test_a_program_of_a_release_is_fetched_once(publish: Publish, tmp_path: Path) -> None:
    """It is in the cache then, and later runs need no network."""
    values = publish(*loki())
    folder = ensure(values)
    assert folder == tmp_path / "cache" / "loki" / VERSION
    assert [file.name for file in folder.iterdir()] == ["loki"]
    assert (folder / "loki").read_bytes() == PROGRAM
    assert (folder / "loki").stat().st_mode & 0o777 == 0o755
    assert folder.stat().st_mode & 0o777 == 0o755
    without_network = {"loki": "http://127.0.0.1:9/{version}.zip"}
    assert ensure(publish(*loki(), releases=without_network)) == folder


def test_a_program_on_path_comes_first(publish: Publish, go: FakeGo) -> None:
    """A machine without a network needs no archive; one of another version does not count."""
    write_program(go.program.parent / "loki", PROGRAM.decode())
    values = publish(*loki(), release_sums={})
    assert ensure(values) == go.program.parent
    write_program(go.program.parent / "loki", "#!/bin/sh\necho loki, version 9.9.8\n")
    assert ensure(publish(*loki())) != go.program.parent


def test_a_mirror_comes_before_the_release(publish: Publish, tmp_path: Path) -> None:
    """As for every program; it needs no sum in the settings."""
    folder = tmp_path / "shelf" / platform.machine() / "loki" / VERSION
    folder.mkdir(parents=True)
    (folder / "loki").write_bytes(PROGRAM)
    digest = hashlib.sha256(PROGRAM).hexdigest()
    (folder / mirror.SUMS).write_text(f"{digest}  loki\n", encoding="utf-8")
    values = publish(*loki())
    address = values.releases.loki.partition("/v")[0]
    paths = {"cache": str(tmp_path / "cache"), "mirror": address}
    values = publish(*loki(), paths=paths, release_sums={})
    assert (ensure(values) / "loki").read_bytes() == PROGRAM


def test_an_archive_without_a_sum_is_refused(publish: Publish) -> None:
    """The message has the setting, the address, and the command that prints the sum."""
    values = publish(*loki(), release_sums={f"loki_{MACHINE}": ""})
    url = release.release_of("loki", values).url
    with pytest.raises(ArtifactError) as refused:
        ensure(values)
    text = str(refused.value)
    assert text.startswith(f"cannot fetch loki {VERSION}: PATH has no program of this version, and")
    assert f"release_sums.loki_{MACHINE} has no sha256 of {url}" in text
    assert text.endswith(f"Run: curl -fsSL {url} | sha256sum")
    assert "LOGSTACK_STACK__ENGINE=victorialogs" in text


def test_an_archive_with_another_sum_is_refused(publish: Publish) -> None:
    """Nothing of it stays in the cache."""
    values = publish(*loki(), release_sums={f"loki_{MACHINE}": "0" * 64})
    with pytest.raises(ArtifactError, match=r"expected sha256 0+, as in release_sums\.loki_"):
        ensure(values)
    assert cached(values, "loki") == []


@pytest.mark.parametrize("content", [b"no archive", zipped(other=PROGRAM)], ids=["text", "other"])
def test_an_archive_of_another_layout_is_refused(publish: Publish, content: bytes) -> None:
    values = publish("loki", LOKI, content)
    with pytest.raises(ArtifactError, match=rf"expected a zip archive with loki-linux-{MACHINE}"):
        ensure(values)
    assert cached(values, "loki") == []


@pytest.mark.parametrize("address", ["{base}/missing.zip", "http://127.0.0.1:9/loki.zip"])
def test_an_archive_that_cannot_be_fetched_is_named(publish: Publish, address: str) -> None:
    """With the command to try: the machine that plans may have no network."""
    values = publish(*loki())
    base = values.releases.loki.partition("/v")[0]
    values = publish(*loki(), releases={"loki": address.replace("{base}", base)})
    with pytest.raises(ArtifactError, match=r"cannot be downloaded: .* Run: curl -fLO http"):
        ensure(values)


def test_every_program_that_cannot_be_fetched_is_named(publish: Publish) -> None:
    """Loki and Promtail are needed together: one run reports both."""
    values = publish(*loki(), release_sums={f"loki_{MACHINE}": "", f"promtail_{MACHINE}": ""})
    known = {name: programs(values)[name] for name in ("loki", "promtail")}
    with pytest.raises(ArtifactError, match=r"cannot fetch loki[^\n]*\ncannot fetch promtail"):
        artifacts.ensure_all(values, silent, known)


def test_grafanas_release_becomes_the_bundle_of_hosts(publish: Publish, tmp_path: Path) -> None:
    """The same archive gives the same bundle, without links, documentation and the top folder."""
    values = publish("grafana", GRAFANA, tarred(GRAFANA_FILES))
    path = ensure(values, "grafana") / "grafana.tar.gz"
    with tarfile.open(path) as bundle:
        modes = {entry.name: entry.mode for entry in bundle.getmembers()}
    assert modes == {
        "lib/bin/grafana": 0o755,
        "lib/conf/defaults.ini": 0o644,
        "lib/public/index.html": 0o644,
    }
    first = path.read_bytes()
    path.unlink()
    assert (ensure(values, "grafana") / "grafana.tar.gz").read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == ["grafana.tar.gz"]


@pytest.mark.parametrize(
    ("content", "got"),
    [(b"no archive", "file could not be opened"), (tarred({"public/a": ""}), "neither")],
    ids=["text", "other"],
)
def test_a_grafana_of_another_layout_is_refused(publish: Publish, content: bytes, got: str) -> None:
    """There is no bundle then."""
    values = publish("grafana", GRAFANA, content)
    with pytest.raises(ArtifactError, match=rf"bin/grafana and conf/defaults.ini, got .*{got}"):
        ensure(values, "grafana")
    assert "grafana.tar.gz" not in "".join(cached(values, "grafana"))


def test_a_grafana_without_a_sum_is_refused(publish: Publish) -> None:
    sums = {f"grafana_{MACHINE}": ""}
    values = publish("grafana", GRAFANA, tarred(GRAFANA_FILES), release_sums=sums)
    with pytest.raises(ArtifactError, match=r"cannot fetch grafana 9\.9\.9: .* \| sha256sum$"):
        ensure(values, "grafana")


def test_a_sum_that_is_none_is_refused_with_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"release_sums\.loki_amd64: expected 64 hexadecimal"):
        settings_with(release_sums={"loki_amd64": "abc"})
