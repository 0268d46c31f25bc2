"""Hosts that accept connections and never answer, as behind a firewall that drops packets."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from stack import artifacts, settings
from stack.artifacts import host_programs as programs
from tests.support.host_containers import FleetUnderTest
from tests.support.require import unavailable

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]
SPARE_SECONDS = 15  # of a busy machine, for ten connections in place of one


@contextmanager
def silent_hosts(folder: Path, count: int) -> Iterator[FleetUnderTest]:
    """A fleet of addresses where the kernel accepts connections and nobody answers."""
    folder.mkdir()
    fleet = FleetUnderTest(folder, {}, folder / "id_ed25519")
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(fleet.key)], check=True
    )
    with ExitStack() as stack:
        for number in range(1, count + 1):
            address = f"127.0.0.{number}"
            listener = stack.enter_context(socket.create_server((address, 0)))
            fleet.values[f"hosts.silent-{number}"] = {
                "address": address,
                "ssh_port": listener.getsockname()[1],
                "ssh_key": str(fleet.key),
                "roles": ["log_server" if number == 1 else "app_host"],
            }
        yield fleet


def seconds_of_doctor(fleet: FleetUnderTest) -> float:
    """How long `doctor` takes to name every host."""
    fleet.prepare()
    began = time.monotonic()
    result = fleet.run("doctor", "--env", "staging", "--json")
    seconds = time.monotonic() - began
    assert result.returncode == 1, result.stdout + result.stderr
    found = {item["host"]: item for item in json.loads(result.stdout)}
    names = {name.removeprefix("hosts.") for name in fleet.values}
    assert set(found) == names
    for item in found.values():
        assert (item["check"], item["ok"]) == ("ssh", False)
        assert item["command"].startswith("ssh -p ")
    assert "Connecting to hosts" in result.stderr
    assert all(f"[{name}]" in result.stderr for name in names)
    assert "Traceback" not in result.stderr
    return seconds


def test_ten_silent_hosts_take_no_longer_than_one(tmp_path: Path) -> None:
    """They are asked side by side; each is named, and what is being done is shown meanwhile."""
    try:
        programs.ensure(settings.load({}), ["seaweedfs", "archiver"], lambda name, text: None)
    except artifacts.ArtifactError as error:
        unavailable("hosts", str(error))
    with silent_hosts(tmp_path / "one", 1) as fleet:
        one = seconds_of_doctor(fleet)
    with silent_hosts(tmp_path / "ten", 10) as fleet:
        ten = seconds_of_doctor(fleet)
    assert ten < one + SPARE_SECONDS
