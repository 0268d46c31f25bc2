"""docs/archive.md: its shell blocks read and prove an hour without this project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.settings import ROOT
from tests.support.archives import ArchiveUnderTest, SharedStore, at, running_archive, yesterday
from tests.support.require import unavailable
from tests.support.store_proxy import Proxy

pytestmark = [pytest.mark.native, pytest.mark.own_stack]

PAGE = (ROOT / "docs" / "archive.md").read_text(encoding="utf-8")
PROGRAMS = ("curl", "jq", "openssl", "sha256sum", "zstd")
STACK_TRACE = "Traceback:\n  one\n  two"


@pytest.fixture(scope="module")
def archive(
    tmp_path_factory: pytest.TempPathFactory, binaries: None, shared_store: SharedStore
) -> Iterator[ArchiveUnderTest]:
    for program in PROGRAMS:
        if shutil.which(program) is None:
            unavailable("archive-page", f"no {program} on PATH")
    folder = tmp_path_factory.mktemp("page")
    with running_archive(folder, shared_store, {}, own_engine=True) as started:
        started.push([at(yesterday(3), f"number {n}", level="ERROR", user_id=n) for n in range(9)])
        started.ok("archive", "run")
        started.push([at(yesterday(3, minutes=1), "late", stack_trace=STACK_TRACE)])
        started.ok("archive", "run")
        started.ok("archive", "erase", "--match", "user_id=4", "--reason", "asked for")
        yield started


def shell(
    archive: ArchiveUnderTest, folder: Path, block: int, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run one block of the page with the variables that it needs."""
    code = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)[block]
    access = archive.archive.store.access
    return subprocess.run(
        ["sh", "-u", "-c", code],
        cwd=folder,
        env={
            **os.environ,
            "S3": f"{access.endpoint}/{access.bucket}",
            "READER": access.reader,
            "HOUR": f"{yesterday(3):%Y-%m-%dT%H:%M:%SZ}",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_hour_is_read_and_its_hashes_are_right(
    archive: ArchiveUnderTest, tmp_path: Path
) -> None:
    """Every record of the hour, late ones included and erased ones not."""
    result = shell(archive, tmp_path, 0)
    assert result.returncode == 0, result.stderr
    assert "chain is broken" not in result.stdout
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert sorted(row[3] for row in rows) == sorted(
        ["late", *(f"number {n}" for n in range(9) if n != 4)]
    )
    assert {row[1] for row in rows} == {"erp-backend-api"}


def test_a_store_that_does_not_answer_is_not_the_end_of_the_chain(
    archive: ArchiveUnderTest, tmp_path: Path
) -> None:
    """It looked as if the archive had been tampered with; and another form of the hour as empty."""
    proxy = Proxy(archive.target.url("seaweedfs"), "503 SlowDown", "00000005")
    address = f"http://127.0.0.1:{proxy.server_port}/{archive.archive.store.access.bucket}"
    result = shell(archive, tmp_path, 0, S3=address)
    proxy.stop()
    assert result.returncode == 1
    assert result.stdout == "5.json: the store answered 503: try again\n"
    result = shell(archive, tmp_path, 0, HOUR=f"{yesterday(3):%Y-%m-%dT%H:%M}")
    assert result.returncode == 1
    assert "HOUR: expected one like" in result.stdout


def test_a_manifest_is_proven_and_a_changed_one_is_not(
    archive: ArchiveUnderTest, tmp_path: Path
) -> None:
    """With openssl and the public key."""
    shell(archive, tmp_path, 0)
    (tmp_path / "archive.pem").write_text(archive.ok("archive", "key"), encoding="utf-8")
    result = shell(archive, tmp_path, 1)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Verified Successfully" in result.stdout
    path = tmp_path / "0.json"
    path.write_text(path.read_text(encoding="utf-8").replace("default", "another"))
    assert shell(archive, tmp_path, 1).returncode != 0
