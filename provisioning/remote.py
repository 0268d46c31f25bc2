"""Runs on a host as root: reads its state and changes it. Needs only Python 3.7.

fleet.py sends the source of MODULES and a request as JSON on standard input, so that no secret is
in an argument or a temporary file. The answer is one line of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from typing import Callable

from provisioning.remote_base import (
    ETC,
    Json,
    describe_file,
    describe_tree,
    has_table,
    has_user,
    installed_names,
    mode_of,
    owner_of,
    pending_file,
    service_state,
    sha256,
    unit_file,
    unit_of,
    unit_state,
    user_named,
)
from provisioning.remote_changes import (
    check,
    install_binary,
    last_run,
    lock,
    prune,
    put_files,
    remove,
    restore,
    restore_files,
    stage,
    swap,
    unlock,
)

if __name__ == "builtins":
    from provisioning import refuse_as_deploy

    refuse_as_deploy(__name__)

SETTLED_SECONDS = 3
APPEND_SECONDS = 10


def inspect(request: Json) -> Json:
    """The state that changes.py compares, in one answer."""
    names = sorted(set(request["components"]) | set(installed_names()))
    files = {}
    for name in names:
        files.update(describe_tree(os.path.join(ETC, name)))
        unit = unit_file(name)
        if os.path.isfile(unit):
            files[unit] = describe_file(unit)
    for path in request["files"]:
        if os.path.isfile(path):
            files[path] = describe_file(path)
    return {
        "files": files,
        "binaries": {p: sha256(p) for p in request["binaries"] if os.path.isfile(p)},
        "links": {p: os.readlink(p) for p in request["links"] if os.path.islink(p)},
        "directories": {
            p: {"mode": mode_of(p), "owner": owner_of(p)}
            for p in request["directories"]
            if os.path.isdir(p)
        },
        "users": [name for name in request["users"] if has_user(name)],
        "services": {name: service_state(name) for name in names},
        "installed": installed_names(),
        "pending": [name for name in names if os.path.exists(pending_file(name))],
        "units": {unit: unit_state(unit) for unit in request["units"]},
        "tables": [name for name in request["tables"] if has_table(name)],
        "programs": [name for name in ("docker", "nft", "logrotate") if shutil.which(name)],
    }


def facts(request: Json) -> Json:
    """The facts that preflight checks."""
    release = {}
    with open("/etc/os-release", encoding="utf-8") as file:
        for line in file:
            key, _, value = line.strip().partition("=")
            release[key] = value.strip('"')
    place = "/var/lib"
    memory = 0
    with open("/proc/meminfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("MemTotal:"):
                memory = int(line.split()[1]) * 1024
    return {
        "user": os.geteuid(),
        "os": release.get("ID", ""),
        "os_name": release.get("PRETTY_NAME", ""),
        "machine": os.uname().machine,
        "memory": memory,
        "disk": shutil.disk_usage(place).free,
        "time": time.time(),
        "python": "%d.%d" % sys.version_info[:2],
        "systemd": os.path.isdir("/run/systemd/system"),
        "kernel": os.uname().release,
        "log_links": sorted(entry.name for entry in os.scandir("/var/log") if entry.is_symlink()),
        "hard_links": _protects_hard_links(),
        "listening": _listening(),
    }


def _protects_hard_links() -> bool:
    """Whether users may make hard links only to files that they own or may write."""
    with open("/proc/sys/fs/protected_hardlinks", encoding="ascii") as file:
        return file.read().strip() == "1"


def probe(request: Json) -> Json:
    """Wait until a service is active and its health address answers 200.

    Without an address: until it has run for SETTLED_SECONDS.
    """
    deadline = time.monotonic() + request["timeout"]
    while True:
        found = _request_error(request["url"]) if request["url"] else ""
        service = service_state(request["name"])
        if not (found or request["url"]) and service["seconds"] < SETTLED_SECONDS:
            found = "it has run for less than %d s" % SETTLED_SECONDS
        if not found and service["active"]:
            if os.path.exists(pending_file(request["name"])):
                os.unlink(pending_file(request["name"]))
            return {"ok": True, "text": ""}
        state = service["state"]
        if time.monotonic() > deadline or state == "failed":
            return {"ok": False, "text": "%s; the service is %s" % (found, state)}
        time.sleep(0.2)


def _request_error(url: str) -> str:
    """The error of a request to an address; empty if the answer is 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=3) as answer:
            return "" if answer.status == 200 else "HTTP %d" % answer.status
    except (OSError, ValueError) as error:
        return str(error)


def fetch(request: Json) -> Json:
    """The response body of an address on the host's loopback."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    asked = urllib.request.Request(request["url"], headers=request.get("headers", {}))
    try:
        with opener.open(asked, timeout=20) as answer:
            return {"ok": True, "text": answer.read().decode("utf-8", "replace")}
    except (OSError, ValueError) as error:
        return {"ok": False, "text": str(error)}


def certificate(request: Json) -> Json:
    """The certificate that this host presents at the address that others use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # checked by verify.py; only fetched here
    context.verify_mode = ssl.CERT_NONE
    try:
        plain = socket.create_connection((request["name"], request["port"]), timeout=10)
        with context.wrap_socket(plain, server_hostname=request["name"]) as secured:
            data = secured.getpeercert(binary_form=True) or b""
            return {"ok": True, "text": ssl.DER_cert_to_PEM_cert(data)}
    except OSError as error:
        return {"ok": False, "text": str(error)}


def append(request: Json) -> Json:
    """Append a line to a log file as the owner of its folder.

    Not as root: the owner controls the folder, so the file may be a link to anything.
    """
    folder = os.path.dirname(request["path"])
    os.makedirs(folder, exist_ok=True)
    script = 'umask 027 && cat >> "$1"'
    argv = ["runuser", "-u", owner_of(folder), "--", "sh", "-c", script, "sh", request["path"]]
    result = subprocess.run(
        argv,
        input=request["line"].encode() + b"\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=APPEND_SECONDS,
        cwd="/",
    )
    if result.returncode != 0:
        text = result.stdout.decode("utf-8", "replace").strip()
        raise OSError("cannot append to %s as %s: %s" % (request["path"], argv[2], text))
    return {"time": time.time()}


def journal(request: Json) -> Json:
    """The last lines of a service's journal."""
    argv = ["journalctl", "--no-pager", "-o", "cat", "-n", str(request["lines"]), "-u"]
    result = subprocess.run(
        [*argv, unit_of(request["name"])], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return {"text": result.stdout.decode("utf-8", "replace")}


def _listening() -> Json:
    """Every listening TCP port, with the user of its process."""
    ports = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            if row[3] == "0A":  # TCP_LISTEN
                ports[str(int(row[1].rpartition(":")[2], 16))] = user_named(int(row[7]))
    return ports


ACTIONS: dict[str, Callable[[Json], Json]] = {
    action.__name__: action
    for action in (
        *(append, certificate, check, facts, fetch, inspect, install_binary, journal, last_run),
        *(lock, probe, prune, put_files, remove, restore, restore_files, stage, swap, unlock),
    )
}


def main(request: Json) -> None:
    os.umask(0o022)
    socket.setdefaulttimeout(30)
    print(json.dumps(ACTIONS[request["action"]](request)), flush=True)
