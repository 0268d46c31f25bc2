"""What is checked before anything is started."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from stack.runtimes.preflight import (
    PreflightError,
    check_data_dir,
    check_ports,
    describe_unread_files,
    is_free,
)
from stack.settings.targets import Target
from tests.support.example import target_in
from tests.support.ports import free_ports

LISTEN = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
sys.stdin.read()
"""
NAMES = ("victorialogs", "otelcol_health", "otelcol_metrics", "vmalert", "alertmanager")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """A target whose ports are free."""
    return with_offset(tmp_path, 0)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small file system in memory; skips where that is not permitted."""
    folders: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / "mounted"
        folder.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"needs to mount a file system: {done.stderr.strip()}")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", str(folder)], check=True)


def with_offset(folder: Path, offset: int) -> Target:
    ports = dict(zip((*NAMES, "sample_app"), free_ports(6), strict=True))
    return target_in(
        folder, ports={"offset": offset} | {name: port - offset for name, port in ports.items()}
    )


def port_of(target: Target, name: str) -> int:
    return target.settings.ports.effective(name)


def refusal(target: Target, supervisor_pid: int = 0) -> list[str]:
    with pytest.raises(PreflightError) as caught:
        check_ports(target, supervisor_pid)
    return str(caught.value).splitlines()


def test_free_ports_are_no_problem(target: Target) -> None:
    """Nothing is left listening by the check itself."""
    check_ports(target, 0)
    check_ports(target, 0)


def test_a_taken_port_names_process_key_and_a_free_port(target: Target) -> None:
    """The command it ends with can be typed as it is."""
    port = port_of(target, "vmalert")
    with closing(socket.create_server(("127.0.0.1", port))):
        (line,) = refusal(target)
    name = Path(psutil.Process().cmdline()[0]).name
    assert line.startswith(
        "ports.vmalert: expected a free port for vmalert, "
        f"got {port}, which process {os.getpid()} ({name}, in {Path.cwd()}) uses. "
        "Stop that process, or choose another port, for example: LOGSTACK_PORTS__VMALERT="
    )
    other = re.fullmatch(r".*LOGSTACK_PORTS__VMALERT=(\d+) make up", line)
    assert other
    assert int(other[1]) > port
    assert is_free("127.0.0.1", int(other[1]))


def test_every_taken_port_is_named_with_a_free_port_of_its_own(target: Target) -> None:
    """Neither twice the same, nor one that another component is going to want."""
    names = ("vmalert", "otelcol_metrics")
    servers = [socket.create_server(("127.0.0.1", port_of(target, name))) for name in names]
    lines = refusal(target)
    for server in servers:
        server.close()
    assert [line.partition(":")[0] for line in lines] == ["ports.otelcol_metrics", "ports.vmalert"]
    assert " for otelcol, " in lines[0]
    others = {int(line.removesuffix(" make up").rpartition("=")[2]) for line in lines}
    assert len(others) == 2
    assert others.isdisjoint(port_of(target, name) for name in target.settings.ports.names())


def test_the_ports_of_another_checkout_are_one_sentence(target: Target) -> None:
    """Its offset is what has to be set, whatever is taken beside it; the next one may be, too."""
    names = ("vmalert", "otelcol_metrics", "alertmanager", "victorialogs")
    servers = [socket.create_server(("127.0.0.1", port_of(target, name))) for name in names]
    (line,) = refusal(target)
    assert line.startswith(
        f"ports: expected 4 free ports, got ports that the processes in {Path.cwd()} use. Stop "
        "them, or move all ports of this checkout: LOGSTACK_PORTS__OFFSET="
    )
    offset = int(line.removesuffix(" make up").rpartition("=")[2])
    assert offset % 1000 == 0
    assert all(is_free("127.0.0.1", port_of(target, name) + offset) for name in NAMES)
    moved = port_of(target, "vmalert") + offset
    with closing(socket.create_server(("127.0.0.1", moved))):
        (line,) = refusal(target)
    for server in servers:
        server.close()
    assert int(line.removesuffix(" make up").rpartition("=")[2]) == offset + 1000


def test_an_address_that_the_machine_lacks_is_named() -> None:
    """As 127.0.0.1 is where only IPv6 is set up."""
    with pytest.raises(PreflightError) as caught:
        is_free("192.0.2.1", 21001)
    assert str(caught.value) == (
        "cannot listen on 192.0.2.1: cannot assign requested address. All components use this "
        "address, also on a machine with IPv6 alone. "
        "Run: ip link set lo up && ip address add 192.0.2.1/8 dev lo"
    )


def test_the_port_proposed_takes_the_offset_into_account(tmp_path: Path) -> None:
    """The value is what the setting has to be, not what is listened on."""
    target = with_offset(tmp_path, 5)
    port = port_of(target, "victorialogs")
    with closing(socket.create_server(("127.0.0.1", port))):
        (line,) = refusal(target)
    assert f"expected a free port for victorialogs, got {port}" in line
    proposed = int(line.removesuffix(" make up").rpartition("=")[2])
    expected = {port_of(target, name) for name in target.settings.ports.names()}
    between = [p for p in range(port + 1, proposed + 5) if p not in expected]
    assert is_free("127.0.0.1", proposed + 5)
    assert not any(is_free("127.0.0.1", p) for p in between)


def test_the_neighbour_of_a_taken_port_is_not_proposed_if_it_is_wanted(tmp_path: Path) -> None:
    """Two ports in a row are usual."""
    first = next(p for p in range(22000, 30000) if all(is_free("127.0.0.1", p + i) for i in (0, 1)))
    others = dict(zip(NAMES[2:], free_ports(3), strict=True))
    app = {"sample_app": free_ports(1)[0]}
    target = target_in(
        tmp_path, ports={NAMES[0]: first, NAMES[1]: first + 1, "offset": 0} | others | app
    )
    with closing(socket.create_server(("127.0.0.1", first))):
        (line,) = refusal(target)
    assert int(line.removesuffix(" make up").rpartition("=")[2]) > first + 1


def test_a_port_that_our_own_program_holds_is_no_problem(target: Target) -> None:
    """A second `up` finds the first one's programs; somebody else's are still in the way."""
    argv = [sys.executable, "-c", LISTEN, str(port_of(target, "alertmanager"))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "listening\n"
        check_ports(target, os.getpid())
        check_ports(target, child.pid)
        (line,) = refusal(target, supervisor_pid=1_000_000_000)
        assert child.stdin is not None
        child.stdin.close()
    assert f"which process {child.pid} (" in line


def test_files_that_the_agent_has_nothing_to_read_of_are_named(tmp_path: Path) -> None:
    """A pattern with a mistake in it, a folder and a pipe; a log that is there is fine."""
    (tmp_path / "a.log").touch()
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "folder").mkdir()
    patterns = ["a.log", "b.log", "pipe*.log", "folder", "{a,b}.log", "**/*.log"]
    files = [{"service": "s", "path": f"{tmp_path}/{pattern}"} for pattern in patterns]
    target = target_in(tmp_path, agent={"files": files})
    assert describe_unread_files(target) == [
        f"agent.files.1: no file matches {tmp_path}/b.log yet.",
        f"agent.files.2: {tmp_path}/pipe.log is not a file and is not read.",
        f"agent.files.3: {tmp_path}/folder is not a file and is not read.",
        f"agent.files.5: {tmp_path}/pipe.log is not a file and is not read.",
    ]


def test_a_data_folder_is_made(target: Target) -> None:
    """Private, with its parents, and empty."""
    check_data_dir(target)
    assert (target.data_dir.stat().st_mode & 0o777, list(target.data_dir.iterdir())) == (0o700, [])


def data_refusal(target: Target) -> str:
    with pytest.raises(PreflightError) as caught:
        check_data_dir(target)
    return str(caught.value)


def other_folder(reason: str, folder: Path) -> str:
    return (
        f"paths.data: expected a writable folder, got {folder}: {reason}. "
        "Free some space or name another folder: LOGSTACK_PATHS__DATA=/some/folder"
    )


def test_a_data_folder_that_is_a_file_is_refused(target: Target) -> None:
    """The file stays as it is."""
    target.data_dir.write_text("precious", encoding="utf-8")
    assert data_refusal(target) == other_folder("it is a file", target.data_dir)
    assert target.data_dir.read_text(encoding="utf-8") == "precious"


def test_a_data_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    """A wrong part of a long path."""
    (tmp_path / "file").touch()
    target = target_in(tmp_path / "file")
    assert data_refusal(target) == other_folder("a part of it is a file", target.data_dir)


def test_a_read_only_data_folder_is_refused(mounted: Callable[[str], Path]) -> None:
    """A disk that was remounted after an error, for example."""
    target = target_in(mounted("ro,size=1m"))
    assert data_refusal(target) == other_folder("it is read-only", target.data_dir)


def test_a_full_data_folder_is_refused(mounted: Callable[[str], Path]) -> None:
    """Not a byte more can be written."""
    folder = mounted("size=64k")
    target = target_in(folder)
    target.data_dir.mkdir()
    (folder / "filler").write_bytes(b"x" * 64 * 1024)
    assert data_refusal(target) == other_folder("the disk is full", target.data_dir)


def test_too_little_room_is_refused(mounted: Callable[[str], Path]) -> None:
    """The engine would refuse records below limits.free_disk."""
    target = target_in(mounted("size=3m"), limits={"free_disk": "1GiB"})
    assert data_refusal(target) == (
        f"paths.data: expected at least 1GiB free in {target.data_dir} (limits.free_disk), "
        "got 3 MiB. Free some or name another folder: LOGSTACK_PATHS__DATA=/some/folder"
    )


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_data_folder_without_permission_is_refused(target: Target) -> None:
    """Another user's folder, for example."""
    target.data_dir.mkdir(mode=0o500)
    assert data_refusal(target) == other_folder("permission denied", target.data_dir)
