"""Encrypted, authenticated, and no secret where others can read it."""

from __future__ import annotations

import json

import pytest

from stack import settings
from tests.support.host_containers import FleetUnderTest
from tests.support.permissions import REFUSED, Cell, cells, credentials, statuses

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

# Asks for `url` and prints the status, or what went wrong; arguments: url, CA file, user, password.
ASK = """
import base64, ssl, sys, urllib.request
url, ca, user, password, method = sys.argv[1:]
request = urllib.request.Request(url, data=b"{}" if method == "POST" else None, method=method)
if user:
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    request.add_header("Authorization", f"Basic {token}")
try:
    context = ssl.create_default_context(cafile=ca or None) if url.startswith("https") else None
    print(urllib.request.urlopen(request, timeout=10, context=context).status)
except urllib.error.HTTPError as error:
    print(error.code)
except (urllib.error.URLError, OSError) as error:
    print(type(getattr(error, "reason", error)).__name__)
"""
PUSH = "/insert/jsonline"
QUERY = "/select/logsql/query?query=*&limit=1"
CA = "/etc/logstack/otelcol/ca.pem"


def ask(
    fleet: FleetUnderTest,
    url: str,
    ca: str = CA,
    user: str = "",
    password: str = "",
    method: str = "POST",
) -> str:
    """What an application host gets from the log server."""
    return fleet.hosts["app-1"].python(ASK, url, ca, user, password, method).strip()


def https(fleet: FleetUnderTest, path: str) -> str:
    return f"https://{fleet.hosts['logs-1'].address}{path}"


def secrets_of(fleet: FleetUnderTest) -> dict[str, str]:
    found: dict[str, str] = json.loads((fleet.folder / "secrets.json").read_text("utf-8"))
    return found


def test_only_who_knows_the_password_may_write(fleet: FleetUnderTest) -> None:
    """Not without one, with a wrong one, with that of another host: agents wait at 503."""
    own, others = secrets_of(fleet)["writer_app-1"], secrets_of(fleet)["writer_app-2"]
    url = https(fleet, "/insert/opentelemetry/v1/logs")
    assert ask(fleet, url) == "503"
    assert ask(fleet, url, user="app-1", password="wrong") == "503"
    assert ask(fleet, url, user="app-1", password=others) == "503"
    assert ask(fleet, url, user="app-1", password=own) not in ("401", "403", "503")


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_the_table_says_who_may(fleet: FleetUnderTest, cell: Cell) -> None:
    """Each cell of "Who may do what" in docs/operations.md."""
    user, password = credentials(cell.who, secrets_of(fleet))
    method, path = cell.request
    answer = ask(fleet, https(fleet, path), user=user, password=password, method=method)
    assert (int(answer) not in REFUSED) == cell.may


CONNECT = """
import socket, sys
for port in sys.argv[1:]:
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=5).close()
        print(port, "open")
    except OSError as error:
        print(port, type(error).__name__)
"""


def test_a_local_user_of_a_log_server_reaches_no_program(fleet: FleetUnderTest) -> None:
    """Neither the engine nor Alertmanager nor the store, by any port that the stack opened."""
    logs = fleet.hosts["logs-1"]
    addresses = [row.split()[3] for row in logs.sh("ss -Hltn").splitlines()]
    # Docker's resolver; sshd and the gateway, which ask for a password.
    listening = [address for address in addresses if not address.startswith("127.0.0.11:")]
    ports = sorted({address.rpartition(":")[2] for address in listening} - {"22", "443"})
    assert len(ports) >= 8
    asked = logs.python(CONNECT, *ports, user="nobody").splitlines()
    assert asked == [f"{port} ConnectionRefusedError" for port in ports]
    assert logs.python(CONNECT, *ports).splitlines() == [f"{port} open" for port in ports]


NAMES = """
import sys, urllib.request
for port in sys.argv[1:]:
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": "evil.example"})
    try:
        print(urllib.request.urlopen(asked, timeout=10).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


def test_the_programs_of_a_log_server_refuse_the_names_of_others(fleet: FleetUnderTest) -> None:
    """As docs/operations.md says of each port, also to those who reach it."""
    ports = settings.load({}).ports
    answers = {
        name: status
        for name, status in statuses().items()
        if name not in ("gateway", "restored", "loki", "promtail", "grafana", "sample_app")
        and name != "seaweedfs_volume"  # which answers 400 at `/`
    }
    numbers = [str(ports.effective(name)) for name in answers]
    found = fleet.hosts["logs-1"].python(NAMES, *numbers).split()
    assert dict(zip(answers, map(int, found), strict=True)) == answers


def test_who_writes_may_not_read(fleet: FleetUnderTest) -> None:
    """An application host that is taken over cannot look at the records of the others."""
    password = secrets_of(fleet)["writer_app-1"]
    url = https(fleet, QUERY)
    assert ask(fleet, url, user="app-1", password=password) in ("401", "403", "404")


def test_nothing_answers_without_encryption(fleet: FleetUnderTest) -> None:
    """Neither the gateway's port nor those of the engine, which listen on loopback."""
    address = fleet.hosts["logs-1"].address
    ports = settings.load({}).ports
    for port in (80, ports.victorialogs, ports.vmalert, ports.alertmanager, ports.gateway_health):
        assert ask(fleet, f"http://{address}:{port}{PUSH}") == "ConnectionRefusedError"
    assert ask(fleet, f"http://{address}:{ports.gateway}{PUSH}") == "400"


def test_another_authority_is_not_trusted(fleet: FleetUnderTest) -> None:
    """The certificate is checked against the own authority, not believed."""
    assert ask(fleet, https(fleet, PUSH), ca="") == "SSLCertVerificationError"


def test_secrets_are_where_only_their_service_reads_them(fleet: FleetUnderTest) -> None:
    """Not in a file that others can read, in no command line, not in the journal, not printed."""
    values = [
        text for name, text in secrets_of(fleet).items() if not name.startswith(("ca_c", "certif"))
    ]
    printed = fleet.deploy() + fleet.run("hosts", "plan", "staging").stdout
    for value in values:
        lines = [line for line in value.splitlines() if len(line) > 30 or "\n" not in value]
        assert not any(line in printed for line in lines if "-----" not in line)
    password = secrets_of(fleet)["writer_app-1"]
    host = fleet.hosts["app-1"]
    assert password not in host.sh("journalctl --no-pager")
    assert password not in host.sh("ps axww -o args")
    open_to_others = "find /etc/logstack -type f -perm /077"
    for item in fleet.hosts.values():
        keys = f"{open_to_others} | xargs -r grep -l '^-----BEGIN.*PRIVATE KEY'"
        assert item.sh(f"{keys} || true") == ""
        assert "authorization" not in item.sh(open_to_others)


def test_services_run_as_themselves_and_hardened(fleet: FleetUnderTest) -> None:
    """No root, no new privileges, nothing but their own folder to write to."""
    for place in fleet.pids():
        host, unit = place.split("/")
        shown = fleet.hosts[host].sh(
            f"systemctl show -p User,NoNewPrivileges,ProtectSystem,ReadWritePaths {unit}"
        )
        name = unit.removesuffix(".service")
        # The archiver removes days of the engine, the monitor looks at what the agent reads.
        others = {"logstack-archiver": "victorialogs", "logstack-monitor": "otelcol"}
        user = others.get(name, name.removeprefix("logstack-"))
        assert f"User=logstack-{user}\n" in f"{shown}\n"
        assert "NoNewPrivileges=yes" in shown
        assert "ProtectSystem=strict" in shown
        folder = {"archiver": "archive /var/lib/logstack/victorialogs"}
        own = name.removeprefix("logstack-")
        assert f"ReadWritePaths=/var/lib/logstack/{folder.get(own, own)}\n" in shown + "\n"


def test_a_rotated_log_file_is_read_to_its_end(fleet: FleetUnderTest) -> None:
    """logrotate with the deployed rules: the agent reads the old file and the new one."""
    host = fleet.hosts["app-1"]
    program = (
        "import datetime, json, sys; now = datetime.datetime.now(datetime.timezone.utc);"
        "open('/var/log/erp-backend-api/r.log', 'a').write(json.dumps({'timestamp': "
        "now.strftime('%Y-%m-%dT%H:%M:%S.%fZ'), 'level': 'INFO', 'message': sys.argv[1],"
        "'service_name': 'erp-backend-api', 'request_id': 'rotated'}) + '\\n')"
    )
    host.python(program, "before", user="erp")
    host.sh("logrotate --force /etc/logstack/logrotate.conf")
    host.python(program, "after", user="erp")
    fleet.wait_for_messages("request_id:=rotated", ["after", "before"])
    assert host.sh("stat -c '%U %G %a' /var/log/erp-backend-api/r.log").split() == [
        *("erp", "logstack-otelcol", "640")
    ]


def test_the_canary_is_written_as_the_application(fleet: FleetUnderTest) -> None:
    """Its user decides what is in the folder: a link there must not make root write elsewhere."""
    host = fleet.hosts["app-1"]
    canary, target = "/var/log/erp-backend-api/logstack-canary.log", "/etc/planted"
    host.sh(f"rm -f {canary}; runuser -u erp -- ln -s {target} {canary}")
    try:
        result = fleet.run("hosts", "verify", "staging")
    finally:
        host.sh(f"rm -f {canary}")
    assert result.returncode == 1
    assert f"cannot append to {canary} as erp" in result.stdout
    assert host.sh(f"ls {target} 2>&1 || true").startswith("ls: cannot access")
    result = fleet.run("hosts", "verify", "staging")
    assert result.returncode == 0, result.stdout + result.stderr
    assert host.sh(f"stat -c '%U %a' {canary}").strip() == "erp 640"
