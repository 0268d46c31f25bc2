"""Seconds for a first deploy, a second one and one changed file, beside a plain Ansible playbook.

Both apply the same plans to 1 and 5 bare test hosts (containers): users, folders, binaries,
configuration, units, services, and wait for health checks. Ansible runs with pipelining and one
fork per host, its fastest mode; its playbook does not check configurations and cannot roll back.
Run: python -m bench hosts
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from bench.table import Row, print_table
from provisioning import changes
from provisioning import fleet as deployments
from stack import settings
from tests.support.host_containers import DEPLOY_USER, FleetUnderTest, start_hosts

ANSIBLE = {
    "ANSIBLE_HOST_KEY_CHECKING": "False",
    "ANSIBLE_PIPELINING": "True",
    "ANSIBLE_LOCALHOST_WARNING": "False",
    "ANSIBLE_NOCOWS": "1",
}
COUNTS = (1, 5)
OWN, PEER = "logstack hosts deploy", "ansible-playbook"


def main() -> None:
    """Print seconds per tool, number of hosts and run."""
    rows = []
    for count in COUNTS:
        names = ("logs-1", *(f"app-{number}" for number in range(1, count)))
        seconds = {tool: _measure(tool, names) for tool in (OWN, PEER)}
        for number, run in enumerate(("first deploy", "second deploy", "one changed file")):
            own, peer = seconds[OWN][number], seconds[PEER][number]
            name = f"{run}, {count} host{'s' if count > 1 else ''}"
            rows.append(Row(name, f"{own:.1f} s; Ansible {peer:.1f} s; ratio {own / peer:.2f}"))
    print_table("Deploy over SSH", rows)


def _measure(tool: str, names: tuple[str, ...]) -> list[float]:
    """Seconds of each run on hosts of their own."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-hosts-") as folder,
        start_hosts(names, Path(folder)) as fleet,
    ):
        fleet.roles = {
            name: ("log_server",) if name == "logs-1" else ("app_host",) for name in names
        }
        fleet.prepare()
        seconds = []
        # The last changes one line of the agent's configuration on each host.
        for interval in ("200ms", "200ms", "300ms"):
            fleet.values = {"agent": {"flush_interval": interval}}
            argv = _playbook(fleet) if tool == PEER else []
            seconds.append(_timed(fleet, argv))
        return seconds


def _timed(fleet: FleetUnderTest, argv: list[str]) -> float:
    began = time.monotonic()
    if not argv:
        fleet.deploy()
    else:
        environ = {**fleet.environ, **ANSIBLE, "ANSIBLE_FORKS": str(len(fleet.hosts))}
        result = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise RuntimeError(result.stdout[-3000:] + result.stderr[-2000:])
    return time.monotonic() - began


def _playbook(fleet: FleetUnderTest) -> list[str]:
    """Write a playbook, an inventory and each host's variables from the same plans."""
    environ = fleet.environ
    values = settings.load_for_hosts("staging", environ)
    os.environ["LOGSTACK_SECRETS"] = environ["LOGSTACK_SECRETS"]
    work = deployments.prepare(values, lambda name, text: None)
    inventory: dict[str, Any] = {"all": {"hosts": {}}}
    for name, plan in work.plans.items():
        host = fleet.hosts[name]
        binaries = [item for items in work.binaries[name].values() for item in items]
        inventory["all"]["hosts"][name] = {
            "ansible_host": host.address,
            "ansible_user": DEPLOY_USER,
            "ansible_ssh_private_key_file": str(fleet.key),
            "ansible_python_interpreter": "/usr/bin/python3",
            "users": sorted({component.user for component in plan.components}),
            "folders": [
                {"path": "/var/lib/logstack", "mode": "0755", "owner": "root"},
                *({"path": p, "mode": m, "owner": c.user}
                  for c in plan.components for p, m in c.directories),
                *({"path": path, "mode": "0755", "owner": "root"} for path in _parents(plan)),
            ],
            "binaries": [{"src": str(work.sources[b.path]), "dest": b.path} for b in binaries],
            "bundles": [b.path for b in binaries if b.path.endswith(".tar.gz")],
            "binary_folders": sorted({b.path.rpartition("/")[0] for b in binaries}),
            "links": [
                {"path": changes.link_of(c), "src": changes.target_of(c)}
                for c in plan.components if c.artifact
            ],
            "files": _files(fleet.folder / name, plan),
            "services": [
                {"name": f"logstack-{c.name}", "health": c.health} for c in plan.components
            ],
            "healths": [c.health for c in plan.components if c.health],
        }  # fmt: skip
    folder = fleet.folder
    (folder / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
    (folder / "inventory.json").chmod(0o600)
    (folder / "playbook.yml").write_text(yaml.safe_dump(_plays()), encoding="utf-8")
    ansible = Path(sys.executable).with_name("ansible-playbook")
    return [str(ansible), "-i", str(folder / "inventory.json"), str(folder / "playbook.yml")]


def _files(folder: Path, plan: Any) -> list[dict[str, str]]:
    """The texts as files of this machine: in a variable, Ansible would take them for templates."""
    folder.mkdir(mode=0o700, exist_ok=True)
    texts = [
        *(file for component in plan.components for file in (*component.files, component.unit)),
        *(file for file in plan.files if file.path.startswith("/etc/systemd/")),
    ]
    found = []
    for number, file in enumerate(texts):
        source = folder / str(number)
        source.write_text(file.text, encoding="utf-8")
        found.append(
            {"src": str(source), "path": file.path, "mode": file.mode, "owner": file.owner}
        )
    return found


def _parents(plan: Any) -> list[str]:
    files = [f.path for c in plan.components for f in c.files] + [f.path for f in plan.files]
    return sorted({os.path.dirname(path) for path in files})  # noqa: PTH120 -- a host's path


def _plays() -> list[dict[str, Any]]:
    def each(module: str, arguments: dict[str, Any], over: str, **more: Any) -> dict[str, Any]:
        return {module: arguments, "loop": f"{{{{ {over} }}}}", "no_log": True, **more}

    copied = {"dest": "{{ item.path }}", "src": "{{ item.src }}",
              "mode": "{{ item.mode }}", "owner": "{{ item.owner }}"}  # fmt: skip
    folder = {"state": "directory", "path": "{{ item.path }}",
              "mode": "{{ item.mode }}", "owner": "{{ item.owner }}"}  # fmt: skip
    tasks = [
        each("user", {"name": "{{ item }}", "system": True, "create_home": False}, "users"),
        each("file", folder, "folders"),
        each("file", {"state": "directory", "path": "{{ item }}"}, "binary_folders"),
        each("copy", {"src": "{{ item.src }}", "dest": "{{ item.dest }}", "mode": "0755"},
             "binaries", notify="restart"),
        each("unarchive", {"src": "{{ item }}", "dest": "{{ item | dirname }}", "remote_src": True,
                           "creates": "{{ item | dirname }}/lib"}, "bundles", notify="restart"),
        each("file", {"state": "link", "path": "{{ item.path }}", "src": "{{ item.src }}"},
             "links", notify="restart"),
        each("copy", copied, "files", notify="restart"),
        each("systemd", {"name": "{{ item.name }}", "enabled": True, "state": "started",
                         "daemon_reload": True}, "services"),
    ]  # fmt: skip
    handlers = [
        each("systemd", {"name": "{{ item.name }}", "state": "restarted"}, "services")
        | {"listen": "restart"}
    ]
    wait = each("uri", {"url": "{{ item }}"}, "healths",
                register="answer", until="answer.status == 200", retries=60, delay=0.5)  # fmt: skip
    common = {"hosts": "all", "become": True, "gather_facts": True}
    return [
        {**common, "tasks": tasks, "handlers": handlers},
        {**common, "gather_facts": False, "tasks": [wait]},
    ]


if __name__ == "__main__":
    main()
