"""Built programs from a mirror: a server on loopback has them, or has them wrong."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from stack import artifacts
from stack.artifacts import ArtifactError, mirror
from stack.components.catalogue import programs
from stack.settings import Settings
from tests.support.example import settings_with

VERSION = "9.9.9"
KEY = programs(settings_with(versions={"vmalert": VERSION}))["vmalert"].key
PROGRAM = b"#!/bin/sh\necho v9.9.9\n"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """A test prints nothing."""


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """The folder that the mirror shows."""
    path = tmp_path / "shelf" / platform.machine() / "vmalert" / KEY
    path.mkdir(parents=True)
    (path / "vmalert").write_bytes(PROGRAM)
    digest = hashlib.sha256(PROGRAM).hexdigest()
    (path / mirror.SUMS).write_text(f"{digest}  vmalert\n", encoding="utf-8")
    return path


@pytest.fixture
def values(tmp_path: Path, shelf: Path) -> Iterator[Settings]:
    handler = partial(QuietHandler, directory=str(tmp_path / "shelf"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    paths = {"mirror": f"http://127.0.0.1:{server.server_port}/", "cache": str(tmp_path / "cache")}
    try:
        yield settings_with(paths=paths, versions={"vmalert": VERSION})
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ensure(values: Settings, name: str = "vmalert") -> dict[str, Path]:
    known = {name: programs(values)[name]}
    return artifacts.ensure_all(values, lambda name, text: None, known)


def test_a_program_of_the_mirror_is_not_built(values: Settings, tmp_path: Path) -> None:
    """It is in the cache then, ready to run, and the mirror is not asked again."""
    folder = ensure(values)["vmalert"]
    assert folder == tmp_path / "cache" / "vmalert" / KEY
    assert (folder / "vmalert").read_bytes() == PROGRAM
    assert (folder / "vmalert").stat().st_mode & 0o777 == 0o755
    unreachable = {"mirror": "http://127.0.0.1:9", "cache": str(tmp_path / "cache")}
    assert ensure(settings_with(paths=unreachable, versions={"vmalert": VERSION})) == {
        "vmalert": folder
    }


def test_a_program_with_another_sum_is_refused(values: Settings, shelf: Path) -> None:
    """Nothing of it stays in the cache."""
    (shelf / "vmalert").write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=r"expected sha256 .* Repair the mirror"):
        ensure(values)
    cache = artifacts.cache_dir(values)
    assert list((cache / "vmalert").iterdir()) == []


def test_a_mirror_without_the_program_is_passed_over(values: Settings, tmp_path: Path) -> None:
    """Then it is looked for where it would have been without a mirror."""
    known = programs(values)["loki"]
    assert artifacts.fetch_from_mirror(known, values, lambda name, text: None) is None


def test_a_mirror_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """Building everything instead would be a surprise."""
    paths = {"mirror": "http://127.0.0.1:9", "cache": str(tmp_path)}
    with pytest.raises(ArtifactError, match=r"cannot fetch .*127\.0\.0\.1:9.* from paths\.mirror"):
        ensure(settings_with(paths=paths, versions={"vmalert": VERSION}))


def test_a_download_that_breaks_off_is_named(
    values: Settings, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less came than the mirror had said; nothing of it stays in the cache."""
    end_headers = QuietHandler.end_headers

    def announce_more(self: QuietHandler) -> None:
        if self.path.endswith("vmalert"):
            self._headers_buffer = [  # type: ignore[attr-defined]
                line.replace(b"Content-Length: ", b"Content-Length: 9")
                for line in self._headers_buffer  # type: ignore[attr-defined]
            ]
        end_headers(self)

    monkeypatch.setattr(QuietHandler, "end_headers", announce_more)
    with pytest.raises(ArtifactError, match=r"the download is incomplete"):
        ensure(values)
    assert list((artifacts.cache_dir(values) / "vmalert").iterdir()) == []
