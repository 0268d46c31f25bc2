"""Natively, too, the agent reads no file that a link of a log folder leads to outside of it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from stack.settings import variable_name
from tests.support.native_stack import StackUnderTest, line, marker, record

pytestmark = pytest.mark.native
OTHERS = "nobody"


def test_no_link_out_of_a_log_folder_is_followed(own_stack: StackUnderTest) -> None:
    """Not to a secret of the stack, of the machine or of another folder, and not by a folder."""
    mark = marker()
    top = own_stack.folder / "srv"
    logs, elsewhere = top / "logs", top / "elsewhere"
    for folder in (logs, elsewhere):
        folder.mkdir(parents=True)
    secret = elsewhere / "secret.log"
    secret.write_text(f"secret {mark}\n", encoding="utf-8")
    (logs / "app-2026.log").write_text(f"of the folder {mark}\n", encoding="utf-8")
    pattern = f'{{service = "linked", path = "{logs}/**/*.log"}}'
    current = f'{{service = "current", path = "{logs}/current.txt"}}'
    own_stack.variables[variable_name("agent", "files")] = f"[{pattern}, {current}]"
    own_stack.up()
    own_stack.wait_for({"service_name": "linked"}, 1, grep=mark)
    targets = {
        "shadow.log": "/etc/shadow",
        "key.log": "/etc/ssh/ssh_host_ed25519_key",
        "own.log": str(own_stack.target.data_dir / "secrets.json"),
        "secret.log": str(secret),
        "relative.log": "../elsewhere/secret.log",
        "chained.log": "secret.log",
    }
    for name, target in targets.items():
        (logs / name).symlink_to(target)
    (logs / "note.txt").write_text(f"by its name in the folder {mark}\n", encoding="utf-8")
    (logs / "current.txt").symlink_to("note.txt")
    if os.geteuid() == 0:
        (logs / "folder").symlink_to(elsewhere)
        user = pwd.getpwnam(OTHERS)
        os.lchown(logs / "folder", user.pw_uid, user.pw_gid)
    (logs / "good.log").write_text(f"afterwards {mark}\n", encoding="utf-8")
    own_stack.wait_for({"service_name": "linked"}, 2, grep=mark)
    own_stack.wait_for({"service_name": "current"}, 1, grep="by its name in the folder")
    # What it refuses, it says; it has looked at every link by then.
    log = own_stack.target.log_file(own_stack.agent).read_text(encoding="utf-8")
    assert [name for name in targets if f"{logs}/{name}" not in log] == []
    assert own_stack.count({"service_name": "linked"}) == 2
    own_stack.write(line(record("still read", mark=mark)))
    own_stack.wait_for({"mark": mark}, 1)


def test_a_folder_that_is_a_link_of_its_owner_is_read(own_stack: StackUnderTest) -> None:
    """As `/srv/current -> /srv/releases/7`: only root and the user itself are believed."""
    mark, top = marker(), own_stack.folder / "srv"
    release = top / "releases" / "7"
    release.mkdir(parents=True)
    (top / "current").symlink_to(release)
    (release / "app.log").write_text(f"of a release {mark}\n", encoding="utf-8")
    entry = f'{{service = "release", path = "{Path(top)}/current/*.log"}}'
    own_stack.variables[variable_name("agent", "files")] = f"[{entry}]"
    own_stack.up()
    own_stack.wait_for({"service_name": "release"}, 1, grep=mark)
