"""Services: swap, restart, wait for health; roll back what does not become healthy."""

from __future__ import annotations

from dataclasses import asdict

from pyinfra.operations import systemd

from provisioning import DeployError, refuse_as_deploy
from provisioning.changes import link_of, target_of
from provisioning.fleet import Remote
from stack.hosts.plan import HostComponent

refuse_as_deploy(__name__)

JOURNAL_LINES = 15


def swap(remote: Remote, component: HostComponent, run: str) -> None:
    """Activate the staged configuration, the unit and the version; keep the previous ones."""
    remote.ask(
        "swap",
        name=component.name,
        run=run,
        unit={**asdict(component.unit)},
        link=link_of(component),
        target=target_of(component),
    )


def start(remote: Remote, component: HostComponent, seconds: float, *, restarted: bool) -> None:
    """Start or restart a service and wait for it. Raises DeployError with its journal."""
    set_running(remote, component.name, restarted=restarted)
    answer = remote.ask("probe", name=component.name, url=component.health, timeout=seconds)
    if answer["ok"]:
        return
    lines = remote.ask("journal", name=component.name, lines=JOURNAL_LINES)["text"]
    raise DeployError(
        f"{remote.name}: {component.name}: not healthy within {seconds:g} s: "
        f"{answer['text']}. Journal:\n" + "\n".join(f"    {x}" for x in lines.splitlines())
    )


def set_running(remote: Remote, name: str, *, restarted: bool) -> None:
    """Enable the service and start or restart it."""
    operation = systemd.service(
        name=f"Service logstack-{name}",
        service=f"logstack-{name}.service",
        running=True,
        restarted=restarted,
        enabled=True,
        _sudo=remote.sudo,
        _ignore_errors=True,
    )
    del operation  # the health probe says more than its result


def roll_back(
    remote: Remote, component: HostComponent, seconds: float, run: str, *, keep: bool
) -> str:
    """Restore what the last swap replaced; returns a sentence about the service.

    `keep`: keep what is replaced now, so that it can be restored in turn. Raises DeployError if
    the service was restored but does not become healthy.
    """
    answer = remote.ask("restore", name=component.name, run=run, keep=keep)
    if not answer["existed"]:
        return f"{component.name} was not installed before and was removed"
    set_running(remote, component.name, restarted=True)
    healthy = remote.ask("probe", name=component.name, url=component.health, timeout=seconds)
    if healthy["ok"]:
        return f"{component.name} rolled back and healthy"
    raise DeployError(
        f"{remote.name}: {component.name} rolled back but not healthy: {healthy['text']}. "
        f"Run on the host: journalctl -u logstack-{component.name}"
    )
