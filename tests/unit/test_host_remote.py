"""What runs on a host, tried on files of this machine."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from provisioning import remote, remote_base, remote_changes

OURS = json.dumps({"log-driver": "json-file", "log-opts": {"max-file": "5"}}, indent=2) + "\n"


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for Docker's, of which two keys are ours."""
    path = tmp_path / "daemon.json"
    for module in (remote_base, remote_changes):
        monkeypatch.setattr(module, "SHARED", {str(path): ("log-driver", "log-opts")})
    return path


def put(path: Path) -> dict[str, Any]:
    item = {"path": str(path), "text": OURS, "mode": "0644", "owner": getpass.getuser()}
    return remote_changes.put_files({"files": [item], "checks": [], "reloads": []})


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


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where old files are kept."""
    path = tmp_path / "kept"
    monkeypatch.setattr(remote_changes, "PREVIOUS", str(path))
    return path


def put_text(path: Path, text: str, run: str) -> None:
    item = {"path": str(path), "text": text, "mode": "0644", "owner": getpass.getuser()}
    assert remote_changes.put_files({"files": [item], "checks": [], "reloads": [], "run": run})[
        "ok"
    ]


def test_files_of_the_host_come_back(tmp_path: Path, kept: Path) -> None:
    """With a rollback; another one goes forward again."""
    path = tmp_path / "logrotate"
    path.write_text("old")
    put_text(path, "new", "1")
    assert remote_changes.last_run({}) == {"run": "1", "components": [], "files": [str(path)]}
    remote_changes.restore_files({"run": "2", "reloads": []})
    assert path.read_text() == "old"
    remote_changes.restore_files({"run": "3", "reloads": []})
    assert path.read_text() == "new"


def test_a_file_that_a_run_made_goes_with_its_rollback(tmp_path: Path, kept: Path) -> None:
    """There was none before."""
    path = tmp_path / "logrotate"
    put_text(path, "new", "1")
    remote_changes.restore_files({"run": "2", "reloads": []})
    assert not path.exists()


def test_a_rollback_keeps_what_the_owner_wrote_since(shared: Path, kept: Path) -> None:
    """Of a shared file only our keys go back."""
    shared.write_text('{"log-driver": "local"}')
    put_text(shared, OURS, "1")
    values = {**json.loads(shared.read_text()), "debug": True}
    shared.write_text(json.dumps(values))
    remote_changes.restore_files({"run": "2", "reloads": []})
    assert json.loads(shared.read_text()) == {"log-driver": "local", "debug": True}


def test_one_run_at_a_time_has_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another is told who has it; only its own run, or nobody's name, gives it back."""
    monkeypatch.setattr(remote_changes, "LOCK", str(tmp_path / "lock.json"))
    assert remote_changes.lock({"run": "1", "who": "alice@desk"}) == {"held": False}
    answer = remote_changes.lock({"run": "2", "who": "bob@desk"})
    assert (answer["held"], answer["who"]) == (True, "alice@desk")
    remote_changes.unlock({"run": "2"})
    assert remote_changes.lock({"run": "2", "who": "bob@desk"})["held"]
    assert remote_changes.unlock({"run": ""}) == {"who": "alice@desk"}
    assert remote_changes.unlock({"run": ""}) == {"who": ""}
    assert remote_changes.lock({"run": "2", "who": "bob@desk"}) == {"held": False}


def test_old_versions_are_removed(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the newest, the one in use and the one to go back to."""
    monkeypatch.setattr(remote_changes, "OPT", str(tmp_path))
    home = tmp_path / "vmalert"
    for number in range(1, 7):
        folder = home / f"1.{number}"
        folder.mkdir(parents=True)
        os.utime(folder, (number, number))
    (home / "current").symlink_to(home / "1.2")
    (kept / "vmalert").mkdir(parents=True)
    (kept / "vmalert" / "state.json").write_text(json.dumps({"target": str(home / "1.3")}))
    remote_changes.prune({"artifacts": ["vmalert"], "keep": 2})
    assert sorted(p.name for p in home.iterdir()) == ["1.2", "1.3", "1.5", "1.6", "current"]


def test_a_kept_key_is_never_wider_than_the_one_in_its_place(tmp_path: Path) -> None:
    """Somebody opened it by hand, a deploy closed it: a rollback does not open it again."""
    for name, mode in (("kept", 0o644), ("staged", 0o600)):
        for file in ("key.pem", f"only-{name}.pem"):
            path = tmp_path / name / "tls" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")
            path.chmod(mode)
    remote_changes.narrow(str(tmp_path / "kept"), str(tmp_path / "staged"))
    kept = tmp_path / "kept" / "tls"
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in kept.iterdir()} == {
        "key.pem": "0o600",
        "only-kept.pem": "0o644",
    }
