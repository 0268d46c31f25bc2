"""Everything that broke once on hosts is named by `doctor --env`: cause, evidence, command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from stack.hosts import certificates, secrets
from tests.support.host_containers import FleetUnderTest
from tests.support.native_stack import poll

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

APP_LOGS = "/var/log/erp-backend-api"
DATA = "/var/lib/logstack/victorialogs"
OTELCOL, ENGINE = "/etc/logstack/otelcol", "/etc/systemd/system/logstack-victorialogs.service"
RELOAD_RULES = "systemctl kill --signal HUP logstack-vmalert"
DEPLOY = "make deploy ENV=staging"


@dataclass(frozen=True)
class Breakage:
    """What is done to a host, and what is said of it there, in this order: the finding's check,
    and texts of its cause, evidence and command."""

    name: str
    host: str
    broken: str
    undone: str
    check: str
    text: str
    evidence: str
    command: str


def small_disk(folder: str, user: str, size: str, fill: str) -> str:
    """Mount a disk with few free bytes on a folder."""
    rights = f"mode=0700,uid=$(id -u {user}),gid=$(id -g {user})"
    return (
        f"mount -t tmpfs -o size={size},{rights} tmpfs {folder} && "
        f"(head -c {fill} /dev/zero > {folder}/other-data || true)"
    )


def restart(name: str, between: str) -> str:
    """Stop a service and start it after a change."""
    return f"systemctl stop logstack-{name}; {between}; systemctl start logstack-{name}"


WRONG_FOLDER = (
    f"mkdir -p {ENGINE}.d && printf '[Service]\\nExecStart=\\nExecStart=%s %s' "
    "$(systemctl show -P ExecStart logstack-victorialogs | sed 's/.*path=//; s/ ;.*//') "
    "-storageDataPath=/nosuch "
    f"> {ENGINE}.d/test.conf; systemctl daemon-reload; systemctl restart logstack-victorialogs"
)
# Those of one round are there together, on different hosts or in different parts of one.
ROUNDS = (
    (
        Breakage(
            "an agent is stopped",
            "app-1",
            "systemctl stop logstack-otelcol",
            "systemctl start logstack-otelcol",
            *("programs", "otelcol is stopped", "", DEPLOY),
        ),
        Breakage(
            "the disk of the journal is full",
            "app-2",
            small_disk("/var/log/journal", "root", "1m", "2M"),
            "umount /var/log/journal",
            *("disks", "the disk of /var/log/journal is full", "0 MiB of 1 MiB are free", "df -h "),
        ),
        Breakage(
            "retention was changed by hand",
            "logs-1",
            f"sed -i s/retentionPeriod=44d/retentionPeriod=43d/ {ENGINE}; systemctl daemon-reload; "
            "systemctl restart logstack-victorialogs",
            f"sed -i s/retentionPeriod=43d/retentionPeriod=44d/ {ENGINE}; systemctl daemon-reload; "
            "systemctl restart logstack-victorialogs",
            *("retention", "the engine's retention: expected 44 days, got 43 days", "", DEPLOY),
        ),
    ),
    (
        Breakage(
            "a log file cannot be read",
            "app-1",
            f"install -m 0600 -o root -g root /dev/null {APP_LOGS}/secret.log",
            f"rm {APP_LOGS}/secret.log",
            *("log files", "1 log file of erp-backend-api cannot be read"),
            *(f"permission denied: {APP_LOGS}/secret.log", f"ls -l {APP_LOGS}/secret.log"),
        ),
        Breakage(
            "a log file is a link",
            "app-1",
            f"runuser -u erp -- ln -s /etc/hostname {APP_LOGS}/link.log",
            f"rm {APP_LOGS}/link.log",
            *(
                "log files",
                "the agent of a host follows no links",
                f"{APP_LOGS}/link.log",
                "ls -l ",
            ),
        ),
        Breakage(
            "the folder of the log files cannot be read",
            "app-2",
            f"chown erp:erp {APP_LOGS}; chmod 0700 {APP_LOGS}",
            f"chown erp:logstack-otelcol {APP_LOGS}; chmod 2750 {APP_LOGS}",
            *("log files", "the folder of the log files of erp-backend-api cannot be read"),
            *(f"permission denied: {APP_LOGS}", f"ls -ld {APP_LOGS}"),
        ),
        Breakage(
            "a file of rules is gone",
            "logs-1",
            f"mv /etc/logstack/vmalert/rules/logstack.yaml /var/tmp/; {RELOAD_RULES}",
            f"mv /var/tmp/logstack.yaml /etc/logstack/vmalert/rules/; {RELOAD_RULES}",
            *("rules", "not loaded: ", "", DEPLOY),
        ),
    ),
    (
        Breakage(
            "an agent has a wrong password",
            "app-1",
            f"cp -p {OTELCOL}/authorization /var/tmp/kept; printf 'Basic YXBwLTE6d3Jvbmc=' > "
            f"{OTELCOL}/authorization; systemctl restart logstack-otelcol",
            f"cp -p /var/tmp/kept {OTELCOL}/authorization; systemctl restart logstack-otelcol",
            *("records", "the destination refuses the password", "wrong user or password", DEPLOY),
        ),
        Breakage(
            "the data disk of an agent is full",
            "app-2",
            restart(
                "otelcol", small_disk("/var/lib/logstack/otelcol", "logstack-otelcol", "1m", "2M")
            ),
            restart("otelcol", "umount /var/lib/logstack/otelcol"),
            *(
                "disks",
                "the disk is full",
                "0 MiB of 1 MiB are free",
                "df -h '/var/lib/logstack/otel",
            ),
        ),
    ),
    (
        Breakage(
            "a firewall drops the port of the gateway",
            "app-1",
            "nft 'add table inet test; add chain inet test out { type filter hook output "
            "priority 0; }; add rule inet test out tcp dport 443 drop'",
            "nft delete table inet test",
            *("records", ":443: no answer: a firewall", "timed out", "openssl s_client -connect "),
        ),
        Breakage(
            "the clock is 15 minutes ahead",
            "app-2",
            # Of Python alone: the clock is that of every container.
            "printf 'import time as t\\nreal = t.time\\nt.time = lambda: real() + 900\\n' "
            "> /etc/python3.11/sitecustomize.py",
            ": > /etc/python3.11/sitecustomize.py",
            *(
                "clock",
                " s ahead of the log server's",
                "",
                "timedatectl set-ntp true",
            ),
        ),
        Breakage(
            "the data disk of the engine is full",
            "logs-1",
            restart("victorialogs", small_disk(DATA, "logstack-victorialogs", "300m", "80M")),
            restart("victorialogs", f"umount {DATA}"),
            *("disks", "victorialogs accepts no records", DATA, f"df -h '{DATA}'"),
        ),
    ),
    (
        Breakage(
            "nothing listens on the port of the gateway",
            "logs-1",
            "systemctl stop logstack-gateway",
            "systemctl start logstack-gateway",
            *("programs", "gateway is stopped", "", DEPLOY),
        ),
    ),
    (
        # The last: for minutes it is said of an engine how often it ended.
        Breakage(
            "the engine ends again and again",
            "logs-1",
            WRONG_FOLDER,
            f"rm -r {ENGINE}.d; systemctl daemon-reload; systemctl restart logstack-victorialogs",
            *(
                "programs",
                "victorialogs ended ",
                "/nosuch",
                "mount",
            ),
        ),
    ),
)


def diagnose(fleet: FleetUnderTest) -> tuple[int, list[dict[str, Any]]]:
    """The exit status of `doctor`, and its findings."""
    result = fleet.run("doctor", "--env", "staging", "--json")
    try:
        return result.returncode, json.loads(result.stdout)
    except ValueError:
        raise AssertionError(result.stdout + result.stderr) from None


def named(fleet: FleetUnderTest, *expected: tuple[str, str, str, str]) -> list[dict[str, Any]]:
    """The failed findings about hosts, of checks, with these causes and pieces of evidence."""

    def failed(host: str, check: str, text: str, evidence: str) -> dict[str, Any]:
        mine = (item for item in last if (item["host"], item["check"]) == (host, check))
        return next((i for i in mine if text in i["text"] and evidence in i["evidence"]), {})

    def there() -> list[dict[str, Any]]:
        status, findings = diagnose(fleet)
        last[:] = [item for item in findings if not item["ok"]]
        assert status == (1 if last else 0)
        assert not [item for item in last if "doctor" in item["command"]], "no answer is itself"
        found = [failed(*item) for item in expected]
        return found if all(found) else []

    last: list[dict[str, Any]] = []
    return poll(there, lambda: f"{expected}, got {json.dumps(last, indent=1)}", timeout=120)


@contextmanager
def broken(fleet: FleetUnderTest, *breakages: Breakage) -> Iterator[None]:
    """Breakages that are undone, whatever happens."""
    with ExitStack() as undone:
        for breakage in breakages:
            host = fleet.hosts[breakage.host]
            undone.callback(host.sh, breakage.undone)
            host.sh(breakage.broken)
        yield


def test_nothing_is_wrong_at_first(fleet: FleetUnderTest) -> None:
    """So that what is said afterwards is said of the breakage."""
    _, findings = diagnose(fleet)
    # The disk is that of the machine, on which others may store.
    others = [item for item in findings if "the disk will be full in" not in item["text"]]
    assert [item for item in others if not item["ok"]] == []
    assert {item["host"] for item in findings} == set(fleet.hosts)


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_each_cause_is_named(fleet: FleetUnderTest, number: int) -> None:
    """On its host, with the evidence and what to run."""
    breakages = ROUNDS[number]
    with broken(fleet, *breakages):
        expected = ((item.host, item.check, item.text, item.evidence) for item in breakages)
        found = named(fleet, *expected)
    for breakage, finding in zip(breakages, found, strict=True):
        assert finding["command"].startswith(breakage.command), breakage.name


def test_the_log_server_learns_of_a_file_that_cannot_be_read(fleet: FleetUnderTest) -> None:
    """As a record of the monitor, for which AgentRefusesFile looks."""
    (breakage,) = (item for item in ROUNDS[1] if item.name == "a log file cannot be read")
    query = "_time:5m problem:=file_refused host:=app-1 watched_service:=erp-backend-api"
    with broken(fleet, breakage):
        poll(lambda: fleet.query(query), fleet.journals, timeout=120)


def test_a_certificate_that_expired_is_named(
    fleet: FleetUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although every host is as its plan says: the certificate expired by itself."""
    path = fleet.folder / "secrets.json"
    kept = path.read_text(encoding="utf-8")
    known = json.loads(kept)
    monkeypatch.setattr(certificates, "CLOCK_DIFFERENCE", timedelta(hours=2))
    monkeypatch.setattr(certificates, "CERTIFICATE_LIFE", timedelta(hours=-1))
    authority = certificates.Authority(known[secrets.CA_CERTIFICATE], known[secrets.CA_KEY])
    issued = certificates.issue(authority, "logs-1", [fleet.hosts["logs-1"].address])
    new = {"certificate_logs-1": issued.certificate, "certificate_key_logs-1": issued.key}
    path.write_text(json.dumps({**known, **new}), encoding="utf-8")
    try:
        fleet.deploy()
        found, agent = named(
            fleet,
            ("logs-1", "certificates", " expired ", "expected 14 or more valid days"),
            ("app-1", "records", ":443: the destination's certificate has expired", "expired"),
        )
    finally:
        path.write_text(kept, encoding="utf-8")
        fleet.deploy()
    assert found["command"] == f"./logstack secrets rotate staging certificate_logs-1 && {DEPLOY}"
    assert agent["command"].startswith("openssl s_client -connect ")


def test_a_host_that_does_not_answer_is_a_finding(fleet: FleetUnderTest) -> None:
    """With the command that tries the connection; the other hosts are looked at."""
    host = fleet.hosts["app-2"]
    host.sh("systemctl stop ssh.socket ssh")
    try:
        (found,) = named(fleet, ("app-2", "ssh", "cannot connect by SSH", ""))
    finally:
        host.sh("systemctl start ssh")
    assert found["command"] == f"ssh -p 22 deploy@{host.address}"
