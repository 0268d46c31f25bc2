"""The agent reads the files of log folders and no other, whatever an application's user plants."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from tests.support.host_containers import FleetUnderTest, TestHost
from tests.support.native_stack import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

FOLDER = "/var/log/erp-backend-api"
CONTAINERS = "/var/lib/docker/containers"
CREDENTIAL = "/etc/logstack/otelcol/authorization"
LINKS = {
    "shadow.log": "/etc/shadow",
    "own.log": CREDENTIAL,
    "relative.log": "../../../etc/logstack/otelcol/authorization",
    "process.log": "/proc/self/environ",
    "chained.log": f"{FOLDER}/own.log",
    "container.log": f"{CONTAINERS}/one/config.v2.json",
    "folder.log": "/etc/logstack/otelcol",
}


@pytest.fixture(params=[False, True], ids=["files", "docker"])
def app(request: pytest.FixtureRequest, fleet: FleetUnderTest) -> Iterator[TestHost]:
    """An application host, also with Docker's logs; what tests plant there goes."""
    host = fleet.hosts["app-1"]
    if request.param:
        fleet.values["app_hosts"] = {**fleet.values["app_hosts"], "docker_logs": True}
        fleet.ensure_deployed()
    yield host
    host.sh(f"rm -rf {FOLDER}/* {CONTAINERS}/*")


def plant(host: TestHost, *commands: str) -> None:
    """Run commands as the application's user, in its folder."""
    for command in commands:
        host.sh(f"cd {FOLDER} && runuser -u erp -- {command}")


def as_the_agent(host: TestHost, command: str, path: str) -> str:
    """What a command says of a path, run as the agent's user where the agent sees its files."""
    place = f"/proc/{host.pid('otelcol')}/root{path}"
    return host.sh(f"runuser -u logstack-otelcol -- {command} {place} 2>&1 || true")


def text_arrives(fleet: FleetUnderTest, file: str) -> str:
    """A line of text that the application writes into a file, once it is stored."""
    text = f"text {uuid4().hex}"
    plant(fleet.hosts["app-1"], f"sh -c 'echo {text} >> {file}'")
    fleet.wait_for_messages(f'"{text}"', [text])
    return text


def texts(fleet: FleetUnderTest, since: datetime) -> set[str]:
    """Every line of text that app-1 sent since then: files of others have no JSON records."""
    query = f"_time:>={since.isoformat().replace('+00:00', 'Z')} host:=app-1 format:=text"
    return {row["_msg"] for row in fleet.query(f"{query} service_name:=erp-backend-api")}


def test_no_link_of_an_application_is_followed(fleet: FleetUnderTest, app: TestHost) -> None:
    """Not to what root alone reads, not to the agent's own, planted before and after its start."""
    since = datetime.now(UTC)
    app.sh(f"install -d -m 0710 {CONTAINERS}/one; echo secret > {CONTAINERS}/one/config.v2.json")
    sent = {text_arrives(fleet, "good.log"), text_arrives(fleet, "swapped.log")}
    plant(app, *(f"ln -s {target} {name}" for name, target in LINKS.items()))
    plant(app, f"ln -s {CREDENTIAL} new", "mv -T new swapped.log")
    sent |= {text_arrives(fleet, "good.log"), text_arrives(fleet, "good.log")}
    app.sh("systemctl restart logstack-otelcol")
    sent |= {text_arrives(fleet, "good.log"), text_arrives(fleet, "good.log")}
    assert texts(fleet, since) == sent
    for name in (*LINKS, "swapped.log"):
        assert "Too many levels of symbolic links" in as_the_agent(app, "cat", f"{FOLDER}/{name}")


def test_a_hard_link_to_a_file_of_others_is_refused(app: TestHost) -> None:
    """By the kernel, which the preflight checks: it would be a file of the folder."""
    plant(app, "sh -c 'ln /etc/shadow hard.log; ln /etc/logstack/otelcol/authorization own.log; :'")
    assert not {"hard.log", "own.log"} & set(app.sh(f"ls {FOLDER}").split())
    assert app.sh("cat /proc/sys/fs/protected_hardlinks").strip() == "1"


def test_the_agent_has_no_right_over_files_of_others(app: TestHost) -> None:
    """No capability at all, and it sees Docker's files only where it reads them."""
    status = app.sh(f"grep -E '^Cap(Eff|Prm|Bnd|Amb)' /proc/{app.pid('otelcol')}/status")
    assert {line.split()[1] for line in status.splitlines()} == {"0" * 16}
    assert "Permission denied" in as_the_agent(app, "cat", "/etc/shadow")
    assert "Permission denied" in as_the_agent(app, "ls", "/run/logstack/otelcol")


def test_the_logs_of_containers_are_read(fleet: FleetUnderTest) -> None:
    """With the modes that Docker gives them, and those of containers made later."""
    host = fleet.hosts["app-1"]
    fleet.values["app_hosts"] = {**fleet.values["app_hosts"], "docker_logs": True}
    try:
        host.sh(f"chmod 0710 /var/lib/docker {CONTAINERS} 2>/dev/null || true")
        fleet.ensure_deployed()
        for name in ("first", "later"):
            line = {
                "log": f"printed by {name} {uuid4().hex}\n",
                "stream": "stdout",
                "attrs": {"logstack.service": "in-a-container"},
                "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
            file = f"{CONTAINERS}/{name}/{name}-json.log"
            host.sh(f"install -d -m 0710 {CONTAINERS}/{name}; install -m 0640 /dev/null {file}")
            host.python(
                "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + '\\n')",
                file,
                json.dumps(line),
            )
            text = str(line["log"]).strip()
            fleet.wait_for_messages(f'service_name:=in-a-container "{text}"', [text])
        assert host.sh(f"stat -c '%a %U' {CONTAINERS}/later/later-json.log") == "640 root\n"
    finally:
        host.sh(f"rm -rf {CONTAINERS}/*")


def test_nothing_stays_mounted_where_the_agent_is_stopped(app: TestHost) -> None:
    """Docker and the host's owner find their folders as they were."""
    mounts = "grep -c /run/logstack /proc/self/mountinfo || true"
    assert app.sh(mounts).strip() != "0"
    app.sh("systemctl stop logstack-otelcol")
    try:
        assert app.sh(mounts).strip() == "0"
    finally:
        app.sh("systemctl start logstack-otelcol")
    poll(lambda: app.pid("otelcol") != "0", "the agent")


def test_a_folder_that_is_a_link_is_refused_before_anything_changes(fleet: FleetUnderTest) -> None:
    """The agent would not see what is behind it."""
    host = fleet.hosts["app-1"]
    host.sh(f"mv {FOLDER} /srv/logs && ln -s /srv/logs {FOLDER}")
    try:
        result = fleet.run("hosts", "plan", "staging")
    finally:
        host.sh(f"rm {FOLDER} && mv /srv/logs {FOLDER}")
    assert result.returncode == 1
    assert f"{FOLDER}: expected a folder, got a link" in result.stdout + result.stderr
