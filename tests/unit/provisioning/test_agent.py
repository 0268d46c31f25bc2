"""What runs on a host, tried on files of this machine."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provisioning.agent import base, changes, locks, state

OURS = json.dumps({"log-driver": "json-file", "log-opts": {"max-file": "5"}}, indent=2) + "\n"


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for Docker's, of which two keys are ours."""
    path = tmp_path / "daemon.json"
    for module in (base, changes, state):
        monkeypatch.setattr(module, "SHARED", {str(path): ("log-driver", "log-opts")})
    return path


def put(
    *written: tuple[Path, str], gone: tuple[Path, ...] = (), run: str = "", **hooks: Any
) -> dict[str, Any]:
    """Have the host write and remove files; `hooks` is the same for all of them."""
    who = getpass.getuser()
    files = [{"path": str(p), "text": text, "mode": "0644", "owner": who} for p, text in written]
    known = {str(path): handled(**hooks) for path in (*(p for p, _ in written), *gone)}
    return changes.put_files(
        {"files": files, "removed": [str(path) for path in gone], "hooks": known, "run": run}
    )


def handled(**commands: Any) -> dict[str, Any]:
    return {"check": [], "written": [], "leaving": [], "removed": [], **commands}


def restore(run: str, *paths: Path, **hooks: Any) -> dict[str, Any]:
    known = {str(path): handled(**hooks) for path in paths}
    return changes.restore_files({"run": run, "hooks": known})


def described(path: Path) -> str:
    others = ("components", "binaries", "links", "directories", "users", "units", "tables")
    request: dict[str, list[str]] = {name: [] for name in others}
    found: str = state.inspect({**request, "files": [str(path)]})["files"][str(path)]["sha256"]
    return found


def test_what_the_owner_of_a_shared_file_wrote_stays(shared: Path) -> None:
    """Ours is added to it, and then it counts as the file of the plan."""
    shared.write_text('{"registry-mirrors": ["https://mirror.example.net"], "log-driver": "local"}')
    assert described(shared) != hashlib.sha256(OURS.encode()).hexdigest()
    assert put((shared, OURS))["ok"]
    expected = {"registry-mirrors": ["https://mirror.example.net"], **json.loads(OURS)}
    assert json.loads(shared.read_text()) == expected
    assert described(shared) == hashlib.sha256(OURS.encode()).hexdigest()


def test_a_shared_file_that_is_missing_is_made(shared: Path) -> None:
    """Then it holds ours alone, and everybody may read it."""
    assert put((shared, OURS))["ok"]
    assert shared.read_text() == OURS
    assert mode_of(shared) == 0o644


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_shared_file_that_cannot_be_read_is_left_alone(shared: Path, text: str) -> None:
    """What its owner meant is not known."""
    shared.write_text(text)
    with pytest.raises(SystemExit, match="Fix it on the host"):
        put((shared, OURS))
    assert shared.read_text() == text


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where old files are kept."""
    path = tmp_path / "kept"
    monkeypatch.setattr(changes, "PREVIOUS", str(path))
    return path


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_files_of_the_host_come_back(tmp_path: Path, kept: Path) -> None:
    """With a rollback; another one goes forward again."""
    path = tmp_path / "logrotate"
    path.write_text("old")
    assert put((path, "new"), run="1")["ok"]
    assert changes.last_run({}) == {
        "run": "1",
        "components": [],
        "removed": [],
        "files": [str(path)],
    }
    restore("2", path)
    assert path.read_text() == "old"
    restore("3", path)
    assert path.read_text() == "new"


def test_a_rollback_undoes_all_parts_of_an_unfinished_run(tmp_path: Path, kept: Path) -> None:
    """The next run takes its id, and what it replaces again does not count as the old file."""
    first, second = tmp_path / "rules", tmp_path / "rotation"
    first.write_text("old")
    assert put((first, "half"), run="1")["ok"]
    assert changes.unfinished_run() == "1"
    assert put((first, "new"), (second, "new"), run="1")["ok"]
    changes.finish_run()
    assert changes.unfinished_run() == ""
    assert changes.last_run({})["files"] == [str(first), str(second)]
    restore("2", first, second)
    assert first.read_text() == "old"
    assert not second.exists()
    assert changes.unfinished_run() == ""


def test_a_component_of_an_unfinished_run_keeps_what_was_there_before(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ETC", "STAGED"):
        monkeypatch.setattr(changes, name, str(tmp_path / name))
    for name, place in (("unit_file", "unit"), ("pending_file", "pending")):
        monkeypatch.setattr(changes, name, lambda _, place=place: str(tmp_path / place))
    monkeypatch.setattr(changes, "subprocess", Recorder())
    config = tmp_path / "ETC" / "loki"
    config.parent.mkdir()
    unit = {"text": "[Unit]", "mode": "0644", "owner": getpass.getuser()}
    for run, text in (("1", "old"), ("2", "half"), ("2", "new"), ("3", "newest")):
        staged = tmp_path / "STAGED" / "loki"
        staged.mkdir(parents=True)
        (staged / "a.yaml").write_text(text)
        changes.swap({"name": "loki", "run": run, "link": "", "target": "", "unit": unit})
        kept_text = (kept / "loki" / "config" / "a.yaml") if run != "1" else None
        expected = {"2": "old", "3": "new"}.get(run)
        assert kept_text is None or kept_text.read_text() == expected
    assert (config / "a.yaml").read_text() == "newest"


def test_a_removed_component_is_named_for_a_rollback(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "ETC", str(tmp_path))
    monkeypatch.setattr(changes, "systemctl", lambda *_: None)
    monkeypatch.setattr(changes, "subprocess", Recorder())
    changes.remove({"name": "vmalert-gone", "run": "4"})
    found = changes.last_run({})
    assert (found["components"], found["removed"]) == ([], ["vmalert-gone"])


class Recorder:
    """Stands for subprocess: copies as asked, and starts no service manager."""

    def run(self, argv: list[str], **options: Any) -> None:
        if argv[0] == "cp":
            subprocess.run(argv, check=True)


def test_a_file_that_a_run_made_goes_with_its_rollback(tmp_path: Path, kept: Path) -> None:
    """There was none before."""
    path = tmp_path / "logrotate"
    assert put((path, "new"), run="1")["ok"]
    restore("2", path)
    assert not path.exists()


def test_a_file_that_a_run_removed_comes_back_with_its_rollback(tmp_path: Path, kept: Path) -> None:
    """With its mode. What it had in force goes before it, and is in force again after it."""
    path, log = tmp_path / "rules", tmp_path / "log"
    path.write_text("rules")
    path.chmod(0o640)
    say = f"test -e {path} && echo here >> {log} || echo gone >> {log}"
    commands = {name: [["sh", "-c", f"echo {name} >> {log}; {say}"]]
                for name in ("written", "leaving", "removed")}  # fmt: skip
    assert put(gone=(path,), run="1", **commands)["ok"]
    assert not path.exists()
    assert restore("2", path, **commands) == {"ok": True, "text": f"restored {path}"}
    assert (path.read_text(), mode_of(path)) == ("rules", 0o640)
    assert log.read_text().split() == ["leaving", "here", "removed", "gone", "written", "here"]


def test_a_rollback_that_does_not_take_effect_says_so(tmp_path: Path, kept: Path) -> None:
    """The command, and what it printed."""
    path = tmp_path / "rules"
    assert put((path, "new"), run="1")["ok"]
    answer = restore("2", path, removed=[["sh", "-c", "echo no; exit 1"], ["/no/program"]])
    assert not answer["ok"]
    start = f"restored {path}, but cannot apply them: `sh -c echo no; exit 1`: no"
    assert answer["text"].startswith(start)
    assert answer["text"].endswith("`/no/program`: No such file or directory")


def test_a_refused_file_leaves_everything_as_it_was(tmp_path: Path, kept: Path) -> None:
    """Text and mode, the file that was new, the one that was removed, and what is in force."""
    path, new, left = (tmp_path / name for name in ("rules", "new", "left"))
    force = tmp_path / "force"
    for file, mode in ((path, 0o600), (left, 0o640)):
        file.write_text(f"{file.name}: old")
        file.chmod(mode)
    load = [["cp", str(path), str(force)], ["sh", "-c", f"! grep bad {path}"]]
    answer = put((path, "bad"), (new, "new"), gone=(left,), run="1", written=load)
    assert not answer["ok"]
    assert f"! grep bad {path}`: bad" in answer["text"]
    assert (path.read_text(), mode_of(path)) == ("rules: old", 0o600)
    assert (left.read_text(), mode_of(left)) == ("left: old", 0o640)
    assert not new.exists()
    assert force.read_text() == "rules: old"


def test_a_file_that_its_check_refuses_never_takes_effect(tmp_path: Path, kept: Path) -> None:
    """Checks of all files come before anything is loaded; the old file is loaded again."""
    path, log = tmp_path / "rules", tmp_path / "log"
    path.write_text("old")
    check = ["sh", "-c", f"echo checked >> {log}; false"]
    load = [["sh", "-c", f"cat {path} >> {log}"]]
    assert not put((path, "new"), check=check, written=load)["ok"]
    assert log.read_text() == "checked\nold"


def test_the_mode_and_owner_of_a_shared_file_stay(shared: Path, kept: Path) -> None:
    """Neither a deploy nor its rollback opens what the operator closed, and neither is a change."""
    shared.write_text('{"debug": true}')
    shared.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(shared, 12, 13)
    before = shared.stat()
    expected = {"sha256": hashlib.sha256(OURS.encode()).hexdigest()}
    assert put((shared, OURS), run="1")["ok"]
    assert base.describe_file(str(shared)) == expected
    restore("2", shared)
    assert json.loads(shared.read_text()) == {"debug": True}
    assert not put((shared, OURS), written=[["false"]])["ok"]
    after = shared.stat()
    for name in ("st_mode", "st_uid", "st_gid"):
        assert getattr(after, name) == getattr(before, name)


def test_a_rollback_keeps_what_the_owner_wrote_since(shared: Path, kept: Path) -> None:
    """Of a shared file only our keys go back."""
    shared.write_text('{"log-driver": "local"}')
    assert put((shared, OURS), run="1")["ok"]
    values = {**json.loads(shared.read_text()), "debug": True}
    shared.write_text(json.dumps(values))
    restore("2", shared)
    assert json.loads(shared.read_text()) == {"log-driver": "local", "debug": True}


def test_a_shared_file_of_ours_alone_goes_with_its_rollback(shared: Path, kept: Path) -> None:
    """There was none; what the owner wrote into it since keeps it there."""
    assert put((shared, OURS), run="1")["ok"]
    restore("2", shared)
    assert not shared.exists()
    assert put((shared, OURS), run="3")["ok"]
    shared.write_text(json.dumps({**json.loads(shared.read_text()), "debug": True}))
    restore("4", shared)
    assert json.loads(shared.read_text()) == {"debug": True}


def test_one_run_at_a_time_has_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run gets the holder; only its own run, or an empty one, releases it."""
    monkeypatch.setattr(locks, "LOCK", str(tmp_path / "lock.json"))
    monkeypatch.setattr(locks, "AGENTS", str(tmp_path))
    alice = {"run": "1", "who": "alice@desk", "process": ["boot", 1, 1]}
    bob = {"run": "2", "who": "bob@desk", "process": ["boot", 1, 2]}
    assert not locks.lock(alice)["held"]
    answer = locks.lock(bob)
    assert (answer["held"], answer["who"]) == (True, "alice@desk")
    assert answer["process"] == alice["process"]
    locks.unlock({"run": "2", "own": "b"})
    assert locks.lock(bob)["held"]
    assert locks.unlock({"run": "", "own": "b"}) == {"who": "alice@desk"}
    assert locks.unlock({"run": "", "own": "b"}) == {"who": ""}
    assert not locks.lock(bob)["held"]
    assert locks.lock({**alice, "replace": "1"})["held"]
    (tmp_path / "2").mkdir()  # the agent of the run that ended
    assert not locks.lock({**alice, "replace": "2"})["held"]
    assert not (tmp_path / "2").exists()


def test_the_end_of_a_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own agent goes; that of another run stays until a killed run is unlocked."""
    monkeypatch.setattr(locks, "LOCK", str(tmp_path / "lock.json"))
    monkeypatch.setattr(locks, "AGENTS", str(tmp_path / "agents"))
    for name in ("mine", "other"):
        (tmp_path / "agents" / name).mkdir(parents=True)
    locks.lock({"run": "1", "who": "alice@desk", "process": ["boot", 1, 1]})
    locks.leave({"run": "1", "own": "mine", "complete": False})
    assert [path.name for path in tmp_path.rglob("*")] == ["agents", "other"]
    locks.unlock({"run": "", "own": "third"})
    locks.leave({"run": "", "own": "third", "complete": False})
    assert list(tmp_path.iterdir()) == []


def test_old_versions_are_removed(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the newest, the one in use and the one to go back to."""
    monkeypatch.setattr(changes, "OPT", str(tmp_path))
    home = tmp_path / "vmalert"
    for number in range(1, 7):
        folder = home / f"1.{number}"
        folder.mkdir(parents=True)
        os.utime(folder, (number, number))
    (home / "current").symlink_to(home / "1.2")
    (kept / "vmalert").mkdir(parents=True)
    (kept / "vmalert" / "state.json").write_text(json.dumps({"target": str(home / "1.3")}))
    changes.prune({"artifacts": ["vmalert"], "keep": 2})
    assert sorted(p.name for p in home.iterdir()) == ["1.2", "1.3", "1.5", "1.6", "current"]


def test_a_kept_key_is_never_wider_than_the_one_in_its_place(tmp_path: Path) -> None:
    """Somebody opened it by hand, a deploy closed it: a rollback does not open it again."""
    for name, mode in (("kept", 0o644), ("staged", 0o600)):
        for file in ("key.pem", f"only-{name}.pem"):
            path = tmp_path / name / "tls" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")
            path.chmod(mode)
    changes.restrict_modes(str(tmp_path / "kept"), str(tmp_path / "staged"))
    kept = tmp_path / "kept" / "tls"
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in kept.iterdir()} == {
        "key.pem": "0o600",
        "only-kept.pem": "0o644",
    }


def test_differences_of_a_shared_file_are_those_of_our_keys(shared: Path, tmp_path: Path) -> None:
    """The rest of it belongs to the administrator and would look as if it were removed."""
    shared.write_text(json.dumps({"debug": True, **json.loads(OURS)}))
    other = tmp_path / "other"
    other.write_bytes(b"\xff")
    files = [str(shared), str(other), str(tmp_path / "missing")]
    assert state.texts({"files": files}) == {str(shared): OURS}
