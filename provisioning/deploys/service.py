"""Services: swapped, restarted and waited for; what does not become healthy is taken back."""

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
    """Put the staged configuration, the unit and the version in place; keep the old ones."""
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
        f"{remote.name}: {component.name}: wanted it healthy within {seconds:g} s, found: "
        f"{answer['text']}. Its journal:\n" + "\n".join(f"    {x}" for x in lines.splitlines())
    )


def set_running(remote: Remote, name: str, *, restarted: bool) -> None:
    """The service is enabled and runs; a unit that failed before does not stand in the way."""
    operation = systemd.service(
        name=f"Service logstack-{name}",
        service=f"logstack-{name}.service",
        running=True,
        restarted=restarted,
        enabled=True,
        _sudo=remote.sudo,
        _ignore_errors=True,
    )
    del operation  # whether it runs is asked of its health, which says more


def take_back(
    remote: Remote, component: HostComponent, seconds: float, run: str, *, keep: bool
) -> str:
    """Return to what the last swap replaced; what has become of the service, as a sentence.

    `keep`: what is given up now can be returned to. Raises DeployError where it is back and does
    not become healthy.
    """
    answer = remote.ask("restore", name=component.name, run=run, keep=keep)
    if not answer["existed"]:
        return f"{component.name} is new on this host and was removed again"
    set_running(remote, component.name, restarted=True)
    healthy = remote.ask("probe", name=component.name, url=component.health, timeout=seconds)
    if healthy["ok"]:
        return f"{component.name} runs again as it did before"
    raise DeployError(
        f"{remote.name}: {component.name} was put back and is not healthy: {healthy['text']}. "
        f"See: journalctl -u logstack-{component.name}"
    )
