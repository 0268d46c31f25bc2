"""The state of a host: what its plan is compared with, and what preflight checks."""

from __future__ import annotations

import os
import shutil
import sys
import time

from provisioning.agent.base import (
    ETC,
    SHARED,
    Json,
    describe_file,
    describe_tree,
    has_table,
    has_user,
    installed_names,
    mode_of,
    own_text,
    owner_of,
    pending_file,
    service_state,
    sha256,
    unit_file,
    unit_state,
    user_named,
)

# Configuration, programs, records, uploads.
PLACES = ("/etc", "/opt", "/var/lib", "/var/tmp")  # noqa: S108
DATA = "/var/lib/logstack"


def inspect(request: Json) -> Json:
    """The state that a plan is compared with, in one answer."""
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
        "programs": _programs(),
    }


def facts(request: Json) -> Json:
    """The facts that preflight checks."""
    release = {}
    with open("/etc/os-release", encoding="utf-8") as file:
        for line in file:
            key, _, value = line.strip().partition("=")
            release[key] = value.strip('"')
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
        "places": {path: _place(path) for path in (*PLACES, *_data_disks())},
        "time": time.time(),
        "python": "%d.%d" % sys.version_info[:2],
        "systemd": os.path.isdir("/run/systemd/system"),
        "kernel": os.uname().release,
        "log_links": sorted(entry.name for entry in os.scandir("/var/log") if entry.is_symlink()),
        "hard_links": _protects_hard_links(),
        "programs": _programs(),
        "listening": _listening(),
    }


def _place(path: str) -> Json:
    """The bytes of the disk of a folder, those that are free, and whether it can be written to."""
    disk = shutil.disk_usage(path)
    read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return {"size": disk.total, "free": disk.free, "read_only": read_only}


def _data_disks() -> list[str]:
    """Where file systems are mounted for the data of all components, or of one."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounted = [line.split()[1] for line in file]
    return sorted({path for path in mounted if (path + "/").startswith(DATA + "/")})


def texts(request: Json) -> Json:
    """The texts of files, of shared ones our keys; those missing or not text are left out."""
    found = {}
    for path in request["files"]:
        try:
            if path in SHARED:
                found[path] = own_text(path)
                continue
            with open(path, encoding="utf-8") as file:
                found[path] = file.read()
        except (OSError, ValueError):
            continue
    return found


def _programs() -> list[str]:
    """Those of the distribution that some of the files belong to."""
    return [name for name in ("docker", "nft", "logrotate") if shutil.which(name)]


def _protects_hard_links() -> bool:
    """Whether users may make hard links only to files that they own or may write."""
    with open("/proc/sys/fs/protected_hardlinks", encoding="ascii") as file:
        return file.read().strip() == "1"


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
