"""What a deploy would do, decided from a plan and a host's facts: no host is needed."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import replace
from typing import Any

import pytest

from provisioning import changes, preflight
from provisioning.changes import Binary
from stack import settings
from stack.hosts import agent_view, firewall
from stack.hosts import log_files as app_logging
from stack.hosts.files import HostFile
from stack.hosts.plan import HostComponent, HostPlan

CONFIG = HostFile("/etc/logstack/vmalert/a.yaml", "a: 1\n", "0600", "logstack-vmalert", True)
APP = {"service": "erp-backend-api", "user": "erp"}
UNIT = HostFile("/etc/systemd/system/logstack-vmalert.service", "[Unit]\n", "0644", "root", False)
DOCKER = HostFile("/etc/docker/daemon.json", "{}\n", "0644", "root", False)
JOURNALD = HostFile(app_logging.JOURNALD, "[Journal]\n", "0644", "root", False)
COMPONENT = HostComponent(
    name="vmalert",
    artifact="vmalert",
    version="2",
    user="logstack-vmalert",
    directories=(("/var/lib/logstack/vmalert", "0700"),),
    files=(CONFIG,),
    unit=UNIT,
    check=(),
    health="http://127.0.0.1:18880/health",
    serial=False,
)
PLAN = HostPlan("logs-1", ("log_server",), (COMPONENT,), (DOCKER, JOURNALD))
BINARIES = {"vmalert": [Binary("/opt/logstack/vmalert/2/vmalert", "feed")]}
PLACES = {
    path: {"free": 2**50, "read_only": False} for path in ("/etc", "/opt", "/var/lib", "/var/tmp")
}
DATA = "/var/lib/logstack/victorialogs"
BARE: dict[str, Any] = {
    "files": {}, "binaries": {}, "links": {}, "directories": {}, "users": [], "services": {},
    "installed": [], "pending": [], "programs": [], "units": {}, "tables": [],
}  # fmt: skip


def described(file: HostFile) -> dict[str, str]:
    digest = hashlib.sha256(file.text.encode()).hexdigest()
    return {"sha256": digest, "mode": file.mode, "owner": file.owner}


def deployed(**changed: Any) -> dict[str, Any]:
    """The facts of a host that is as its plan says, but for `changed`."""
    return {
        "files": {file.path: described(file) for file in (CONFIG, UNIT, JOURNALD)},
        "binaries": {"/opt/logstack/vmalert/2/vmalert": "feed"},
        "links": {"/opt/logstack/vmalert/current": "/opt/logstack/vmalert/2"},
        "directories": {"/var/lib/logstack/vmalert": {"mode": "0700", "owner": COMPONENT.user}},
        "users": [COMPONENT.user],
        "services": {"vmalert": {"active": True, "enabled": True, "state": "active"}},
        "installed": ["vmalert"],
        "pending": [],
        "programs": [],
        "units": {},
        "tables": [],
        **changed,
    }


def texts(facts: dict[str, Any]) -> list[str]:
    return [str(change) for change in changes.changes(PLAN, BINARIES, facts)]


def test_a_bare_host_gets_everything_in_order() -> None:
    """The service starts last; Docker's options only where there is Docker."""
    assert texts(BARE) == [
        "create user logstack-vmalert",
        "create /var/lib/logstack/vmalert",
        "install /opt/logstack/vmalert/2/vmalert",
        f"create file {JOURNALD.path}",
        "create file /etc/logstack/vmalert/a.yaml",
        "create file /etc/systemd/system/logstack-vmalert.service",
        "change version of vmalert: none -> 2",
        "start service logstack-vmalert",
    ]
    assert "create file /etc/docker/daemon.json" in texts({**BARE, "programs": ["docker"]})


def test_a_deployed_host_gets_nothing() -> None:
    """The second run."""
    assert texts(deployed()) == []


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        (CONFIG.path, {"sha256": "0"}),
        (CONFIG.path, {"mode": "0644"}),
        (UNIT.path, {"owner": "nobody"}),
    ],
)
def test_a_file_that_differs_restarts_its_service(path: str, changed: dict[str, str]) -> None:
    """By content, mode or owner."""
    files = deployed()["files"]
    files[path] = {**files[path], **changed}
    expected = [f"change file {path}", "restart service logstack-vmalert"]
    assert texts(deployed(files=files)) == expected


def test_a_file_that_is_in_no_plan_is_removed() -> None:
    """Only below the component's own folder."""
    files = deployed()["files"] | {"/etc/logstack/vmalert/old.yaml": described(CONFIG)}
    assert texts(deployed(files=files)) == [
        "remove file /etc/logstack/vmalert/old.yaml",
        "restart service logstack-vmalert",
    ]


def test_an_older_version_is_replaced() -> None:
    """The binary is installed beside it, the link moves."""
    facts = deployed(
        binaries={}, links={"/opt/logstack/vmalert/current": "/opt/logstack/vmalert/1"}
    )
    assert texts(facts) == [
        "install /opt/logstack/vmalert/2/vmalert",
        "change version of vmalert: 1 -> 2",
        "restart service logstack-vmalert",
    ]


def test_a_service_that_does_not_run_or_is_not_enabled_is_started() -> None:
    """Without being restarted."""
    for service in ({"active": False, "enabled": True}, {"active": True, "enabled": False}):
        facts = deployed(services={"vmalert": service})
        assert texts(facts) == ["start service logstack-vmalert"]


def test_a_run_that_was_cut_off_is_finished() -> None:
    """The files were replaced, the service was not restarted yet."""
    assert texts(deployed(pending=["vmalert"])) == ["restart service logstack-vmalert"]


def test_a_service_that_is_in_no_plan_is_removed() -> None:
    """And it is said."""
    facts = deployed(installed=["otelcol", "vmalert"])
    assert texts(facts) == [
        "remove service logstack-otelcol, its unit and its configuration",
    ]


def test_files_of_the_host_that_are_in_no_plan_are_removed() -> None:
    """Those that are Logstack's alone; Docker's, which the plan has not either, is the owner's."""
    left = [path for path in changes.OWNED if path != JOURNALD.path]
    assert {firewall.RULES, app_logging.FOLDERS, "/etc/logrotate.d/logstack"} <= set(left)
    there = {path: described(JOURNALD) for path in (*left, "/etc/nftables.conf", DOCKER.path)}
    facts = deployed(files=deployed()["files"] | there)
    bare = HostPlan("app-1", ("app_host",), PLAN.components, (JOURNALD,))
    found = [str(change) for change in changes.changes(bare, BINARIES, facts)]
    assert sorted(found) == sorted(f"remove file {path}" for path in left)
    assert set(changes.request_for(bare, BINARIES)["files"]) == {JOURNALD.path, *left}


def test_a_unit_of_the_host_is_no_service_that_left() -> None:
    """It is a file of the host, which may have left as such."""
    installed = ["firewall", "logrotate", "vmalert"]
    assert texts(deployed(installed=installed)) == []
    files = deployed()["files"] | {firewall.UNIT: described(JOURNALD)}
    assert texts(deployed(installed=installed, files=files)) == [f"remove file {firewall.UNIT}"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"active": False}, ["start logstack-firewall.service"]),
        ({"enabled": False}, ["start logstack-firewall.service"]),
        ({"tables": []}, ["start logstack-firewall.service"]),
        ({"programs": []}, []),
    ],
)
def test_a_firewall_that_is_not_in_force_is_started(
    changed: dict[str, Any], expected: list[str]
) -> None:
    """Stopped, disabled, or flushed below its unit, which then stays active."""
    unit = HostFile(firewall.UNIT, firewall.unit_text(), "0644", "root")
    plan = HostPlan("logs-1", ("log_server",), PLAN.components, (JOURNALD, unit))
    state = {"active": True, "enabled": True} | {
        k: v for k, v in changed.items() if k in ["active", "enabled"]
    }
    facts = deployed(
        files=deployed()["files"] | {firewall.UNIT: described(unit)},
        units={"logstack-firewall.service": state},
        tables=changed.get("tables", [firewall.TABLE]),
        programs=changed.get("programs", ["nft"]),
    )
    assert [str(change) for change in changes.changes(plan, BINARIES, facts)] == expected
    assert [file.path for file in changes.changed_files(plan, facts)] == [unit.path] * len(expected)


def test_the_mode_of_a_file_that_others_have_is_not_compared() -> None:
    """A host says nothing of it then."""
    content = {"sha256": described(DOCKER)["sha256"]}
    files = deployed()["files"] | {DOCKER.path: content}
    assert texts(deployed(files=files, programs=["docker"])) == []
    assert texts(deployed(programs=["docker"])) == [f"create file {DOCKER.path}"]


def test_no_change_shows_what_a_file_holds() -> None:
    """Secrets are in files of mode 0600 and nowhere else."""
    assert not any("a: 1" in text for text in texts(BARE))


def test_preflight_says_everything_at_once() -> None:
    """Each with what was expected and what it got."""
    values = settings.load({})
    facts = {
        "user": 1000, "os": "alpine", "os_name": "Alpine", "machine": "riscv64", "systemd": False,
        "memory": 1024**2, "time": 1000.0,
        "places": {**PLACES, "/var/lib": {"free": 0, "read_only": False}},
        "listening": {"18880": "www-data"},
    }  # fmt: skip
    found = preflight.failed_checks(facts, PLAN, values, now=900.0)
    assert [text.partition(":")[0] for text in found] == [
        *("sudo", "system", "systemd", "architecture", "memory", "disk", "clock", "ports")
    ]
    assert "got +100 s" in found[6]
    assert "got a listener of the user www-data" in found[7]


@pytest.mark.parametrize(
    ("place", "state", "sentence"),
    [
        ("/opt", {"read_only": True}, "/opt: expected a folder that can be written to"),
        ("/opt", {"free": 1024**2}, "disk: expected 512 MiB free in /opt, got 1 MiB"),
        ("/var/tmp", {"free": 0}, "disk: expected 512 MiB free in /var/tmp, got 0 B"),
        ("/etc", {"free": 0}, ""),
        (
            DATA,
            {"size": 200 * 2**20},
            f"limits.free_disk: expected less than the disk of {DATA} has",
        ),
        (DATA, {"size": 2**30, "free": 2**20}, f"disk: expected 256 MiB free in {DATA}, got 1 MiB"),
        (DATA, {"size": 2**30}, ""),
    ],
)
def test_preflight_looks_where_data_goes(
    place: str, state: dict[str, object], sentence: str
) -> None:
    """Programs, records and uploads; configuration needs no room to speak of."""
    facts = {
        "user": 0, "os": "debian", "os_name": "Debian", "machine": platform.machine(),
        "systemd": True, "memory": 2**40, "time": 1.0, "listening": {},
        "places": {**PLACES, place: {**PLACES["/opt"], **state}},
    }  # fmt: skip
    found = preflight.failed_checks(facts, PLAN, settings.load({}), now=1.0)
    assert [text[: len(sentence)] for text in found] == ([sentence] if sentence else [])


def test_a_log_folder_that_was_changed_by_hand_is_a_change() -> None:
    """Its owner and mode are those of tmpfiles.d."""
    line = "d /var/log/erp 2750 erp logstack-otelcol -\n"
    file = HostFile(app_logging.FOLDERS, line, "0644", "root")
    plan = replace(PLAN, files=(file,))
    facts = deployed()
    facts["files"][file.path] = described(file)
    facts["directories"]["/var/log/erp"] = {"mode": "2750", "owner": "erp"}
    assert [str(item) for item in changes.file_changes(plan, facts)] == [
        f"remove file {app_logging.JOURNALD}"
    ]
    facts["directories"]["/var/log/erp"] = {"mode": "0777", "owner": "erp"}
    assert "change /var/log/erp" in [str(item) for item in changes.file_changes(plan, facts)]
    assert "/var/log/erp" in changes.request_for(plan, BINARIES)["directories"]


def test_preflight_lets_a_component_keep_its_port() -> None:
    """A second run finds it taken by the service itself."""
    values = settings.load({})
    facts = {
        "user": 0, "os": "debian", "os_name": "Debian", "machine": platform.machine(),
        "systemd": True, "memory": 2**40, "places": PLACES, "time": 1.0,
        "listening": {"18880": "logstack-vmalert"},
    }  # fmt: skip
    assert preflight.failed_checks(facts, PLAN, values, now=1.0) == []


def test_preflight_asks_for_nftables_where_a_firewall_is_planned() -> None:
    """Without it every user of a log server could read the records."""
    rules = HostFile(firewall.RULES, "table", "0644", "root")
    plan = replace(PLAN, files=(rules,))
    facts = {
        "user": 0, "os": "debian", "os_name": "Debian", "machine": platform.machine(),
        "systemd": True, "memory": 2**40, "places": PLACES, "time": 1.0, "listening": {},
        "programs": ["logrotate"],
    }  # fmt: skip
    (found,) = preflight.failed_checks(facts, plan, settings.load({}), now=1.0)
    assert found.startswith("nftables: expected it on a log server")
    facts["programs"] = ["nft"]
    assert preflight.failed_checks(facts, plan, settings.load({}), now=1.0) == []


@pytest.mark.parametrize(
    ("fact", "sentence"),
    [
        ({"kernel": "5.10.0-30-amd64"}, "kernel: expected 5.14 or later, got 5.10.0-30-amd64"),
        ({"hard_links": False}, "fs.protected_hardlinks: expected 1, got 0"),
        ({"log_links": ["erp-backend-api"]}, "/var/log/erp-backend-api: expected a folder, got a"),
        ({"log_links": ["journal"]}, "/var/log/journal: expected a folder, got a link"),
        ({"log_links": ["nginx"]}, ""),
    ],
    ids=lambda item: next(iter(item)) if isinstance(item, dict) else "",
)
def test_preflight_refuses_what_the_agent_could_not_be_kept_from(
    fact: dict[str, object], sentence: str
) -> None:
    """Only where it reads files of applications."""
    values = settings.validate(
        [*settings.read_layers({}), settings.Layer("test", {"app_hosts": {"apps": [APP]}})]
    )
    facts = {
        "user": 0, "os": "debian", "os_name": "Debian", "machine": platform.machine(),
        "systemd": True, "memory": 2**40, "places": PLACES, "time": 1.0, "listening": {},
        "kernel": "6.1.0-18-amd64", "hard_links": True, "log_links": [], **fact,
    }  # fmt: skip
    mounts = HostFile(f"/etc/logstack/otelcol/{agent_view.SCRIPT_NAME}", "", "0644", "root")
    agent = replace(PLAN.components[0], files=(mounts,))
    found = preflight.failed_checks(facts, replace(PLAN, components=(agent,)), values, now=1.0)
    assert [text[: len(sentence)] for text in found] == ([sentence] if sentence else [])
    assert preflight.failed_checks(facts, PLAN, values, now=1.0) == []
