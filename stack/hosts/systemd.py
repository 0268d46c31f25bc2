"""The systemd unit of a component. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stack.components.catalogue import by_name
from stack.components.log_sources import reads_journal
from stack.hosts import agent_view
from stack.hosts.files import HostFile
from stack.render.templates import render_template
from stack.settings.targets import Target
from stack.settings.units import parse_duration


def render_unit(
    name: str,
    user: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    folders: Sequence[str],
    target: Target,
    before: Sequence[str] = (),
) -> HostFile:
    """logstack-<name>.service, as hardened as the component allows.

    `folders` are the only ones it may write to, the first is its working directory. `before` is
    the command that runs before each start.
    """
    settings = target.settings
    stop = round(parse_duration(settings.timing.stop_timeout).total_seconds())
    own = by_name(name).stop_seconds
    is_agent = by_name(name).is_agent
    reads = (is_agent and reads_journal(target)) or name == "monitor"
    mount, unmount = agent_view.commands(target, user) if is_agent else ((), ())
    text = render_template(
        "systemd/component.service.j2",
        component=name,
        user=user,
        groups=["systemd-journal"] if reads else [],
        argv=argv,
        before=before,
        mount=mount,
        unmount=unmount,
        views=agent_view.views(target) if is_agent else (),
        env=env,
        folders=folders,
        stop_seconds=own or stop,
        memory=settings.services.agent_memory if is_agent else settings.services.memory,
        open_files=settings.services.open_files,
        capabilities=by_name(name).capabilities(settings),
    )
    return HostFile(f"/etc/systemd/system/logstack-{name}.service", text, "0644", "root")
