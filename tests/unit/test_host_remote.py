"""What runs on a host, tried on files of this machine."""

from __future__ import annotations

import getpass
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from provisioning import remote

OURS = json.dumps({"log-driver": "json-file", "log-opts": {"max-file": "5"}}, indent=2) + "\n"


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for Docker's, of which two keys are ours."""
    path = tmp_path / "daemon.json"
    monkeypatch.setattr(remote, "SHARED", {str(path): ("log-driver", "log-opts")})
    return path


def put(path: Path) -> dict[str, Any]:
    item = {"path": str(path), "text": OURS, "mode": "0644", "owner": getpass.getuser()}
    return remote.put_files({"files": [item], "checks": [], "reloads": []})


def described(path: Path) -> str:
    others = ("components", "binaries", "links", "directories", "users")
    request: dict[str, list[str]] = {name: [] for name in others}
    found: str = remote.inspect({**request, "files": [str(path)]})["files"][str(path)]["sha256"]
    return found


def test_what_the_owner_of_a_shared_file_wrote_stays(shared: Path) -> None:
    """Ours is added to it, and then it counts as the file of the plan."""
    shared.write_text('{"registry-mirrors": ["https://mirror.example.net"], "log-driver": "local"}')
    assert described(shared) != hashlib.sha256(OURS.encode()).hexdigest()
    assert put(shared)["ok"]
    wanted = {"registry-mirrors": ["https://mirror.example.net"], **json.loads(OURS)}
    assert json.loads(shared.read_text()) == wanted
    assert described(shared) == hashlib.sha256(OURS.encode()).hexdigest()


def test_a_shared_file_that_is_missing_is_made(shared: Path) -> None:
    """Then it holds ours alone."""
    assert put(shared)["ok"]
    assert shared.read_text() == OURS


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_shared_file_that_cannot_be_read_is_left_alone(shared: Path, text: str) -> None:
    """Nobody knows what its owner wanted."""
    shared.write_text(text)
    with pytest.raises(SystemExit, match="Mend it there"):
        put(shared)
    assert shared.read_text() == text
