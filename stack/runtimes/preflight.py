"""Checks before anything is started: nothing has been touched when one of them fails."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections import Counter
from collections.abc import Mapping, Set
from pathlib import Path

import psutil

from stack.components.catalogue import CATALOGUE, selected
from stack.runtimes.processes import writers_below
from stack.settings import variable_name
from stack.settings.targets import Target
from stack.settings.units import format_bytes, parse_bytes

MOST_SHOWN = 10  # sentences about files
MANY = 3  # taken ports of one place, from which on all ports are to move


class PreflightError(Exception):
    """Something on this machine is in the way; the text says what and how to change it."""


def check_ports(target: Target, supervisor_pid: int) -> None:
    """Every port is free or held by `supervisor_pid`'s programs. Raises PreflightError."""
    ports = target.settings.ports
    taken: dict[str, tuple[str, int | None]] = {}  # by name of the port: component, owner
    for component in selected(target.settings):
        for name in component.ports:
            port = ports.effective(name)
            if not is_free(target.host, port):
                owner = _owner(port)
                if owner is None or not _is_below(owner, supervisor_pid):
                    taken[name] = component.name, owner
    places = Counter(_place(owner) for _, owner in taken.values())
    if places and max(places.values()) >= MANY:
        raise PreflightError(
            f"ports: expected {len(taken)} free ports, got ports that {' and '.join(places)} use. "
            "Stop them, or move all ports of this checkout: "
            f"{variable_name('ports', 'offset')}={_free_offset(target)} make up"
        )
    problems = _describe_each(target, taken)
    if problems:
        raise PreflightError("\n".join(problems))


def _describe_each(target: Target, taken: Mapping[str, tuple[str, int | None]]) -> list[str]:
    """A sentence for each taken port, with another one that is free."""
    problems = []
    ports = target.settings.ports
    reserved = {ports.effective(name) for name in ports.names()}
    for name, (component, owner) in taken.items():
        port = ports.effective(name)
        other = _next_free(target.host, port, reserved)
        reserved.add(other)
        problems.append(
            f"ports.{name}: expected a free port for {component}, "
            f"got {port}, which {_describe(owner)} uses. "
            f"Stop that process, or choose another port, for example: "
            f"{variable_name('ports', name)}={other - ports.offset} make up"
        )
    return problems


def _free_offset(target: Target) -> int:
    """The next offset in thousands with which every port is free and below 65536."""
    ports = target.settings.ports
    names = [name for component in selected(target.settings) for name in component.ports]
    highest = max(getattr(ports, name) for name in ports.names())
    for offset in range(ports.offset // 1000 * 1000 + 1000, 65536 - highest, 1000):
        if all(is_free(target.host, getattr(ports, name) + offset) for name in names):
            return offset
    return 0


def check_data_dir(target: Target) -> None:
    """The data folder can be written to and has room. Raises PreflightError."""
    folder = target.data_dir
    probe = folder / ".writable"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise PreflightError(
            f"paths.data: expected a writable folder, got {folder}: {_reason(error)}. "
            f"Free some space or name another folder: {variable_name('paths', 'data')}=/some/folder"
        ) from None
    free = shutil.disk_usage(folder).free
    if free < parse_bytes(target.settings.limits.free_disk):
        raise PreflightError(
            f"paths.data: expected at least {target.settings.limits.free_disk} free in {folder} "
            f"(limits.free_disk), got {format_bytes(free)}. Free some or name another folder: "
            f"{variable_name('paths', 'data')}=/some/folder"
        )


def check_writers(target: Target) -> None:
    """No other program writes to the data of the components. Raises PreflightError."""
    if problem := describe_writers(target):
        raise PreflightError(
            f"paths.data: expected a folder that no other stack uses, got {problem}. Stop that "
            f"process, or name another folder: {variable_name('paths', 'data')}=/some/folder"
        )


def describe_writers(target: Target) -> str:
    """`<folder>, where process <pid> (<program>) writes`; empty if none does."""
    folders = [target.storage_dir(component.name) for component in CATALOGUE]
    writers = writers_below(folder for folder in folders if folder.is_dir())
    names = ", ".join(f"process {pid} ({name})" for pid, name in writers.items())
    verb = "writes" if len(writers) == 1 else "write"
    return f"{target.data_dir}, where {names} {verb}" if names else ""


def describe_unread_files(target: Target) -> list[str]:
    """What the agent finds nothing to read of, one sentence for each entry of agent.files."""
    said = []
    for number, file in enumerate(target.settings.agent.files):
        name = f"agent.files.{number}"
        found = sorted(Path("/").glob(file.path.lstrip("/")))
        plain = not set("{\\").intersection(file.path)  # which Python's patterns do not have
        if not found and plain:
            said.append(f"{name}: no file matches {file.path} yet.")
        for path in found:
            if not path.is_file():
                said.append(f"{name}: {path} is not a file and is not read.")
            elif not os.access(path, os.R_OK):
                said.append(f"{name}: cannot read {path}: permission denied.")
    more = len(said) - MOST_SHOWN
    return said if more <= 0 else [*said[:MOST_SHOWN], f"And {more} more of agent.files."]


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise PreflightError(
                f"cannot listen on {host}: {os.strerror(error.errno or 0).lower()}. All components "
                "use this address, also on a machine with IPv6 alone. "
                f"Run: ip link set lo up && ip address add {host}/8 dev lo"
            ) from None
    return True


def _owner(port: int) -> int | None:
    """The process that listens on a port; None where this user may not know."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None
    for connection in connections:
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port:
            return connection.pid
    return None


def _place(pid: int | None) -> str:
    """The processes of the folder in which a process runs, which is its checkout for a program."""
    try:
        return (
            "processes of other users"
            if pid is None
            else (f"the processes in {psutil.Process(pid).cwd()}")
        )
    except psutil.Error:
        return f"process {pid}"


def _describe(pid: int | None) -> str:
    if pid is None:
        return "a process of another user"
    try:
        process = psutil.Process(pid)
        return f"process {pid} ({Path(process.cmdline()[0]).name}, in {process.cwd()})"
    except (psutil.Error, IndexError):
        return f"process {pid}"


def _is_below(pid: int, ancestor: int) -> bool:
    try:
        process = psutil.Process(pid)
        return ancestor in {pid, *(parent.pid for parent in process.parents())}
    except psutil.Error:
        return False


def _next_free(host: str, port: int, reserved: Set[int]) -> int:
    """The next port that is free and that no component uses."""
    candidates = (port for port in range(port + 1, 65536) if port not in reserved)
    return next((candidate for candidate in candidates if is_free(host, candidate)), port)


def _reason(error: OSError) -> str:
    known = {
        errno.EROFS: "it is read-only",
        errno.ENOSPC: "the disk is full",
        errno.EEXIST: "it is a file",
        errno.ENOTDIR: "a part of it is a file",
    }
    return known.get(error.errno or 0, os.strerror(error.errno or 0).lower())
