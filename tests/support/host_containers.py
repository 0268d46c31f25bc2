"""Hosts for tests: containers with systemd and sshd, reached over SSH like any machine."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stack import artifacts, settings
from stack.runtimes.docker.engine import ask, run
from stack.settings import ROOT
from tests.support.host_image import host_image
from tests.support.native_stack import poll

DEPLOY_USER = "deploy"
# What systemd needs in a container; no further rights, and no way out of the bridge is used.
# Docker's folder is on a file system of the machine, as it is on every host.
SYSTEMD = (
    *("--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--volume", "/var/lib/docker"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--env", "container=docker"),
    *("--stop-signal", "SIGRTMIN+3"),
)
PREPARE = f"""
useradd --create-home --shell /bin/bash {DEPLOY_USER}
install -d -m 0700 -o {DEPLOY_USER} /home/{DEPLOY_USER}/.ssh
install -m 0600 -o {DEPLOY_USER} /dev/stdin /home/{DEPLOY_USER}/.ssh/authorized_keys
printf '%s ALL=(ALL) NOPASSWD: ALL\\n' {DEPLOY_USER} > /etc/sudoers.d/{DEPLOY_USER}
useradd --system erp
"""


@dataclass
class TestHost:
    """One container. `sh` is the test's own way in; the deploy uses SSH."""

    __test__ = False
    name: str
    container: str
    address: str

    def sh(self, script: str, *, check: bool = True) -> str:
        result = run("exec", self.container, "bash", "-c", script, timeout=120)
        if check and result.returncode != 0:
            raise AssertionError(f"{self.name}: {script}\n{result.stdout}{result.stderr}")
        return result.stdout

    def pid(self, component: str) -> str:
        """The service's process, which a restart changes."""
        return self.sh(f"systemctl show -p MainPID --value logstack-{component}.service").strip()

    def python(self, program: str, *arguments: str, user: str = "root") -> str:
        words = ["runuser", "-u", user, "--", "python3", "-c", program, *arguments]
        return self.sh(" ".join(map(shlex.quote, words)))

    def get(self, url: str, grep: str = "", headers: Mapping[str, str] | None = None) -> str:
        """The lines with `grep` of what an address on this host's loopback answers."""
        program = (
            "import json, sys, urllib.request as r; "
            "asked = r.Request(sys.argv[1], headers=json.loads(sys.argv[2])); "
            "print(r.urlopen(asked).read().decode())"
        )
        text = self.python(program, url, json.dumps(dict(headers or {})))
        return "\n".join(line for line in text.splitlines() if grep in line)

    @contextmanager
    def listener(self, port: int) -> Iterator[None]:
        """Another program that has a port."""
        server = f"python3 -m http.server {port} --bind 127.0.0.1"
        self.sh(f"systemd-run --quiet --unit=other {server}")
        busy = f"ss -Hltn 'sport = :{port}'"
        poll(lambda: self.sh(busy), f"port {port} taken")
        try:
            yield
        finally:
            self.sh("systemctl stop other")

    def journal(self) -> str:
        """The end of what every service of the stack printed, for a failed test."""
        return self.sh(
            "journalctl --no-pager -o short -n 40 -u 'logstack-*' | cut -c-240", check=False
        )


@dataclass
class FleetUnderTest:
    """Some hosts, the settings that describe them and the commands that deploy to them."""

    folder: Path
    hosts: dict[str, TestHost]
    key: Path
    values: dict[str, Any] = field(default_factory=dict)
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    deployed: str = ""  # the settings that the hosts are known to have

    @property
    def environ(self) -> dict[str, str]:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTACK_")}
        cache = artifacts.cache_dir(settings.load({})).parent.parent
        return {
            **inherited,
            "HOME": str(home),
            "XDG_CACHE_HOME": str(cache),
            "LOGSTACK_SETTINGS": str(self._write_settings()),
            "LOGSTACK_SECRETS": str(self.folder / "secrets.json"),
            "COLUMNS": "200",
            **self.variables,
        }

    def _write_settings(self) -> Path:
        path = self.folder / "settings.toml"
        path.write_text(self._settings_text(), encoding="utf-8")
        return path

    def _settings_text(self) -> str:
        lines = []
        for section, values in self.values.items():
            lines += [f"[{section}]", *(f"{k} = {_toml(v)}" for k, v in values.items()), ""]
        for name, roles in self.roles.items():
            host = self.hosts[name]
            lines += [
                f"[hosts.{name}]",
                f'address = "{host.address}"',
                f"roles = {json.dumps(roles)}",
                f'ssh_user = "{DEPLOY_USER}"',
                f'ssh_key = "{self.key}"',
                "",
            ]
        return "\n".join(lines)

    def run(self, *arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
        if arguments[:2] in (("hosts", "deploy"), ("hosts", "rollback")):
            self.deployed = ""
        return subprocess.run(
            [str(ROOT / "logstack"), *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def prepare(self) -> None:
        """Make the secrets that these hosts need."""
        result = self.run("secrets", "init", "staging")
        assert result.returncode == 0, result.stdout + result.stderr

    def deploy(self) -> str:
        """Deploy and return the report; a failure shows the services' journals.

        pyinfra's own output is on standard error.
        """
        result = self.run("hosts", "deploy", "staging")
        assert result.returncode == 0, result.stdout + result.stderr + self.journals()
        self.deployed = self._settings_text()
        return result.stdout

    def ensure_deployed(self) -> None:
        """Deploy, unless the last thing done was a deploy of the same settings that went well."""
        if self.deployed != self._settings_text():
            self.deploy()

    def journals(self) -> str:
        return "\n".join(f"--- {h.name}\n{h.journal()}" for h in self.hosts.values())

    def query(self, text: str, server: str = "logs-1") -> list[dict[str, str]]:
        """Rows of a LogsQL query, asked on the log server itself; none while it does not run."""
        port = settings.load({}).ports.effective("victorialogs")
        url = f"http://127.0.0.1:{port}/select/logsql/query?limit=1000000&query={quote(text)}"
        try:
            lines = self.hosts[server].get(url).splitlines()
        except AssertionError:
            return []
        return [json.loads(line) for line in lines if line]

    def wait_for_messages(self, text: str, messages: list[str]) -> None:
        """Exactly these messages, in any order, are what a query finds in the end."""
        poll(
            lambda: sorted(row["_msg"] for row in self.query(f"_time:1h {text}")) == messages,
            lambda: f"{messages}, found {self.query(f'_time:1h {text}')}\n{self.journals()}",
            timeout=60,
        )

    def pids(self) -> dict[str, str]:
        """Every service's process, by host and name."""
        listed = "systemctl list-units --plain --no-legend --state=running 'logstack-*.service'"
        found = {}
        for host in self.hosts.values():
            for line in host.sh(listed).splitlines():
                unit = line.split()[0]
                pid = host.sh(f"systemctl show -p MainPID --value {unit}").strip()
                found[f"{host.name}/{unit}"] = pid
        return found


def _toml(value: object) -> str:
    """A value as TOML has it; JSON but for tables."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {_toml(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


@contextmanager
def start_hosts(names: tuple[str, ...], folder: Path) -> Iterator[FleetUnderTest]:
    """Containers that are removed at the end, whatever happens."""
    key = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text(encoding="utf-8")
    image, network = host_image(), f"logstack-test-{uuid.uuid4().hex[:8]}"
    hosts: dict[str, TestHost] = {}
    subnet = create_network(network)
    try:
        for number, name in enumerate(names, start=10):
            host = TestHost(name, f"{network}-{name}", str(subnet[number]))
            hosts[name] = host
            place = ("--name", host.container, "--network", network, "--ip", host.address)
            ask("run", "--detach", *place, "--hostname", name, *SYSTEMD, image)
        for host in hosts.values():
            wait_until_booted(host)
            subprocess.run(
                ["docker", "exec", "-i", host.container, "bash", "-ec", PREPARE],
                input=public, text=True, check=True, capture_output=True,
            )  # fmt: skip
        yield FleetUnderTest(folder, hosts, key)
    finally:
        for host in hosts.values():
            run("rm", "--force", "--volumes", host.container, timeout=60)
        run("network", "rm", network)


def create_network(name: str) -> IPv4Network:
    """A network on which a host that restarts keeps its address.

    Docker assigns fixed addresses only where the subnet was given, and knows which one is free.
    """
    ask("network", "create", name)
    subnet = ask("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", name).strip()
    ask("network", "rm", name)
    ask("network", "create", "--subnet", subnet, name)
    return IPv4Network(subnet)


def wait_until_booted(host: TestHost) -> None:
    poll(
        lambda: (
            host.sh("systemctl is-system-running", check=False).strip() in ("running", "degraded")
        ),
        lambda: f"{host.name} booted\n{run('logs', host.container).stdout[-2000:]}",
        timeout=60,
    )


__all__ = ["FleetUnderTest", "TestHost", "start_hosts", "wait_until_booted"]
