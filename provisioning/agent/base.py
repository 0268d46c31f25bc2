"""Shared by the modules that run on a host: units, files, owners."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import subprocess
import time
from typing import Any, Dict, Tuple

Json = Dict[str, Any]
ETC = "/etc/logstack"
UNITS = "/etc/systemd/system"
PREVIOUS = ETC + "/.previous"
# Files shared with the host's administrator: only these keys of the JSON are compared and written;
# the mode and the owner are kept.
SHARED = {"/etc/docker/daemon.json": ("log-driver", "log-opts")}

# What decides which files a service can read.
RIGHTS = ("User", "Group", "SupplementaryGroups", "ProtectHome", "PrivateTmp")


def unit_of(name: str) -> str:
    return "logstack-%s.service" % name


def unit_file(name: str) -> str:
    return os.path.join(UNITS, unit_of(name))


def pending_file(name: str) -> str:
    return os.path.join(PREVIOUS, name, "pending")


def installed_names() -> list[str]:
    names = os.listdir(UNITS) if os.path.isdir(UNITS) else []
    own = [n for n in names if n.startswith("logstack-") and n.endswith(".service")]
    return sorted(n[len("logstack-") : -len(".service")] for n in own)


def service_state(name: str) -> Json:
    return unit_state(unit_of(name))


def unit_state(unit: str) -> Json:
    properties = "ActiveState,UnitFileState,ActiveEnterTimestampMonotonic"
    argv = ["systemctl", "show", "-p", properties, unit]
    text = subprocess.run(argv, stdout=subprocess.PIPE).stdout.decode()
    values = dict(line.partition("=")[::2] for line in text.splitlines())
    state = values.get("ActiveState", "")
    enabled = values.get("UnitFileState") == "enabled"
    active = state == "active"
    since = int(values.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    seconds = time.monotonic() - since if active else 0.0
    return {"active": active, "enabled": enabled, "state": state, "seconds": seconds}


def has_table(name: str) -> bool:
    """Whether nftables has a table; its name starts with the family."""
    argv = ["nft", "list", "table", *name.split()]
    try:
        result = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return False
    return result.returncode == 0


def run_as_service(name: str, argv: list[str]) -> Tuple[bool, str]:
    """Run a program with the rights of a service, and with the folders that it sees."""
    show = ["systemctl", "show", "-p", ",".join(RIGHTS), unit_of(name)]
    lines = subprocess.run(show, stdout=subprocess.PIPE).stdout.decode().splitlines()
    rights = ["--property=" + line for line in lines if line.partition("=")[2]]
    return run_text(["systemd-run", "--quiet", "--wait", "--pipe", "--collect", *rights, *argv])


def run_as(user: str, argv: list[str]) -> Tuple[bool, str]:
    """Run a program as a user; whether it succeeded, and its output."""
    return run_text(["runuser", "-u", user, "--", *argv])


def run_text(argv: list[str], seconds: int = 60) -> Tuple[bool, str]:
    """Run a program; whether it succeeded, and its output."""
    try:
        result = subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        return False, "it did not finish within %d s" % seconds
    return result.returncode == 0, result.stdout.decode("utf-8", "replace")


def systemctl(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def describe_tree(folder: str) -> Json:
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            found[path] = describe_file(path)
    return found


def describe_file(path: str) -> Json:
    if path in SHARED:
        return {"sha256": hashlib.sha256(own_text(path).encode()).hexdigest()}
    return {"sha256": sha256(path), "mode": mode_of(path), "owner": owner_of(path)}


def own_text(path: str) -> str:
    """A shared file with our keys alone, as it is compared."""
    values = read_json(path)
    return json_text({key: values[key] for key in SHARED[path] if key in values})


def read_json(path: str) -> Json:
    """The object in a file shared with the administrator; an invalid file is never replaced."""
    try:
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SystemExit("%s: expected JSON, got: %s. Fix it on the host" % (path, error)) from None
    if not isinstance(values, dict):
        raise SystemExit("%s: expected a JSON object. Fix it on the host" % path)
    return values


def json_text(values: Json) -> str:
    return json.dumps(values, indent=2) + "\n"


def sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def mode_of(path: str) -> str:
    return "%04o" % (os.stat(path).st_mode & 0o7777)


def owner_of(path: str) -> str:
    return user_named(os.stat(path).st_uid)


def user_named(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def set_owner(path: str, user: str, group: str) -> None:
    os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)


def write_file(path: str, item: Json) -> None:
    """Write by rename; the file never has a wider mode than its final one.

    `owner` is a user name, whose group is used; with `group` both are numeric ids.
    """
    scratch = path + ".new"
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(item["text"])
        if "group" in item:
            os.fchown(file.fileno(), item["owner"], item["group"])
        else:
            os.fchown(file.fileno(), pwd.getpwnam(item["owner"]).pw_uid, group_of(item["owner"]))
        os.fchmod(file.fileno(), int(item["mode"], 8))
    os.replace(scratch, path)


def read_file(path: str) -> Json:
    """A file in write_file's form: text, mode, owner, group; `text` is None if it is missing."""
    if not os.path.isfile(path):
        return {"path": path, "text": None}
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found = os.stat(path)
    return {
        "path": path,
        "text": text,
        "mode": mode_of(path),
        "owner": found.st_uid,
        "group": found.st_gid,
    }


def group_of(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def point_link(path: str, target: str) -> None:
    scratch = path + ".new"
    if os.path.islink(scratch):
        os.unlink(scratch)
    os.symlink(target, scratch)
    os.replace(scratch, path)
